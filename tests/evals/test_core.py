"""CORE: its prompts, its scores, and that they don't depend on how they are computed."""

import csv
import importlib.util
import json
import random
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from parrotlet.errors import UserError
from parrotlet.evals import core_bundle
from parrotlet.evals.branches import Row, Tree
from parrotlet.evals.core import core, evaluate_core_task, score
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.core_prompts import chosen_items, rows_of
from parrotlet.evals.language_model import OwnModel
from parrotlet.evals.statistics import centred
from parrotlet.files import sha256
from parrotlet.hub.pinned import CORE_BUNDLE
from parrotlet.model import GPT, ModelConfig

YAML = """icl_tasks:
- {label: pick, dataset_uri: a/pick.jsonl, num_fewshot: [1], icl_task_type: multiple_choice,
   continuation_delimiter: "\\nA: "}
- {label: who, dataset_uri: a/who.jsonl, num_fewshot: [0], icl_task_type: schema}
- {label: say, dataset_uri: a/say.jsonl, num_fewshot: [2], icl_task_type: language_modeling}
- {label: gone, dataset_uri: a/gone.jsonl, num_fewshot: [0], icl_task_type: language_modeling}
"""
META = "Eval Task,Random baseline\npick,25\nwho,50\nsay,0\ngone,0\n"
NOUNS = ("parrot", "river", "oak tree", "morning", "earn", "per minute", "apples", "pears")


def test_the_published_bundle_is_unpacked_once(tmp_path, monkeypatch):
    """Its archive comes from the one place that fetches pinned files; a second call needs neither."""
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as file:
        file.writestr("eval_bundle/core.yaml", YAML)
    asked = []
    monkeypatch.setattr(core_bundle, "fetch_pinned", lambda file: asked.append(file) or tmp_path / "bundle.zip")
    for _ in range(2):
        assert (core_bundle.published_bundle() / "core.yaml").read_text() == YAML
    assert asked == [CORE_BUNDLE]


@pytest.mark.real_data
def test_the_bundle_that_results_are_published_for(real_data):
    """Its parts that are here are those of the archive that is pinned, by the hashes recorded of them."""
    bundle = real_data / "core" / "eval_bundle"
    assert sha256(bundle / "core.yaml").startswith("463f6ae0aa127fbd")
    assert sha256(bundle / "eval_meta_data.csv").startswith("84e279cdc0d836c9")


def items_of(kind, n, seed=0):
    draw = random.Random(seed)
    for i in range(n):
        some = draw.sample(NOUNS, 4)
        question = f"The {draw.choice(NOUNS)} number {i} said"
        if kind == "pick":
            yield {"query": question, "choices": some, "gold": draw.randrange(4)}
        elif kind == "who":
            yield {"context_options": [f"{question} {w}" for w in some[:2]], "continuation": "and flew.", "gold": i % 2}
        else:
            yield {"context": question + " ", "continuation": some[0]}


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "eval_data" / "a").mkdir(parents=True)
    (tmp_path / "core.yaml").write_text(YAML)
    (tmp_path / "eval_meta_data.csv").write_text(META)
    for kind in ("pick", "who", "say"):
        lines = "".join(json.dumps(item) + "\n" for item in items_of(kind, 40))
        (tmp_path / "eval_data" / "a" / f"{kind}.jsonl").write_text(lines)
    return tmp_path


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "shift"])
def gpt(request, tokenizer):
    """A random model with a small random head, whose blocks do something."""
    shape = {"width": 32, "heads": 2, "short_conv": request.param, "ngrams": 53 if request.param else 0}
    model = GPT.build(ModelConfig.from_depth(2, tokenizer.vocab_size, 96, **shape), seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * p.shape[-1] ** -0.5)
    return model.eval()


@pytest.fixture
def model(gpt, tokenizer):
    return OwnModel(gpt, tokenizer)


def test_prompts(bundle, model, tokenizer):
    """To the letter; examples are drawn by the item's number, never the item itself."""
    pick, who, say = read_bundle(bundle)[0]
    model.context = 1000
    items = pick.items()
    shown = items[random.Random(1234 + 5).sample([i for i in range(40) if i != 5], 1)[0]]
    rows = rows_of(pick, items, 5, model)
    for row, choice in zip(rows, items[5]["choices"], strict=True):
        solved = f"{shown['query']}\nA: {shown['choices'][shown['gold']]}"
        text = tokenizer.decode(row.ids)
        assert text == f"<|bos|>{solved}\n\n{items[5]['query']}\nA: {choice}"
        assert text.endswith(tokenizer.decode(row.ids[row.start :]))
    first, second = rows_of(who, who.items(), 0, model)
    assert first.ids[first.start :] == second.ids[second.start :]
    assert tokenizer.decode(first.ids[first.start :]) == " and flew."
    (row,) = rows_of(say, say.items(), 3, model)
    assert tokenizer.decode(row.ids[row.start :]) == f" {say.items()[3]['continuation']}"
    assert tokenizer.decode(row.ids).count("\n\n") == 2


