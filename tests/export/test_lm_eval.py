"""lm-eval asks the run, the export, and our own code for CORE: the same decisions, item by item."""

import json
import random
import sys

import pytest

from parrotlet.cli import main
from parrotlet.errors import UserError
from parrotlet.evals.core import evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.language_model import OwnModel
from parrotlet.export import export_stage
from parrotlet.train import load_model
from scripted import sayings

pytest.importorskip("transformers")
pytest.importorskip("lm_eval")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # of lm-eval's own libraries

CORE_YAML = """icl_tasks:
- {label: pick, dataset_uri: pick.jsonl, num_fewshot: [0], icl_task_type: multiple_choice}
- {label: tie, dataset_uri: tie.jsonl, num_fewshot: [0], icl_task_type: multiple_choice}
- {label: say, dataset_uri: say.jsonl, num_fewshot: [0], icl_task_type: language_modeling,
   continuation_delimiter: ""}
"""
PICK = """output_type: multiple_choice
doc_to_text: "{{query}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{gold}}"
"""
TASKS = {
    "pick": PICK,
    "tie": PICK,
    "say": """output_type: loglikelihood
doc_to_text: "{{context}}"
doc_to_target: "{{continuation}}"
target_delimiter: ""
metric_list: [{metric: acc}]
""",
    "roll": """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte}]
""",
    "write": """output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "e"
generation_kwargs: {until: ["e"], max_gen_toks: 40, do_sample: false}
metric_list: [{metric: exact_match}]
""",
}
WORDS = ("parrot", "earn", "river", "oak tree", "小鹦鹉", "morning", "7 apples")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "shift"])
def run(request, tmp_path_factory, tokenizer, make_random_run):
    """A run with a base stage, whose special tokens are never the likeliest."""
    return make_random_run(tmp_path_factory.mktemp("run"), tokenizer, "base", specials=False, short_conv=request.param)[
        0
    ]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory, run, tokenizer):
    """A folder with the same items as tasks of lm-eval and as a bundle of CORE."""
    folder, draw = tmp_path_factory.mktemp("tasks"), random.Random(0)
    model = load_model(run, "base")
    contexts = [f"{draw.choice(WORDS)} {i} and the {draw.choice(WORDS)} is" for i in range(40)]
    items = {
        "pick": [{"query": c, "choices": draw.sample(WORDS, 4), "gold": draw.randrange(4)} for c in contexts],
        "tie": [{"query": c, "choices": [f"{WORDS[i % 7]} {i}"] * 2, "gold": 0} for i, c in enumerate(contexts)],
        "say": sayings(model, tokenizer, draw, WORDS),
        "roll": [{"text": f"{c} " * 30} for c in contexts[:6]],
        "write": [{"context": c} for c in contexts[:6]],
    }
    (folder / "eval_data").mkdir()
    (folder / "core.yaml").write_text(CORE_YAML)
    (folder / "eval_meta_data.csv").write_text("Eval Task,Random baseline\npick,25\ntie,50\nsay,0\n")
    for name, rows in items.items():
        path = folder / "eval_data" / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = f"dataset_kwargs: {{data_files: {{test: {path}}}, cache_dir: {folder}/cache}}"
        (folder / f"{name}.yaml").write_text(
            f"task: parrotlet_{name}\ndataset_path: json\n{data}\ntest_split: test\n{TASKS[name]}"
        )
    return folder


def asked(model, tasks):
    """What lm-eval's requests were answered, task by task and item by item; and which ties were decided right."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    names = [f"parrotlet_{name}" for name in TASKS]
    found = simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0)
    samples = {name: sorted(found["samples"][name], key=lambda sample: sample["doc_id"]) for name in names}
    found = {name.removeprefix("parrotlet_"): [s["filtered_resps"] for s in some] for name, some in samples.items()}
    return found | {"first of a tie": [s["acc"] for s in samples["parrotlet_tie"]]}


@pytest.fixture(scope="module")
def answers(run, tasks, tokenizer):
    """Of the run, by our adapter, and of its export, by lm-eval's own code for Hugging Face's models."""
    from lm_eval.models.huggingface import HFLM

    from parrotlet.evals.lm_eval_adapter import LmEvalModel

    model = load_model(run, "base")
    export_stage(run, "base", run.folder / "out")
    settings = {"trust_remote_code": not model.config.is_plain, "device": "cpu", "dtype": "float32", "batch_size": 1}
    theirs = HFLM(pretrained=str(run.folder / "out"), **settings)
    return asked(LmEvalModel(model, tokenizer), tasks), asked(theirs, tasks)


def test_the_run_answers_as_its_export(answers):
    ours, theirs = answers
    for name in ("pick", "say"):
        for mine, other in zip(ours[name], theirs[name], strict=True):
            assert [hit for _, hit in mine] == [hit for _, hit in other]
            assert [logprob for logprob, _ in mine] == pytest.approx([logprob for logprob, _ in other], abs=1e-4)
    assert ours["write"] == theirs["write"]
    assert len({text for (text,) in ours["write"]}) > 1
    assert {hit for ((_, hit),) in ours["say"]} == {True, False}


def test_core_decides_as_lm_eval(answers, run, tasks, tokenizer):
    """CORE takes the mean over the tokens of a choice; lm-eval's `acc` the sum: with that rule, item by item."""
    pick, _, say = read_bundle(tasks)[0]
    own = OwnModel(load_model(run, "base"), tokenizer)
    order = list(range(40))
    random.Random(1337).shuffle(order)
    theirs = answers[1]
    length = {word: len(tokenizer.encode(f" {word}")) for word in WORDS}
    expected, sums = [], []
    for i in order:
        logprobs = [logprob for logprob, _ in theirs["pick"][i]]
        means = [x / length[choice] for x, choice in zip(logprobs, pick.items()[i]["choices"], strict=True)]
        expected.append(means.index(max(means)))
        sums.append(logprobs.index(max(logprobs)))
    assert evaluate_core_task(own, pick).decisions == tuple(expected)
    assert expected != sums, "the rule matters"
    assert evaluate_core_task(own, say).decisions == tuple(int(theirs["say"][i][0][1]) for i in order)


