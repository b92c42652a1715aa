"""The chat at the terminal, as a person types."""

import io
import json
import re
import subprocess
import sys

import pytest

from parrotlet.chat import Conversation
from parrotlet.cli import main
from parrotlet.cli.typed import read_message
from parrotlet.engine import Engine
from parrotlet.recipe import Recipe
from parrotlet.train import Run, train_stage, train_tokenizer
from scripted import decoder_that, script
from small_run import write_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test", {"base.num_iterations": 2}))
    train_tokenizer(run)
    train_stage(run, "base")
    train_stage(run, "sft", "base")
    return run


OPTIONS = ("--max-tokens", "6", "--seed", "3")


def answers(out):
    """What stands after each prompt for a message."""
    return [part.split("\n")[0] for part in out.split("you> ")[1:] if not part.startswith("[")]


@pytest.fixture
def chat(run, monkeypatch, capsys):
    """What is printed when these lines are typed."""

    def typed(*lines, options=OPTIONS):
        monkeypatch.setattr(sys, "argv", ["parrotlet", "chat", "--run", str(run.folder), *options])
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(line + "\n" for line in lines)))
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    return typed


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["one"], "one"),
        (["one \\", "two\\", "three"], "one \ntwo\nthree"),
        (['"""one', "", "  two", '"""'], "one\n\n  two"),
        (['"""one"""'], "one"),
        (["小鹦鹉"], "小鹦鹉"),
        ([""], ""),
        ([], None),
        (["one\\"], None),
        (['"""one'], None),
    ],
)
def test_messages_of_several_lines(monkeypatch, lines, message):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(line + "\n" for line in lines)))
    assert read_message("you> ") == message


def test_a_stage_is_changed_within_a_conversation(chat):
    out = chat("Hello?", "/stage base", "Again?", "/stage rl", "")
    assert "no stage 'rl'; trained are base, sft" in out
    assert out.count("you> ") == 5
    from_base = chat("/stage base", "Hello?", "")
    assert answers(from_base) == answers(chat("Hello?", "", options=(*OPTIONS, "--stage", "base")))
    assert answers(from_base) != answers(chat("Hello?", ""))


def test_a_call_and_its_result_are_told_apart(chat, run, monkeypatch):
    """From each other and from the text around them."""
    t = run.tokenizer()
    written = [*t.encode("It is "), t.python_start, *t.encode("6*7"), t.python_end, *t.encode("42!"), t.assistant_end]
    wants = script(t, written, lambda row: row.index(t.assistant_start) + 1)
    monkeypatch.setattr("parrotlet.engine.engine.Decoder", decoder_that(wants))
    assert "It is ⟦6*7 → 42⟧42!" in chat("What?", "", options=("--max-tokens", "40", "--temperature", "0"))


@pytest.fixture
def ends_with(run, monkeypatch):
    """Makes the model answer with a text and end, whatever it is asked."""
    t = run.tokenizer()

    def answer(text):
        wants = script(t, [*t.encode(text), t.assistant_end], lambda row: len(row) - row[::-1].index(t.assistant_start))
        monkeypatch.setattr("parrotlet.engine.engine.Decoder", decoder_that(wants))

    return answer


def test_what_is_typed_in_another_encoding_ends_nothing(run, monkeypatch, capsys, tmp_path, ends_with):
    ends_with("Hm.")
    typed = io.TextIOWrapper(io.BytesIO("小鹦鹉\n".encode("gbk") + f"/save {tmp_path}/saved\n".encode()), "utf-8")
    monkeypatch.setattr(sys, "argv", ["parrotlet", "chat", "--run", str(run.folder)])
    monkeypatch.setattr(sys, "stdin", typed)
    main()
    assert "2 messages added" in capsys.readouterr().out
    assert "\N{REPLACEMENT CHARACTER}" in (tmp_path / "saved").read_text("utf-8")


def test_an_answer_does_not_command_the_terminal(chat, ends_with):
    ends_with("a\x1b[2Jb")
    assert "a\\x1b[2Jb" in chat("What?", "")


