"""Bad input through the command line: one clear message, exit code 2, and nothing lost."""

import json
import re
import sys
from pathlib import Path

import pytest

from parrotlet.cli import main
from parrotlet.train.checkpoint import list_checkpoints
from small_run import write_small_run


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "recipe.toml").write_text(write_small_run(tmp_path))
    return tmp_path / "recipe.toml"


@pytest.fixture
def parrotlet(monkeypatch, capsys):
    """Run a command; returns its exit code and what it wrote to stderr."""

    def command(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, args)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            return end.code or 0, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return command


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def line_three(talk: str):
    def damage(recipe: Path) -> None:
        path = recipe.parent / "talk.jsonl"
        lines = path.read_text().splitlines()
        lines[2] = talk
        path.write_text("\n".join(lines) + "\n")

    return damage


def in_recipe(old: str, new: str):
    return lambda recipe: edit(recipe, old, new)


def empty_texts(recipe: Path) -> None:
    (recipe.parent / "texts.jsonl").write_text('{"text": ""}\n{"text": " "}\n')


def no_texts(recipe: Path) -> None:
    (recipe.parent / "texts.jsonl").unlink()


def broken_texts(recipe: Path) -> None:
    path = recipe.parent / "texts.jsonl"
    path.write_text(path.read_text() + '{"text": "cut off\n')


USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}