def plainly(gpt, row):
    """Mean loss and whether all is likeliest, from the definition."""
    logits = gpt.logits(gpt(torch.tensor([row.ids])))[0]
    logprobs = F.log_softmax(logits, -1)
    scored = range(row.start, len(row.ids))
    losses = [-logprobs[i - 1, row.ids[i]].item() for i in scored]
    return sum(losses) / len(losses), all(int(logits[i - 1].argmax()) == row.ids[i] for i in scored)


@torch.no_grad()
def test_decisions_follow_from_the_definition_and_not_from_the_batch(bundle, model, gpt):
    differ = set()
    for task in read_bundle(bundle)[0]:
        items = task.items()
        random.Random(1337).shuffle(items)
        expected = []
        for index in range(len(items)):
            scores = [plainly(gpt, row) for row in rows_of(task, items, index, model)]
            losses = [loss for loss, _ in scores]
            expected.append(int(scores[0][1]) if task.kind == "language_modeling" else losses.index(min(losses)))
        one_by_one = evaluate_core_task(model, task, batch_tokens=1)
        assert evaluate_core_task(model, task, batch_tokens=1 << 20).decisions == one_by_one.decisions
        assert one_by_one.decisions == tuple(expected)
        differ |= set(expected)
    assert differ >= {0, 1, 2, 3}


@torch.no_grad()
@pytest.mark.parametrize("context", [96, 24])
def test_what_is_computed_once_has_the_losses_of_rows_alone(bundle, model, gpt, context):
    """Where a beginning is shared, and where too long rows were cut in different places and share nothing."""
    model.context = context
    shared = []
    for task in read_bundle(bundle)[0]:
        items = task.items()
        rows = [rows_of(task, items, index, model) for index in range(12)]
        rows.append([Row(rows[0][0].ids[:k], k - 1) for k in (9, 12, 10)])  # one begins with all of another
        for of_item, scores in zip(rows, score(model, rows), strict=True):
            shared.append(Tree(of_item).shared if len(of_item) > 1 else 0)
            for row, (loss, likeliest) in zip(of_item, scores, strict=True):
                expected, hit = plainly(gpt, row)
                assert loss == pytest.approx(expected, abs=1e-5)
                assert likeliest == hit
    assert max(shared) >= 8
    assert context == 96 or 0 in shared


@torch.no_grad()
@pytest.mark.parametrize("branches", [True, False])
def test_choices_that_are_the_same_have_the_same_score(bundle, model, monkeypatch, branches):
    """To the last bit, wherever they lie in a batch."""
    monkeypatch.setattr(OwnModel, "branches", branches)
    pick = read_bundle(bundle)[0][0]
    rows = [rows_of(pick, pick.items(), index, model) for index in range(40)]
    for first, second, third, *_ in score(model, [[a, b, a, *rest] for a, b, *rest in rows]):
        assert first == third != second


def test_a_limit_takes_the_first_in_cores_order(bundle, model):
    task = read_bundle(bundle)[0][1]
    assert evaluate_core_task(model, task, limit=7).decisions == evaluate_core_task(model, task).decisions[:7]


def test_long_prompts_lose_their_beginning_and_keep_their_answer(bundle, model):
    pick = read_bundle(bundle)[0][0]
    model.context = 24
    for row in rows_of(pick, pick.items(), 0, model):
        assert len(row.ids) == 24
        assert 1 <= row.start < 24
    model.context = 2
    assert all(row.start == 1 for row in rows_of(pick, pick.items(), 0, model))


