"""CORE's harness, checked by an independent implementation of the model: the same decisions, item by item."""

import json
import random
import sys

import pytest

from parrotlet.cli import main
from parrotlet.evals.core import evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.language_model import HuggingFaceModel, OwnModel
from parrotlet.tokenizer import Tokenizer

pytest.importorskip("transformers")

YAML = """icl_tasks:
- {label: pick, dataset_uri: pick.jsonl, num_fewshot: [1], icl_task_type: multiple_choice}
- {label: say, dataset_uri: say.jsonl, num_fewshot: [0], icl_task_type: language_modeling}
- {label: gone, dataset_uri: gone.jsonl, num_fewshot: [0], icl_task_type: schema}
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "eval_data").mkdir()
    (folder / "core.yaml").write_text(YAML)
    (folder / "eval_meta_data.csv").write_text("Eval Task,Random baseline\npick,25\nsay,0\ngone,50\n")
    (folder / "openai-community-gpt2.csv").write_text("Task , Accuracy , Centered \npick , 0.5 , 0.333 \n")
    draw = random.Random(0)
    words = ("parrot", "river", "oak tree", "morning", "apples", "小鹦鹉")
    pick = [{"query": f"Number {i}:", "choices": draw.sample(words, 4), "gold": i % 4} for i in range(30)]
    say = [{"context": f"The {draw.choice(words)} is", "continuation": draw.choice("abcde")} for _ in range(30)]
    for name, items in (("pick", pick), ("say", say)):
        lines = "".join(json.dumps(item) + "\n" for item in items)
        (folder / "eval_data" / f"{name}.jsonl").write_text(lines)
    return folder


def test_the_same_decisions_as_transformers(exported, bundle):
    model, folder = exported
    tokenizer = Tokenizer.load(folder)
    theirs = HuggingFaceModel(folder, trust_code=not model.config.is_plain)
    for task in read_bundle(bundle)[0]:
        ours = evaluate_core_task(OwnModel(model, tokenizer), task)
        assert ours.decisions == evaluate_core_task(theirs, task).decisions
        if task.name == "pick":
            assert len(set(ours.decisions)) == 4


def test_core_of_a_folder_of_hugging_face(chat_folder, bundle, monkeypatch, capsys):
    """A missing file is named, and what is left is not called CORE."""
    args = ["eval", "--core", str(bundle), "--hf", str(chat_folder), "--limit", "5"]
    monkeypatch.setattr(sys, "argv", ["parrotlet", *args])
    main()
    told = capsys.readouterr()
    assert f"gone is left out: {bundle}/eval_data/gone.jsonl is missing" in told.err
    lines = {line.split()[0]: line for line in told.out.splitlines() if line.strip()}
    assert lines["pick"].split()[-1] == "0.333"
    assert "mean of 2" in lines["mean"]
    assert "CORE" not in lines
