"""CORE's harness, checked by an independent implementation of the model: the same decisions, item by item."""

import json
import random
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from parrotlet.cli import evaluate, main
from parrotlet.evals.branches import Batch, Tree
from parrotlet.evals.core import evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.core_prompts import chosen_items, rows_of
from parrotlet.evals.language_model import HuggingFaceModel, OwnModel
from parrotlet.tokenizer import Tokenizer
from scripted import sayings

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


def test_the_same_decisions_as_transformers(exported, bundle, tmp_path):
    """Right and wrong ones."""
    model, folder = exported
    tokenizer = Tokenizer.load(folder)
    theirs = HuggingFaceModel(folder, trust_code=not model.config.is_plain)
    pick, say = read_bundle(bundle)[0]
    say = replace(say, path=tmp_path / "say.jsonl", delimiter="")
    items = sayings(model, tokenizer, random.Random(0), ("parrot", "river", "morning", "小鹦鹉"))
    say.path.write_text("".join(json.dumps(item) + "\n" for item in items))
    for task in (pick, say):
        ours = evaluate_core_task(OwnModel(model, tokenizer), task)
        assert ours.decisions == evaluate_core_task(theirs, task).decisions
        assert set(ours.right) == {True, False}
        assert len(set(ours.decisions)) == (4 if task is pick else 2)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder with a random GPT-2 of few positions, and a tokenizer that begins texts with nothing."""
    import tokenizers
    import transformers

    folder = tmp_path_factory.mktemp("gpt2")
    bytes_only = tokenizers.Tokenizer(tokenizers.models.BPE())
    bytes_only.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=256, initial_alphabet=alphabet, show_progress=False)
    bytes_only.train_from_iterator([], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_only).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"vocab_size": 256, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
    config = transformers.GPT2Config(**shape, initializer_range=0.3, bos_token_id=None, eos_token_id=None)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_model_without_a_token_to_begin_with(gpt2, bundle):
    """Against each text alone; what is too long loses its beginning."""
    from transformers import AutoModelForCausalLM

    model, plain = HuggingFaceModel(gpt2), AutoModelForCausalLM.from_pretrained(gpt2)
    assert (model.prefix, model.context) == ([], 32)
    pick, say = read_bundle(bundle)[0]
    for task in (pick, say):
        items, expected = chosen_items(task, None), []
        for index in range(len(items)):
            losses, likeliest = zip(*(alone(plain, row) for row in rows_of(task, items, index, model)), strict=True)
            expected.append(losses.index(min(losses)) if task is pick else int(likeliest[0]))
        assert evaluate_core_task(model, task).decisions == tuple(expected)
        lengths = {len(row.ids) for index in range(len(items)) for row in rows_of(task, items, index, model)}
        assert (max(lengths) == 32) == (task is pick)


@torch.no_grad()
def alone(model, row):
    logits = model(torch.tensor([row.ids])).logits[0, row.start - 1 : -1]
    targets = torch.tensor(row.scored)
    return float(F.cross_entropy(logits, targets)), bool((logits.argmax(-1) == targets).all())


def test_the_model_computes_where_it_is_told(gpt2, bundle, monkeypatch):
    """Its inputs go there, too; the command tells it the best device that there is."""
    model = HuggingFaceModel(gpt2, device="meta")
    tree = Tree(rows_of(read_bundle(bundle)[0][0], read_bundle(bundle)[0][0].items(), 0, model)[:1])
    assert model.logits(Batch.of([tree])).device.type == model.device.type == "meta"
    told = []
    monkeypatch.setattr(evaluate, "resolve_machine", lambda settings: replace(settings, device="best"))
    monkeypatch.setattr(evaluate, "HuggingFaceModel", lambda folder, **options: told.append(options["device"]))
    monkeypatch.setattr(evaluate, "measure_core", lambda *args: None)
    evaluate.evaluate(core=str(bundle), hf=gpt2)
    assert told == ["best"]


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
