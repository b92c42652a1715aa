"""`tiktoken`, which encodes, and `tokenizers`, which others load the file with, give the same ids."""

import json
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HFTokenizer

from nanochat_pattern import PATTERN
from parrotlet.errors import UserError
from parrotlet.tokenizer import SPECIAL_TOKENS, Tokenizer
from parrotlet.tokenizer.encoding import build_encoding
from parrotlet.tokenizer.stored import SPLIT_PATTERN, byte_alphabet

SNIPPETS = [
    *SPECIAL_TOKENS,
    *(
        "<|",
        "|>",
        "你好",
        "，",
        "世界",
        "鹦鹉",
        "🦜",
        "👩‍👩‍👧",
        "🇨🇳",
        "e\u0301",
        "\u0301",
        "ﬆ",
        "ſ",
        "'ſ",
        "İ",
    ),
    *("the", " the", " parrot", "'ll", "'LL", "n't", "'", "1", "22", "333", "１２", "½", "abab", "a"),
    *(
        " ",
        "  ",
        " " * 300,
        "\t",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\u3000",
        "\ufeff",
        "\u200d",
        "\x00",
        "\x1f",
        "\x85",
    ),
    *("!", "...", "!!\n", "def f(x):\n    return x", "\U0010ffff"),
]
MIXED = st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=5)), max_size=12).map("".join)

BYTES_ONLY = {bytes([byte]): byte for byte in range(256)}


def both(tokenizer: Tokenizer, folder: Path) -> tuple[Tokenizer, HFTokenizer]:
    tokenizer.save(folder)
    theirs = HFTokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.encode_special_tokens = True  # as plain text
    return tokenizer, theirs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, HFTokenizer]:
    texts = ["".join(SNIPPETS[i:] + SNIPPETS[:i]) for i in range(len(SNIPPETS))]
    return both(Tokenizer.train(texts, 420), tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module", params=[SPLIT_PATTERN, PATTERN], ids=["own", "nanochat"])
def every_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, HFTokenizer]:
    """A vocabulary that merges every pair of bytes, so that the ids show where the text was split."""
    folder = tmp_path_factory.mktemp("pairs")
    Tokenizer.train(["a"], 265).save(folder)
    tree = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tree["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = request.param
    model, alphabet = tree["model"], sorted(byte_alphabet())
    model["merges"] = [[left, right] for left in alphabet for right in alphabet]
    model["vocab"] |= {left + right: 256 + i for i, (left, right) in enumerate(model["merges"])}
    for i, token in enumerate(tree["added_tokens"]):
        token["id"] = len(model["vocab"]) + i
    return both(Tokenizer(json.dumps(tree)), folder)


@settings(deadline=None, max_examples=400)
@given(text=MIXED)
def test_same_ids(trained: tuple[Tokenizer, HFTokenizer], text: str):
    ours, theirs = trained
    ids = ours.encode(text)
    assert ids == theirs.encode(text).ids
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False) == text


@settings(deadline=None, max_examples=200)
@given(text=MIXED)
def test_same_splits(every_pair: tuple[Tokenizer, HFTokenizer], text: str):
    ours, theirs = every_pair
    assert ours.encode(text) == theirs.encode(text).ids


def test_same_splits_around_every_character(every_pair: tuple[Tokenizer, HFTokenizer]):
    """The two have their own regular expression engines, which must take each character for the same class.

    All characters of Unicode that are assigned; beyond them, planes 4 to 13 are empty and 15, 16 are private.
    """
    ours, theirs = every_pair
    codes = [*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE0200), sys.maxunicode]
    for start in range(0, len(codes), 4096):
        text = "".join(f"a{c}1{c}! {c}'{c}" for c in map(chr, codes[start : start + 4096]))
        assert ours.encode(text) == theirs.encode(text).ids


@settings(deadline=None, max_examples=60)
@given(
    text=st.text("ab c", min_size=30, max_size=200),
    other=st.text("ab c", max_size=60),
    merges=st.integers(1, 60),
)
def test_same_merges_where_everything_overlaps(
    tmp_path_factory: pytest.TempPathFactory, text: str, other: str, merges: int
):
    try:
        tokenizer = Tokenizer.train([text], 265 + merges)
    except UserError as error:  # fewer merges than asked for: the message names how many there are
        tokenizer = Tokenizer.train([text], int(str(error).split("set vocab_size to ")[1].split()[0]))
    ours, theirs = both(tokenizer, tmp_path_factory.mktemp("overlap"))
    for each in (text, other, text.replace(" ", ""), other.replace("c", "")):
        assert ours.encode(each) == theirs.encode(each).ids


def test_same_ids_for_long_pieces(trained: tuple[Tokenizer, HFTokenizer]):
    """`tiktoken` merges pieces of some hundred bytes by another algorithm than short ones."""
    ours, theirs = trained
    for text in ("ab" * 3_000, "你好世界" * 800, " " * 5_000 + "x", "the" * 1_000, "!" * 5_000):
        assert ours.encode(text) == theirs.encode(text).ids


def test_a_vocabulary_of_65_thousand_loads_in_less_than_a_second(
    every_pair: tuple[Tokenizer, HFTokenizer], tmp_path: Path
):
    tokenizer, _ = every_pair
    tokenizer.save(tmp_path)

    def seconds() -> float:
        start = time.perf_counter()
        assert Tokenizer.load(tmp_path).vocab_size == 256 + 65_536 + 9
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1


def test_a_byte_without_a_token_is_named():
    ranks = {token: id for token, id in BYTES_ONLY.items() if token != b"\x80"}
    with pytest.raises(UserError, match="mine: 1 of the 256 bytes have no token, first 0x80"):
        build_encoding("mine", pattern=".", ranks=ranks)


def test_two_tokens_with_one_id():
    with pytest.raises(UserError, match="mine: two tokens have the same id"):
        build_encoding("mine", pattern=".", ranks=BYTES_ONLY | {b"ab": 97})
    with pytest.raises(UserError, match="mine: two tokens have the same id"):
        build_encoding("mine", pattern=".", ranks=BYTES_ONLY, special_ids={"<|bos|>": 97})


@pytest.mark.parametrize(("pattern", "id"), [("(", 256), (".", -1), (".", 2**40)])
def test_what_tiktoken_refuses(pattern: str, id: int):
    with pytest.raises(UserError, match="mine: tiktoken refuses"):
        build_encoding("mine", pattern=pattern, ranks=BYTES_ONLY | {b"ab": id})
