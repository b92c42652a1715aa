"""How a text is split: against the tokenizer itself, and against the library on the same file."""

import json
import sys

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.cli import main
from parrotlet.errors import UserError
from parrotlet.inspect.tokens import any_splitter, our_splitter, rank_splitter, read_passages
from small_run import write_small_run
from weng import WENG


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_the_pieces_are_the_text(tokenizer, text):
    pieces = our_splitter(tokenizer, "ours").split(text)
    assert [id for id, _ in pieces] == tokenizer.encode(text)
    assert b"".join(tokenizer.token_bytes(id) for id, _ in pieces) == text.encode()


def test_any_tokenizer_json_is_read_and_shows_what_ours_does(tokenizer, tmp_path):
    """Ours is one: two implementations on the same file must agree, half characters too."""
    tokenizer.save(tmp_path)
    other = any_splitter(tmp_path / "tokenizer.json")
    ours = our_splitter(tokenizer, "ours")
    for text in ("Weng earns $12", "小鹦鹉🦜 says\nhello", "", "\x00 \t"):
        assert other.split(text) == ours.split(text)
    assert other.vocab_size == tokenizer.vocab_size
    assert other.split("\ud83d") == ours.split("\ud83d")


def test_what_a_tokenizer_json_says_of_lengths_is_passed_over(tokenizer, tmp_path):
    """Others' pad and cut to what their model takes."""
    tokenizer.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.enable_truncation(4)
    theirs.enable_padding(length=4)
    theirs.save(str(tmp_path / "tokenizer.json"))
    other = any_splitter(tmp_path / "tokenizer.json")
    for text in ("a", "Weng earns $12 an hour"):
        assert other.split(text) == our_splitter(tokenizer, "ours").split(text)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base"])
def test_a_rank_file_splits_as_published(real_data, name):
    """The pieces are the text, and the ids are those of the published vectors of cl100k."""
    other = rank_splitter(real_data / "tokenizer_oracles" / f"{name}.tiktoken")
    text = "hello world, it's 12345!\n  x"
    assert "".join(piece for _, piece in other.split(text)) == text
    if name == "cl100k_base":
        assert other.vocab_size == 100_256
        assert [id for id, _ in other.split("hello world")] == [15339, 1917]
    assert other.split("鸟")[0][1].startswith("\\x")


def test_a_rank_file_without_a_known_pattern(tmp_path):
    with pytest.raises(UserError, match=r"mine\.tiktoken: a rank file does not say where it splits.*cl100k_base"):
        rank_splitter(tmp_path / "mine.tiktoken")
    with pytest.raises(UserError, match=r"r50k_base\.tiktoken: can't be read"):
        rank_splitter(tmp_path / "r50k_base.tiktoken")


def test_a_conversation_is_split_part_by_part(tmp_path):
    (tmp_path / "chat.jsonl").write_text(json.dumps(WENG) + "\n\n" + json.dumps({"messages": WENG}) + "\n")
    (tmp_path / "chat.json").write_text(json.dumps(WENG))
    once = [(passage.label, passage.text) for passage in read_passages(tmp_path / "chat.json")]
    assert [label for label, _ in once][:4] == ["user", "assistant", "assistant python", "assistant python_output"]
    assert once[2] == ("assistant python", "12/60")
    assert [(passage.label, passage.text) for passage in read_passages(tmp_path / "chat.jsonl")] == once * 2
    odd = [{"role": "user", "content": "one\u2028two\x85"}]
    (tmp_path / "odd.jsonl").write_text(json.dumps(odd, ensure_ascii=False), "utf-8")
    assert [passage.text for passage in read_passages(tmp_path / "odd.jsonl")] == ["one\u2028two\x85"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"[]\n", "a.jsonl, line 1: expected a list of messages"),
        ("a.jsonl", b'[{"role": "user", "content": "x"}]\n{', "a.jsonl, line 2: not JSON"),
        ("a.txt", b"\xff", "a.txt: not UTF-8"),
    ],
)
def test_files_that_can_not_be_read(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_passages(tmp_path / name)


def test_on_the_command_line(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.json").write_text("{}")

    def tokens(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", "tokens", *map(str, args), "--run", str(trained.folder)])
        main()
        return capsys.readouterr().out

    out = tokens("hello 鸟", "--ids", "--beside", trained.folder / "tokenizer" / "tokenizer.json")
    ours, theirs = out.strip().split("\n\n")
    assert ours.splitlines()[1:] == theirs.splitlines()[1:]
    assert ours.splitlines()[2] == " ".join(map(str, trained.tokenizer().encode("hello 鸟")))
    for args, says in (
        (["x", "--beside", tmp_path / "bad.json"], "not a tokenizer.json"),
        ([], "name a text or a file"),
    ):
        with pytest.raises(SystemExit) as end:
            tokens(*args)
        assert end.value.code == 2
        assert says in capsys.readouterr().err


def test_bytes_of_a_tokenizer_that_falls_back_to_them_are_shown_as_bytes(tmp_path):
    """As Llama 2's does: every byte has the place of the whole character."""
    vocab = {"<unk>": 0, "a": 1} | {f"<0x{byte:02X}>": 2 + byte for byte in range(256)}
    model = tokenizers.models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True)
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    other = any_splitter(tmp_path / "tokenizer.json")
    assert [text for _, text in other.split("a鹦")] == ["a", "\\xe9", "\\xb9", "\\xa6"]


def test_what_a_terminal_would_drop_or_obey_is_spelled(tmp_path, monkeypatch, capsys):
    """Blanks at a line's end, and control characters."""
    (tmp_path / "recipe.toml").write_text(write_small_run(tmp_path))
    text = "a" * 38 + "   b\r\tc\x1b[2J"
    command = ["parrotlet", "tokens", text, "--recipe", str(tmp_path / "recipe.toml")]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setenv("COLUMNS", "40")
    main()
    shown = capsys.readouterr().out.partition("a token\n")[2]
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.replace("·", "").replace("\n", "") == "a" * 38 + "   b\\r\\tc\\x1b[2J"