CASES = {
    "unknown key": (in_recipe("eval_every = 4", "evaluate_every = 4"), r"'evaluate_every'.*did you mean 'eval_every'"),
    "unknown task": (in_recipe("custom-json", "costum-json"), r"no task 'costum-json' \(did you mean 'custom-json'"),
    "wrong type": (in_recipe("depth = 1", 'depth = "one"'), r"model: depth must be int, found 'one'"),
    "not TOML": (in_recipe("depth = 1", "depth = = 1"), r"recipe\.toml: not TOML"),
    "width and heads": (in_recipe("heads = 2", "heads = 3"), r"model\.width = 32 .* model\.heads = 3"),
    "batch that doesn't divide": (in_recipe("tokens_per_step = 256", "tokens_per_step = 200"), r"multiple of .* = 128"),
    "vocabulary too small": (in_recipe("vocab_size = 300", "vocab_size = 200"), r"vocab_size 200 is too small"),
    "vocabulary too large": (in_recipe("vocab_size = 300", "vocab_size = 30000"), r"too small for vocab_size 30000"),
    "missing dataset": (
        in_recipe('task = "custom-json", dataset = "', 'task = "custom-json", dataset = "not-there/'),
        r"not-there/.*talk\.jsonl: can't be read",
    ),
    "missing texts": (no_texts, r"texts\.jsonl: no such file"),
    "empty texts": (empty_texts, r"texts\.jsonl.*no document|no text to train a tokenizer on"),
    "broken text": (broken_texts, r"texts\.jsonl, line 121: not JSON"),
    "not a conversation": (line_three('{"hello": 1}'), r"talk\.jsonl, line 3: expected a list of messages"),
    "not JSON": (line_three("[{"), r"talk\.jsonl, line 3: not JSON"),
    "roles out of order": (
        line_three(json.dumps([USER, USER, ASSISTANT])),
        r"talk\.jsonl, line 3: message 2 has the role 'user' where 'assistant' is due",
    ),
    "another encoding": (
        lambda recipe: recipe.write_bytes(recipe.read_text().replace('"test"', '"小鹦鹉"').encode("gbk")),
        r"recipe\.toml: not UTF-8",
    ),
    "no assistant turn": (line_three(json.dumps([USER])), r"talk\.jsonl, line 3: no assistant message"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_message_and_exit_code_2(case, recipe, parrotlet, tmp_path):
    damage, says = CASES[case]
    damage(recipe)
    code, err = parrotlet("run", "--recipe", recipe, "--run", tmp_path / "run")
    assert code == 2
    message = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(message) == 1
    assert re.search(says, err[err.index("error: ") :]), err
    assert "Traceback" not in err


def test_the_same_folder_with_another_recipe_is_refused_and_untouched(recipe, parrotlet, tmp_path):
    run = tmp_path / "run"
    assert parrotlet("train", "base", "--recipe", recipe, "--run", run)[0] == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, err = parrotlet("train", "base", "--recipe", recipe, "--run", run, "--seed", 7)
    assert code == 2
    assert "holds a run of another recipe" in err
    assert "seed: 42 → 7" in err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_nothing_came_of_may_have_another_recipe(recipe, parrotlet, tmp_path):
    run = tmp_path / "run"
    edit(recipe, "vocab_size = 300", "vocab_size = 200")
    assert parrotlet("train", "tokenizer", "--recipe", recipe, "--run", run)[0] == 2
    edit(recipe, "vocab_size = 200", "vocab_size = 310")
    assert parrotlet("train", "tokenizer", "--recipe", recipe, "--run", run)[0] == 0
    assert "vocab_size = 310" in (run / "recipe.toml").read_text()
    code, err = parrotlet("train", "tokenizer", "--recipe", recipe, "--run", run, "--set", "tokenizer.vocab_size=320")
    assert code == 2
    assert "tokenizer.vocab_size: 310 → 320" in err


def test_a_file_of_texts_and_conversations(recipe, parrotlet, tmp_path):
    """One file may be read by base and by mid."""
    talk, texts = tmp_path / "talk.jsonl", tmp_path / "texts.jsonl"
    messages = [json.loads(line) for line in talk.read_text().splitlines()]
    lines = [json.loads(line) for line in texts.read_text().splitlines()]
    both = [line | {"messages": messages[n % len(messages)]} for n, line in enumerate(lines)]
    texts.write_text("".join(json.dumps(line) + "\n" for line in both))
    recipe.write_text(recipe.read_text().replace("talk.jsonl", "texts.jsonl"))
    code, err = parrotlet("run", "--recipe", recipe, "--run", tmp_path / "run", "--no-audit")  # it has duplicates
    assert code == 0, err


def test_a_torn_checkpoint_and_another_tokenizer(recipe, parrotlet, tmp_path):
    run = tmp_path / "run"
    assert parrotlet("train", "base", "--recipe", recipe, "--run", run)[0] == 0
    weights = max((run / "base" / "checkpoints").glob("*/model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-7])
    code, err = parrotlet("chat", "--run", run, "-p", "Hi")
    assert (code, err.count("error: ")) == (2, 1)
    assert "model.safetensors" in err
    weights.write_bytes(whole)
    state = weights.with_name("state.json")
    said = state.read_text()
    state.write_text(said[:-9])
    code, err = parrotlet("train", "base", "--recipe", recipe, "--run", run)
    assert (code, err.count("error: ")) == (2, 1)
    assert "damaged: state.json can't be read" in err
    state.write_text(said)
    other = tmp_path / "other"
    command = ("train", "tokenizer", "--recipe", recipe, "--run", other, "--set", "tokenizer.vocab_size=310")
    assert parrotlet(*command)[0] == 0
    (run / "tokenizer" / "tokenizer.json").write_bytes((other / "tokenizer" / "tokenizer.json").read_bytes())
    code, err = parrotlet("chat", "--run", run, "-p", "Hi")
    assert (code, err.count("error: ")) == (2, 1)
    assert "another tokenizer" in err


def test_bad_conversations_are_found_before_base_is_trained(recipe, parrotlet, tmp_path):
    """And when the file is mended, the same command goes on."""
    run, talk = tmp_path / "run", (tmp_path / "talk.jsonl").read_text()
    line_three("[]")(recipe)
    code, err = parrotlet("run", "--recipe", recipe, "--run", run)
    assert code == 2
    assert "talk.jsonl, line 3" in err
    assert not (run / "base").exists()
    (tmp_path / "talk.jsonl").write_text(talk)
    assert parrotlet("run", "--recipe", recipe, "--run", run)[0] == 0
    assert list_checkpoints(run / "sft")


def test_a_task_without_a_judge_is_refused_before_anything_is_trained(recipe, parrotlet, tmp_path):
    tasks = 'eval.tasks=[{task="custom-json",dataset="%s",split="validation"}]' % (tmp_path / "talk.jsonl")
    code, err = parrotlet("run", "--recipe", recipe, "--run", tmp_path / "run", "--set", tasks)
    assert code == 2
    assert "custom-json has no judge" in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["chat", "--run", "nowhere"], "nowhere is not a run"),
        (["train", "mid", "--run", "empty-run", "--recipe", "RECIPE"], "mid starts from base"),
        (["run", "--recipe", "tinny"], "no recipe 'tinny' (did you mean 'tiny'?)"),
        (["run", "--recipe", "no/such.toml"], "no/such.toml: no such recipe file"),
        (["run", "--recipe", "RECIPE", "--set", "base.num_iteration=3"], "did you mean 'num_iterations'?"),
        (["data", "overlap", "--run", "runs/tpyo"], "runs/tpyo is not a run"),
        (["plan", "--run", "runs/tpyo"], "runs/tpyo is not a run"),
        (["xray", "base", "--recipe", "RECIPE", "--row", "99"], "--row 99: step 0 of base has the rows 0 to 3"),
        (["xray", "mid", "--recipe", "RECIPE", "--step", "9999"], "there is no step 9999"),
        (["xray", "mid", "--recipe", "RECIPE", "--json", "--table"], "--json, --html and --table are different forms"),
        (["xray", "mid", "--recipe", "RECIPE", "--item", "gsm8k[0]", "--json"], "leave out --json and --html"),
        (["rewind", "--every", "2"], "--every is for the hardest segments of a whole stage"),
        (["rewind", "--worst", "0"], "--every and --worst count from 1"),
        (["train", "tokenizer", "--recipe", "RECIPE", "--from", "base@1"], "a tokenizer has no checkpoints"),
        (["data", "download", "--recipe", "RECIPE", "--json"], "--ngram and --json are for data overlap"),
        (["plan", "--run", "runs/a", "--recipe", "RECIPE"], "give --run or --recipe, not both"),
        (
            ["plan", "--recipe", "RECIPE", "--depth", "2", "--set", "model.depth=3"],
            "model.depth is given twice: 2 and 3",
        ),
        (["plan", "--recipe", "RECIPE", "--set", "seed=1", "--set", "seed=2"], "seed is given twice: 1 and 2"),
        (["plan", "--recipe", "RECIPE", "--depth", "2", "--set", "model={depth=3}"], "model is given twice"),
        (["plan", "--recipe", "RECIPE", "--set"], "--set: name a key and its value"),
        (["import", "out", "--depth", "2"], "model.depth: the model's shape and tokenizer are those of out"),
        (["serve", "--without-key", "--api-key", "k"], "--without-key, and a key is given"),
    ],
)
def test_a_wrong_argument_says_what_there_is(args, says, recipe, parrotlet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, err = parrotlet(*(str(recipe) if arg == "RECIPE" else arg for arg in args))
    assert code == 2, err
    assert says in err