def test_items_that_lose_their_beginning_are_counted(bundle, model):
    pick = read_bundle(bundle)[0][0]
    items = chosen_items(pick, None)
    longest = [max(len(row.ids) for row in rows_of(pick, items, i, model)) for i in range(len(items))]
    assert evaluate_core_task(model, pick).cut == 0
    model.context = sorted(longest)[len(longest) // 2]
    too_long = sum(length > model.context for length in longest)
    assert 0 < too_long < len(items)
    assert evaluate_core_task(model, pick).to_json()["cut"] == too_long


class Stub:
    """Always likes one text best."""

    context, prefix, branches, device = 10_000, [0], True, torch.device("cpu")

    def __init__(self, liked):
        self.liked = liked

    def encode(self, texts):
        return [[ord(char) for char in text] for text in texts]

    def logits(self, batch):
        logits = torch.zeros(len(batch.rows), 1 << 17)
        logits[:, self.liked] = 10
        return logits


@pytest.mark.real_data
def test_always_one_letter_is_right_as_often_as_that_letter(real_data):
    task = next(t for t in read_bundle(real_data / "core" / "eval_bundle")[0] if t.name == "commonsense_qa")
    result = evaluate_core_task(Stub(ord("B")), task, limit=60)
    assert set(result.decisions) == {1}
    items = task.items()
    random.Random(1337).shuffle(items)
    assert result.accuracy == sum(item["gold"] == 1 for item in items[:60]) / 60


@pytest.mark.real_data
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_random_model_is_as_good_as_guessing(real_data, tokenizer, seed):
    """Within its interval, over all tasks of the published bundle that are here: of every kind, with examples and
    without."""
    gpt = GPT.build(ModelConfig.from_depth(1, tokenizer.vocab_size, 512, width=32, heads=2), seed=seed)
    tasks = read_bundle(real_data / "core" / "eval_bundle")[0]
    model = OwnModel(gpt, tokenizer)
    results = [evaluate_core_task(model, task, limit=20 if task.shots else 100) for task in tasks]
    mean, half = core(results)
    assert abs(mean) <= half < 0.2


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["openai-community-gpt2", "openai-community-gpt2-xl"])
def test_centring_gives_the_published_core(real_data, name):
    folder = real_data / "core" / "eval_bundle"
    there, missing = read_bundle(folder)
    chances = {task.name: task.chance for task in there + missing}
    with (folder / f"{name}.csv").open(newline="") as file:
        rows = {row[0].strip(): [cell.strip() for cell in row[1:3]] for row in list(csv.reader(file))[1:]}
    published = float(rows.pop("CORE")[1])
    ours = {task: centred(float(accuracy), chances[task]) for task, (accuracy, _) in rows.items()}
    assert len(ours) == 22
    for task, (_, theirs) in rows.items():
        assert ours[task] == pytest.approx(float(theirs), abs=2e-6)
    assert sum(ours.values()) / 22 == pytest.approx(published, abs=2e-6)


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85"])
def test_an_item_holds_any_character(bundle, char):
    """Those, too, that some take for the end of a line."""
    who = read_bundle(bundle)[0][1]
    item = {"context_options": [f"a{char}b", "c"], "continuation": char, "gold": 0}
    who.path.write_text(json.dumps(item, ensure_ascii=False) + "\n\n", "utf-8")
    assert who.items() == [item]


BEYOND = '{"context_options": ["He", "She"], "continuation": " sat", "gold": 2}'


def test_missing_files_are_named_and_bad_lines_too(bundle, model):
    there, missing = read_bundle(bundle)
    assert [task.name for task in there] == ["pick", "who", "say"]
    assert [task.name for task in missing] == ["gone"]
    path = bundle / "eval_data" / "a" / "who.jsonl"
    for line, found in (
        ("{", "not JSON"),
        ('{"gold": 1}', "context_options"),
        ("3", "context_options"),
        (BEYOND, "gold"),
    ):
        path.write_text(path.read_text().split("\n", 1)[0] + f"\n{line}\n")
        with pytest.raises(UserError, match=rf"who.jsonl, line 2: .*{found}"):
            there[1].items()
    path.write_text("")
    with pytest.raises(UserError, match=r"who\.jsonl: there is no item"):
        there[1].items()
    (bundle / "core.yaml").write_text("icl_tasks: []")
    with pytest.raises(UserError, match="lists no task"):
        read_bundle(bundle)
    (bundle / "core.yaml").write_text("icl_tasks: [{label: 3}]")
    with pytest.raises(UserError, match="not the evaluation bundle"):
        read_bundle(bundle)


@pytest.mark.parametrize("differ", [False, True])
def test_the_benchmark_fails_where_decisions_differ(bundle, tokenizer, monkeypatch, capsys, differ):
    path = Path(__file__).parents[2] / "benchmarks" / "core.py"
    spec = importlib.util.spec_from_file_location("core_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "Tokenizer", SimpleNamespace(train=lambda texts, size: tokenizer))
    if differ:
        monkeypatch.setattr(module, "one_by_one", lambda model, rows: [[(0, True)] * len(of_item) for of_item in rows])
    monkeypatch.setattr(sys, "argv", ["core.py", str(bundle), "--tasks", "pick", "--limit", "8", "--rounds", "1"])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == differ
    assert ("DIFFERENT" in capsys.readouterr().out) == differ
