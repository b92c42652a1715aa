"""Training: the same texts give the same file, and what can't be trained on says so."""

import os
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.errors import UserError
from parrotlet.tokenizer import Tokenizer
from parrotlet.tokenizer.training import without_surrogates

TEXTS = ["to be, or not to be: that is the question. " * 5, "学而时习之，不亦说乎？" * 5, "ab" * 40]

IN_A_PROCESS = f"""
from parrotlet.tokenizer import Tokenizer
print(Tokenizer.train({TEXTS!r} * 50, 300).fingerprint)
"""


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token_text(id) for id in tokenizer.encode(text)]


@pytest.mark.parametrize(("threads", "hash_seed"), [("1", "0"), ("4", "1")])
def test_the_same_file_whatever_the_threads(threads: str, hash_seed: str):
    environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
    result = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == Tokenizer.train(TEXTS * 50, 300).fingerprint


def test_the_order_of_the_texts_does_not_matter():
    assert Tokenizer.train(TEXTS[::-1], 300).fingerprint == Tokenizer.train(TEXTS, 300).fingerprint


def test_the_most_frequent_pair_comes_first():
    tokenizer = Tokenizer.train(["abab " * 10 + "cd " * 3], 267)
    assert [tokenizer.token_bytes(id) for id in (256, 257)] == [b"ab", b"abab"]


def test_the_split_pattern():
    tokenizer = Tokenizer.train(["I'll we'LL 2024 12345 a  b x\n\n  y !!! don't 你好，世界"] * 9, 301)
    assert tokenizer.encode("") == []
    assert pieces(tokenizer, "12345")[:2] == ["12", "34"]  # numbers by two digits, never three
    assert pieces(tokenizer, "I'll") == ["I", "'ll"]
    assert pieces(tokenizer, "we'LL") == ["we", "'LL"]


def test_only_bytes_when_no_merge_is_asked_for():
    tokenizer = Tokenizer.train(["aaaa"], 265)
    assert tokenizer.vocab_size == 265
    assert tokenizer.decode_bytes(tokenizer.encode("aa鹦")) == "aa鹦".encode()
    assert len(tokenizer.encode("aa鹦")) == 5


@pytest.mark.parametrize("vocab_size", [264, 256, 0, -5])
def test_a_vocabulary_without_room_for_the_bytes(vocab_size: int):
    with pytest.raises(UserError, match=rf"vocab_size {vocab_size} is too small.*265"):
        Tokenizer.train(TEXTS, vocab_size)


def test_a_text_too_small_names_the_size_that_it_reaches():
    with pytest.raises(UserError, match=r"nothing is left to merge at 267; .*267 or less"):
        Tokenizer.train(["abab abab"], 1000)
    assert Tokenizer.train(["abab abab"], 267).vocab_size == 267


@pytest.mark.parametrize("texts", [[], [""], ["", ""], iter([])])
def test_no_text(texts: Iterable[str]):
    with pytest.raises(UserError, match="no text to train a tokenizer on"):
        Tokenizer.train(texts, 300)


def test_texts_may_be_a_generator():
    assert Tokenizer.train((text for text in TEXTS), 300).vocab_size == 300


def test_training_replaces_surrogates_as_encoding_does():
    broken = Tokenizer.train([text + " \ud83e" for text in TEXTS], 300)
    assert broken.fingerprint == Tokenizer.train([text + " \ufffd" for text in TEXTS], 300).fingerprint


@settings(deadline=None)
@given(text=st.text(alphabet=st.characters(codec=None, categories=["Cs", "L", "So"])))
def test_surrogates_are_read_as_encoding_reads_them(text: str):
    repaired = without_surrogates(text)
    repaired.encode()  # it is text now
    assert repaired == text or any("\ud800" <= char <= "\udfff" for char in text)
    bytes_only = Tokenizer.train(["a"], 265)
    assert bytes_only.encode(text) == bytes_only.encode(repaired)
