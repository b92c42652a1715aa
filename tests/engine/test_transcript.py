"""Streams hold whole characters, whole calls, and nothing of a stop string."""

from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.engine import Sampling
from parrotlet.engine.transcript import Transcript
from scripted import scripted

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(["小鹦鹉", "🦜👩‍👩‍👧", "é"])


def bytes_of(tokenizer, data):
    """A token for each byte."""
    tokens = {tokenizer.token_bytes(id): id for id in range(tokenizer.vocab_size)}
    return [tokens[bytes([byte])] for byte in data]


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.tuples(st.sampled_from(["text", "call", "broken"]), TEXTS), min_size=1, max_size=4))
def test_streams_hold_whole_characters_and_nothing_raw(tokenizer, pieces):
    """Byte tokens, calls and broken UTF-8 in any order: the pieces join to the parts of the answer."""
    t = tokenizer
    ids: list[int] = []
    for kind, text in pieces:
        data = text.encode()
        if kind == "broken":
            data = data[:-1] + b"\xe5"
        ids += [t.python_start, *t.encode("1+1"), t.python_end] if kind == "call" else bytes_of(t, data)
    events = list(scripted(t, [*ids, t.assistant_end]).stream([t.bos], Sampling(temperature=0, max_tokens=150)))
    completion = events[-1].completion
    assert completion is not None
    told = [e.text for e in events if e.kind == "text"]
    assert "".join(told) == completion.text
    assert not any("\ufffd" in text for text in told) or any(kind == "broken" for kind, _ in pieces)
    assert [e.text for e in events if e.kind == "call"] == [p.text for p in completion.parts if p.type == "python"]
    assert [e.text for e in events if e.kind == "result"] == [
        p.text for p in completion.parts if p.type == "python_output"
    ]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_told_as_python_decodes_them(tokenizer, data):
    transcript = Transcript(tokenizer, ())
    told = [piece for token in bytes_of(tokenizer, data) for piece in transcript.add(token)]
    told += transcript.close()
    assert "".join(text for _, text in told) == data.decode(errors="replace")


SHORT = st.text("ab小", min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(text=st.text("ab小", max_size=20), stop=st.lists(SHORT, max_size=3))
def test_an_answer_ends_before_the_first_stop_string(tokenizer, text, stop):
    """Against looking at the whole text, as it grows byte by byte; what was told is never taken back."""
    expected = text
    for length in range(len(text) + 1):
        if found := [text[:length].find(s) for s in stop if s in text[:length]]:
            expected = text[: min(found)]
            break
    transcript, told = Transcript(tokenizer, tuple(stop)), ""
    for token in bytes_of(tokenizer, text.encode()):
        told += "".join(piece for _, piece in transcript.add(token))
        assert expected.startswith(told)
        if transcript.stopped:
            break
    told += "".join(piece for _, piece in transcript.close())
    assert told == expected == "".join(part.text for part in transcript.parts)
    assert transcript.stopped == (expected != text)


def test_a_stop_string_ends_the_answer(tokenizer):
    t = tokenizer
    completion = scripted(t, t.encode("one, two, three, four")).generate(
        [[t.bos]], Sampling(temperature=0, max_tokens=90, stop=("five", ", th"))
    )[0]
    assert (completion.finish, completion.text) == ("stop", "one, two")
