"""Characters that are spread over several tokens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.tokenizer import REST, ShownAnswer, joined, shown_texts

TEXT = st.text(st.sampled_from("ab 1.\n小鹦鹉飞过🦜é·‥[]"), max_size=60)


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


def test_another_token_in_the_place_of_one(tokenizer):
    """A token that would finish the character is shown as that character; one that would not, as it is."""
    byte = {tokenizer.token_bytes(id): id for id in range(256)}
    bird, door = ([byte[bytes([b])] for b in text.encode()] for text in ("鸟", "鸡"))
    ids = [byte[b"a"], *bird, tokenizer.assistant_end]
    shown = ShownAnswer(ids, tokenizer)
    assert [shown.instead(i, id) for i, id in enumerate(ids)] == ["a", "鸟", "‥鸟", "‥鸟", "<|assistant_end|>"]
    assert shown.instead(3, door[2]) == "‥鸡"
    assert shown.instead(3, byte[b"a"]) == "a"
    assert shown.instead(3, tokenizer.python_start) == "<|python_start|>"
    assert shown.instead(0, door[2]) == "\\xa1"


def test_the_mark_itself_may_be_written(tokenizer):
    byte = {tokenizer.token_bytes(id): id for id in range(256)}
    ids = [byte[bytes([b])] for b in "‥".encode()]
    shown = ShownAnswer(ids, tokenizer)
    assert [shown.instead(place, id) for place, id in enumerate(ids)] == ["‥", "‥‥", "‥‥"]