def test_of_two_choices_that_are_the_same_the_first_is_taken(answers, run, tasks, tokenizer):
    """By us, and by lm-eval, whoever computes: both have the same log-probability, to the last bit."""
    _, tie, _ = read_bundle(tasks)[0]
    own = OwnModel(load_model(run, "base"), tokenizer)
    assert evaluate_core_task(own, tie).decisions == (0,) * 40
    for each in answers:
        assert each["first of a tie"] == [1.0] * 40
        assert all(first == second for first, second in each["tie"])


def test_rolling_texts_are_longer_than_the_context(answers, run, tasks, tokenizer):
    """Where the export's tokenizer is told to add no `<|bos|>`: lm-eval begins a rolling text with it by itself."""
    from lm_eval.models.huggingface import HFLM

    short_conv = load_model(run, "base").config.short_conv
    settings = {"trust_remote_code": short_conv, "device": "cpu", "dtype": "float32", "batch_size": 1}
    theirs = asked(HFLM(pretrained=str(run.folder / "out"), add_bos_token=False, **settings), tasks)
    assert len(tokenizer.encode(json.loads((tasks / "eval_data" / "roll.jsonl").open().readline())["text"])) > 256
    for (mine,), (other,) in zip(answers[0]["roll"], theirs["roll"], strict=True):
        assert mine == pytest.approx(other, abs=1e-3)


def test_the_command_writes_lm_evals_results(run, tasks, monkeypatch, capsys):
    """lm-eval's own definitions, which take it a while, are read only for a task that the folder does not hold."""
    import lm_eval.tasks

    class Noted(lm_eval.tasks.TaskManager):
        read = 0

        def __init__(self, *, include_defaults=True, **settings):
            Noted.read += include_defaults
            super().__init__(include_defaults=include_defaults, **settings)

    monkeypatch.setattr(lm_eval.tasks, "TaskManager", Noted)
    args = ["eval", "--run", str(run.folder), "--lm-eval", f"{tasks},parrotlet_pick", "--limit", "5"]
    monkeypatch.setattr(sys, "argv", ["parrotlet", *args])
    main()
    assert "parrotlet_pick" in capsys.readouterr().out
    written = json.loads((run.stage_folder("base") / "lm_eval.json").read_text())
    assert written["checkpoint"] == run.identity("base")
    assert written["n-samples"]["parrotlet_pick"]["effective"] == 5
    monkeypatch.setattr(sys, "argv", [*sys.argv[:4], "--lm-eval", f"{tasks},parrotlet_say", "--limit", "5"])
    main()
    beside = json.loads((run.stage_folder("base") / "lm_eval.json").read_text())
    assert beside["results"].keys() == {"parrotlet_pick", "parrotlet_say"}
    assert beside["results"]["parrotlet_pick"] == written["results"]["parrotlet_pick"]
    assert not Noted.read
    monkeypatch.setattr(sys, "argv", ["parrotlet", *args[:4], f"{tasks}, parrotlet_pick", "--limit", "3"])
    main()
    assert "keeps what 5 samples gave" in capsys.readouterr().err
    assert json.loads((run.stage_folder("base") / "lm_eval.json").read_text()) == beside
    monkeypatch.setattr(sys, "argv", ["parrotlet", *args[:4], f"{tasks},"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "name the tasks to ask, too: parrotlet_pick" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["parrotlet", *args[:4], "parrotlet_nothing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert Noted.read == 1


def test_a_prompt_is_not_cut_unseen(run, tokenizer, capsys):
    """Where the answer may take the whole context there is no room for any question."""
    from lm_eval.api.instance import Instance

    from parrotlet.evals.lm_eval_adapter import LmEvalModel

    model = load_model(run, "base")
    context = model.config.sequence_len

    def ask(max_tokens):
        text = "the parrot earns " * context
        arguments = (text, {"until": ["e"], "max_gen_toks": max_tokens})
        request = Instance(request_type="generate_until", doc={}, arguments=arguments, idx=0)
        return LmEvalModel(model, tokenizer).generate_until([request])

    def choice(text):
        return Instance(request_type="loglikelihood", doc={}, arguments=(text, " e"), idx=0)

    assert LmEvalModel(model, tokenizer).loglikelihood([choice("the parrot earns " * context), choice("short")])
    assert "1 of 2 texts are longer" in capsys.readouterr().err
    assert len(ask(context - 1)) == 1
    assert "1 of 1 prompts are longer" in capsys.readouterr().err
    with pytest.raises(UserError, match=f"answers of up to {context} tokens"):
        ask(context)
