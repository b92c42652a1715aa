"""What a token looks like, and how a row of them is broken into lines."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from parrotlet.data import Source
from parrotlet.inspect.segments import REST, Segment, joined, shown_texts
from parrotlet.inspect.terminal import segment_text
from parrotlet.tokenizer import Tokenizer

TEXT = st.text(st.sampled_from("ab 1.\n小鹦鹉飞过🦜é·‥[]"), max_size=60)


def segment_of(text: str, tokenizer: Tokenizer, taught) -> Segment:
    ids = [tokenizer.bos, *tokenizer.encode(text), tokenizer.assistant_end]
    source = Source(0, "some", 0, None, 0, len(ids))
    flags = [taught(i) for i in range(len(ids))]
    texts, roles = shown_texts(ids, tokenizer), ["user"] * len(ids)
    return Segment("mid", 0, source, "here", 0, ids, ids, texts, flags, roles)


@settings(deadline=None)
@given(TEXT)
def test_a_split_character_stands_whole_at_its_first_token(tokenizer, text):
    """By the byte that every character begins at."""
    ids, ends = tokenizer.encode(text), []
    for id in ids:
        ends.append((ends[-1] if ends else 0) + len(tokenizer.token_bytes(id)))
    expected, at = [""] * len(ids), 0
    for character in text:
        expected[next(i for i, end in enumerate(ends) if at < end)] += character
        at += len(character.encode())
    assert shown_texts(ids, tokenizer) == [shown or REST for shown in expected]
    if REST not in text:
        assert joined(shown_texts(ids, tokenizer)) == text


def test_bytes_that_are_no_character_are_shown_as_bytes(tokenizer):
    """The ids below 256 are the bytes, in an order of their own."""
    byte = {tokenizer.token_bytes(id): id for id in range(256)}
    bird = [byte[bytes([b])] for b in "鸟".encode()]
    assert shown_texts([*bird, byte[b"a"]], tokenizer) == ["鸟", REST, REST, "a"]
    assert shown_texts([*bird[:2], byte[b"a"]], tokenizer) == ["\\xe9", "\\xb8", "a"]
    assert shown_texts(bird[1:], tokenizer) == ["\\xb8", "\\x9f"]
    assert shown_texts([tokenizer.bos, byte[b"a"]], tokenizer) == ["<|bos|>", "a"]


@settings(deadline=None)
@given(TEXT, st.integers(20, 90), st.integers(1, 5))
def test_lines_are_broken_between_tokens_only(tokenizer, text, width, every):
    """No line is wider than the terminal, Chinese at its double width; taking the marks away gives the texts back."""
    segment = segment_of(text, tokenizer, lambda i: i % every == 0)
    drawn = segment_text(segment, width).plain
    assert max(map(cell_len, drawn.split("\n"))) <= width
    at = 0
    for shown in segment.texts:
        at = drawn.index(shown.replace("\n", "⏎\n"), at) + len(shown)
