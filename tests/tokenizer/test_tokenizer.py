"""The tokenizer as the rest of the program sees it."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from parrotlet.errors import UserError
from parrotlet.tokenizer import SPECIAL_TOKENS, Tokenizer

TEXTS = [
    "The parrot that learned to speak spoke well; the parrot that didn't, didn't.\n\n" * 3,
    "鹦鹉学会了说话，后来又学会说好话。鹦鹉说：你好！" * 3,
    "12 + 34 = 46, 1999 and 2024;\tfor i in range(10):\n    print(i)\n" * 3,
]
VOCAB_SIZE = 340


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, VOCAB_SIZE)


def test_the_specials_are_the_last_ids_in_their_order(tokenizer: Tokenizer):
    named = [
        tokenizer.bos,
        tokenizer.user_start,
        tokenizer.user_end,
        tokenizer.assistant_start,
        tokenizer.assistant_end,
        tokenizer.python_start,
        tokenizer.python_end,
        tokenizer.output_start,
        tokenizer.output_end,
    ]
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert named == list(range(VOCAB_SIZE - 9, VOCAB_SIZE))
    assert tokenizer.special_ids == frozenset(named)
    assert [tokenizer.token_text(id) for id in named] == list(SPECIAL_TOKENS)
    assert tokenizer.decode([tokenizer.bos, *tokenizer.encode("hi")]) == "<|bos|>hi"


@settings(deadline=None)
@given(text=st.text())
def test_round_trip(tokenizer: Tokenizer, text: str):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
    assert tokenizer.bytes_per_token[ids].sum() == len(text.encode())


@pytest.mark.parametrize("special", SPECIAL_TOKENS)
def test_text_that_spells_a_special_token_is_plain_text(tokenizer: Tokenizer, special: str):
    ids = tokenizer.encode(f"Say {special} to me")
    assert not tokenizer.special_ids & set(ids)
    assert tokenizer.decode_bytes(ids) == f"Say {special} to me".encode()
    assert tokenizer.encode_batch([special]) == [tokenizer.encode(special)]


def test_special_tokens_have_a_text_for_the_eye_but_no_bytes(tokenizer: Tokenizer):
    ids = [tokenizer.user_start, *tokenizer.encode("hi"), tokenizer.user_end]
    assert tokenizer.decode(ids) == "<|user_start|>hi<|user_end|>"
    assert tokenizer.decode_bytes(ids) == b"hi"
    assert all(tokenizer.token_bytes(id) == b"" for id in tokenizer.special_ids)
    assert tokenizer.bytes_per_token[sorted(tokenizer.special_ids)].sum() == 0


def test_bytes_per_token_counts_bytes_that_are_not_text(tokenizer: Tokenizer):
    """Through a str, a lone byte of a Chinese character would be U+FFFD and count as three."""
    sizes = tokenizer.bytes_per_token
    assert sizes.dtype == np.int64
    assert sizes.shape == (VOCAB_SIZE,)
    assert sizes[:256].tolist() == [1] * 256
    assert {tokenizer.token_bytes(id) for id in range(256)} == {bytes([byte]) for byte in range(256)}
    halves = [id for id in range(256, VOCAB_SIZE - 9) if "�" in tokenizer.decode([id])]
    assert halves, "this vocabulary should have merges that end within a character"
    for id in halves:
        assert sizes[id] == len(tokenizer.token_bytes(id)) != len(tokenizer.decode([id]).encode())


def test_bytes_per_token_cannot_be_changed(tokenizer: Tokenizer):
    with pytest.raises(ValueError, match="read-only"):
        tokenizer.bytes_per_token[0] = 7


def test_half_a_character_is_shown_as_its_bytes(tokenizer: Tokenizer):
    ids = tokenizer.encode("龘")  # in none of the texts, so byte by byte
    assert [tokenizer.token_text(id) for id in ids] == [r"\xe9", r"\xbe", r"\x98"]
    assert tokenizer.decode(ids[:2]) == "�"
    assert tokenizer.decode_bytes(ids[:2]) == b"\xe9\xbe"


def test_a_negative_id_is_a_mistake_and_not_the_last_token(tokenizer: Tokenizer):
    with pytest.raises(AssertionError):
        tokenizer.token_bytes(-1)


def test_lone_surrogates_are_replaced_and_pairs_joined(tokenizer: Tokenizer):
    """They come from JSON such as "\\ud83e": no character, so no text can give them back."""
    assert tokenizer.decode(tokenizer.encode("a\ud83eb")) == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode("a\ud83e\udd9cb")) == "a🦜b"
    assert tokenizer.encode_batch(["a\udc00"]) == [tokenizer.encode("a\ufffd")]


@pytest.mark.parametrize("run", [" ", "\n", "\t ", "a", "中", "1", "^", "\r", "🦜", " \n", "'s", "\u3000"])
def test_a_megabyte_of_one_thing_is_encoded(tokenizer: Tokenizer, run: str):
    """A long run of blanks overflows the matcher's stack if the pattern lets it backtrack over all of it."""
    for text in (run * 400_000, run * 400_000 + "x"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer):
    texts = [*TEXTS, "", "<|bos|>", "🦜"] * 20
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch([]) == []


def test_encoding_from_many_threads(tokenizer: Tokenizer):
    texts = [text * 20 for text in TEXTS] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tokenizer.encode, texts)) == [tokenizer.encode(text) for text in texts]


def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path):
    folder = tmp_path / "new" / "tokenizer"
    tokenizer.save(folder)
    tokenizer.save(folder)  # again, over itself
    assert [path.name for path in folder.iterdir()] == ["tokenizer.json"]
    again = Tokenizer.load(folder)
    assert again.fingerprint == tokenizer.fingerprint
    assert again.vocab_size == tokenizer.vocab_size
    assert again.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])


def test_the_fingerprint_follows_the_content(tokenizer: Tokenizer):
    assert len(tokenizer.fingerprint) == 64
    assert Tokenizer.train(TEXTS, VOCAB_SIZE).fingerprint == tokenizer.fingerprint
    assert Tokenizer.train(TEXTS, VOCAB_SIZE - 1).fingerprint != tokenizer.fingerprint


def test_transformers_loads_the_file(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert len(theirs) == tokenizer.vocab_size
    for text in TEXTS:
        assert theirs.encode(text) == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == sorted(tokenizer.special_ids)
    ids = [tokenizer.bos, *tokenizer.encode("hi"), tokenizer.assistant_end]
    assert theirs.encode("<|bos|>hi<|assistant_end|>") == ids
    assert theirs.decode(ids, skip_special_tokens=True) == "hi"
    stored = json.loads((tmp_path / "tokenizer.json").read_text())
    assert [token["special"] for token in stored["added_tokens"]] == [True] * 9


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object):
        raise AssertionError("the tokenizer opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    Tokenizer.train(TEXTS, 300).save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("hi")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"tokenizer\.json.*parrotlet train tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(UserError, match=r"tokenizer\.json.*can't be read"):
        Tokenizer.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be read"):
        Tokenizer.load(tmp_path / "file")


def test_a_file_that_is_not_text(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="can't be read"):
        Tokenizer.load(tmp_path)
