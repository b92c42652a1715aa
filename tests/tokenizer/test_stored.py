"""The stored file: whatever is done to it, it loads as it was or says what is wrong."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers

from parrotlet.errors import UserError
from parrotlet.tokenizer import Tokenizer, stored


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    Tokenizer.train(["abab cdcd 鹦鹉 鹦鹉 " * 3], 275).save(folder)
    return (folder / "tokenizer.json").read_text(encoding="utf-8")


def test_the_alphabet_is_that_of_the_library():
    alphabet = stored.byte_alphabet()
    assert sorted(alphabet) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for char in "a \n\x00é鹦🦜":
        ((spelled, _),) = split.pre_tokenize_str(char)
        assert bytes(alphabet[letter] for letter in spelled) == char.encode()


def test_a_file_cut_short_anywhere(content: str):
    for length in range(0, len(content.rstrip()), 7):
        with pytest.raises(UserError, match=r"runs/a/tokenizer\.json: not a tokenizer"):
            Tokenizer(content[:length], where="runs/a/tokenizer.json")


def paths(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from paths(child, (*at, key))


def replaced(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    tree = copy.deepcopy(tree)
    parent = tree
    for key in at[:-1]:
        parent = parent[key]
    parent[at[-1]] = value
    return tree


@pytest.mark.parametrize("value", [None, 3, -1, 2**40, "x", [], {}, [[]], {"a": "b"}])
def test_any_value_replaced_loads_or_says_so(content: str, value: Any):
    tree = json.loads(content)
    everywhere = [at for at in paths(tree) if "vocab" not in at or at[-1] in ("vocab", "a", "ab", "Ġ")]
    for at in everywhere:
        try:
            loaded = Tokenizer(json.dumps(replaced(tree, at, value)))
        except UserError:
            continue
        assert loaded.decode_bytes(loaded.encode("abab 鹦")) == "abab 鹦".encode()


def drop_special(tree: Any) -> None:
    tree["added_tokens"].pop()


def rename_special(tree: Any) -> None:
    tree["added_tokens"][0]["content"] = "<|endoftext|>"


def swap_merges(tree: Any) -> None:
    merges = tree["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


def repeat_merge(tree: Any) -> None:
    """`tokenizers` merges by the last of the two places."""
    tree["model"]["merges"].append(tree["model"]["merges"][0])


def drop_byte(tree: Any) -> None:
    del tree["model"]["vocab"]["a"]


def share_an_id(tree: Any) -> None:
    tree["model"]["vocab"]["a"] = tree["model"]["vocab"]["b"]


def change_pattern(tree: Any) -> None:
    """What a pattern leaves out between its matches, `tiktoken` would drop."""
    tree["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\S+"


@pytest.mark.parametrize(
    "damage", [drop_special, rename_special, swap_merges, repeat_merge, drop_byte, share_an_id, change_pattern]
)
def test_what_would_encode_wrongly_is_refused(content: str, damage: Callable[[Any], None], tmp_path: Path):
    tree = json.loads(content)
    damage(tree)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)