def test_an_interrupted_answer_to_a_single_question_is_130(run, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "stream", interrupted)
    monkeypatch.setattr(sys, "argv", ["parrotlet", "chat", "--run", str(run.folder), "-p", "Hello"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "[interrupted]" in capsys.readouterr().out


def test_after_a_reset_the_answer_is_that_of_a_new_conversation(chat, tmp_path, ends_with):
    """And a system prompt begins one, too."""
    ends_with("Hm.")
    saved = tmp_path / "talk.jsonl"
    out = chat("One?", "/reset", "Two?", f"/save {saved}", "/system Be brief.", "Three?", f"/save {saved}", "")
    assert out.count("[a new conversation]") == 2
    first, second = map(json.loads, saved.read_text().splitlines())
    assert [message["content"] for message in first if message["role"] == "user"] == ["Two?"]
    assert [message["role"] for message in second] == ["system", "user", "assistant"]


def test_what_is_saved_can_be_trained_on(chat, tmp_path, ends_with):
    ends_with("Hm.")
    saved = tmp_path / "talk.jsonl"
    out = chat(f"/save {saved}", "/system Be brief.", f"/save {saved}", "")
    assert out.count("there is no whole answer to save yet") == 2
    assert not saved.exists()
    chat("One?", "/save", f"/save {saved}", f"/save {tmp_path}/none/x", "")
    conversation = Conversation.from_messages(json.loads(saved.read_text()), "saved")
    conversation.check_trainable("saved")


def test_an_answer_that_was_cut_off_is_not_saved(chat, tmp_path, run, ends_with):
    """It would be taught as one that ends there."""
    ends_with("A long answer.")
    saved = tmp_path / "talk.jsonl"
    out = chat("One?", f"/save {saved}", "", options=("--max-tokens", "2", "--temperature", "0"))
    assert "there is no whole answer to save yet" in out
    assert not saved.exists()
    ends_with("Hm.")
    limit = len(run.tokenizer().encode("Hm.")) + 1
    out = chat("One?", "Two?", f"/save {saved}", "", options=("--max-tokens", str(limit), "--temperature", "0"))
    assert "[4 messages added to" in out


def test_what_comes_after_an_answer_that_was_cut_off_is_left_out(chat, tmp_path, run, monkeypatch):
    t, saved = run.tokenizer(), tmp_path / "talk.jsonl"
    short, long = ([*t.encode(text), t.assistant_end] for text in ("Hm.", "Hm, hm, hm, hm."))

    def wants(row):
        begins = len(row) - row[::-1].index(t.assistant_start)
        ids = short if row.count(t.assistant_start) == 1 else long
        return [ids[min(len(row) - begins, len(ids) - 1)]]

    monkeypatch.setattr("parrotlet.engine.engine.Decoder", decoder_that(wants))
    out = chat("One?", "Two?", "Three?", f"/save {saved}", "", options=("--max-tokens", str(len(short))))
    assert "[2 messages added to" in out
    assert "4 are left out, from the first answer on that was cut off" in out
    assert len(json.loads(saved.read_text())) == 2


def test_the_tokens_of_an_answer(chat, run):
    out = chat("/tokens", "Hello?", "/tokens", "/nonsense", "")
    assert "no answer yet" in out
    assert "there is no /nonsense; there are /stage, /system" in out
    rows = re.findall(r'^(\d+) +"(.*)" +([\d.]+) % +sampled', out, re.MULTILINE)
    assert 0 < len(rows) <= 6
    for id, token, probability in rows:
        assert run.tokenizer().token_text(int(id)) == json.loads(f'"{token}"')
        assert 0 <= float(probability) <= 100


def test_an_answer_does_not_wait_for_what_only_training_needs(run):
    command = "import sys; from parrotlet.cli import main; main(); "
    command += "sys.exit(' '.join({'torch._dynamo', 'torch.distributed.tensor', 'sympy'} & sys.modules.keys()) or 0)"
    arguments = ["chat", "--run", str(run.folder), *OPTIONS, "-p", "hello"]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
