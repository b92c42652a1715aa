"""What a token looks like, and how a row of them is broken into lines."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from parrotlet.data import Source
from parrotlet.inspect.segments import Segment
from parrotlet.inspect.terminal import segment_text
from parrotlet.tokenizer import Tokenizer, shown_texts, spelled

TEXT = st.text(st.sampled_from("ab 1.\n小鹦鹉飞过🦜é·‥[]\t\r\x1b"), max_size=60)


def segment_of(text: str, tokenizer: Tokenizer, taught) -> Segment:
    ids = [tokenizer.bos, *tokenizer.encode(text), tokenizer.assistant_end]
    source = Source(0, "some", 0, None, 0, len(ids))
    flags = [taught(i) for i in range(len(ids))]
    texts, roles = shown_texts(ids, tokenizer), ["user"] * len(ids)
    return Segment("mid", 0, source, "here", 0, ids, ids, texts, flags, roles)


@settings(deadline=None)
@given(TEXT, st.integers(20, 90), st.integers(1, 5))
def test_lines_are_broken_between_tokens_only(tokenizer, text, width, every):
    """No line is wider than the terminal, Chinese at its double width; taking the marks away gives the texts back."""
    segment = segment_of(text, tokenizer, lambda i: i % every == 0)
    drawn = segment_text(segment, width).plain
    assert max(map(cell_len, drawn.split("\n"))) <= width
    at = 0
    for shown in segment.texts:
        at = drawn.index(spelled(shown).replace("\n", "⏎\n"), at) + len(spelled(shown))
