"""Several ranks: real processes under torchrun, on the CPU."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from parrotlet import ranks
from parrotlet.cli import main
from parrotlet.dtypes import multiplies_bfloat16
from parrotlet.optim import OptimSettings
from parrotlet.optim.sharded_muon import choose_owners, rows_of
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, score_stage, train_stage, train_tokenizer
from parrotlet.train.checkpoint import checkpoint_folder, list_checkpoints, load_checkpoint
from parrotlet.train.estimate import memory
from rank_jobs import CONFIG, pass_at_k
from small_bundle import write_small_bundle
from small_run import write_small_run

JOBS = Path(__file__).parents[1] / "rank_jobs.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""See docs/distributed.md."""
EVALUATION = """
[eval]
max_tokens = 8
tasks = [
    { task = "identity", split = "test", stop = 5 },
    { task = "mmlu", name = "multiple-choice", dataset = "parrotlet/multiple-choice", split = "test", stop = 7 },
]
"""


CORE = """core_every = 8
core_limit = 7
"""
TASKS = """tasks_every = 10
tasks_limit = 7
tasks = [{ task = "mmlu", name = "multiple-choice", dataset = "parrotlet/multiple-choice", split = "validation" }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    text = write_small_run(folder).replace("tokens_per_step = 256", "tokens_per_step = 384")
    (folder / "recipe.toml").write_text(text + EVALUATION)
    bundle = write_small_bundle(folder / "eval_bundle")
    with zipfile.ZipFile(folder / "bundle.zip", "w") as file:
        for path in filter(Path.is_file, bundle.rglob("*")):
            file.write(path, path.relative_to(folder))
    measured = text.replace("[data]", f'[data]\ncore = "{bundle}"').replace("[base]", "[base]\n" + CORE)
    (folder / "measured.toml").write_text(measured.replace("[sft]", "[sft]\n" + TASKS) + EVALUATION)
    return folder


@pytest.fixture(scope="module")
def done(folder):
    """The folder, once two and four ranks have done their jobs in it."""
    found = subprocess.run(
        [sys.executable, str(JOBS), "all", str(folder)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


def test_without_torchrun_there_is_one_rank():
    with ranks.process_group():
        assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (0, 1, True)
        assert ranks.own([1, 2, 3]) == [1, 2, 3]
        assert ranks.gather("a") == ["a"]
        assert ranks.gather_shares([1, 2]) == [1, 2]
        assert ranks.exchange("key", "value") == ["value"]
        assert ranks.first_to("speak")
        assert ranks.first_to("speak")


@pytest.mark.parametrize("world", [1, 2, 3, 8, 1000])
def test_every_matrix_has_an_owner_and_the_work_is_shared(world):
    shapes = [torch.Size(s) for s in [(64, 64)] * 12 + [(16, 64)] * 6 + [(256, 64), (64, 256)] * 6]
    owners = choose_owners(shapes, world)
    costs = [shape.numel() * min(shape) for shape in shapes]
    load = [sum(c for c, owner in zip(costs, owners, strict=True) if owner == rank) for rank in range(world)]
    assert max(load) <= sum(costs) / world + max(costs)
    for rows in (1, 5, 64):
        held = [row for rank in range(world) for row in rows_of(torch.Size((rows, 3)), rank, world)]
        assert held == list(range(rows))


@pytest.mark.slow
def test_the_first_rank_of_each_machine_goes_before_its_others(done):
    first, second, *others = (done / "turns.txt").read_text().split()
    assert (first, second, set(others)) == ("0", "2", {"1", "3"})


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_a_step_is_that_of_one_rank(done, world):
    """Up to rounding. Of parts of matrices, where Muon iterates in float32, how many are multiplied together shows in
    their last bits, and so here and there in the bfloat16 number that an update is rounded to."""
    flips = 0 if multiplies_bfloat16("cpu") else OptimSettings().matrix_lr * 2**-8
    for name, found in json.loads((done / f"one_step-{world}.json").read_text()).items():
        planned = memory(CONFIG, 1, world).state
        assert found.pop("bytes") == pytest.approx(planned, rel=0.1), name
        assert found.pop("update") < 1e-6 + (flips if name == "in blocks" else 0), name
        assert max(found.values()) < 1e-6, (name, found)


def series(run, stage, name):
    return [line[name] for line in run.metrics(stage).read()]


def one_rank(path, recipe):
    run = Run.begin(path, recipe)
    train_tokenizer(run)
    for stage in STAGES:
        train_stage(run, stage)
    return run


def training_losses(run, stage):
    return series(run, stage, "loss")


def validation_losses(run, stage):
    return [line["val_loss"] for line in run.validation(stage).read()]


def furthest(runs, one, stage, losses):
    """The largest difference between the losses of one run and those of others."""
    return max(abs(a - b) for run in runs for a, b in zip(losses(run, stage), losses(one, stage), strict=True))


@pytest.mark.slow
def test_one_rank_gives_the_scores_of_two(done):
    run = Run.open(done / "run-2")
    for stage in STAGES:
        of_two, answers = run.read_results()["stages"][stage], run.answers(stage)
        asked = {name: task["n"] for name, task in of_two["tasks"].items()}
        assert asked == {"identity": 5, "multiple-choice": 7}
        of_one = score_stage(run, stage)
        assert of_one["tasks"] == of_two["tasks"]
        assert run.answers(stage) == answers
        assert of_one["val_loss"] == pytest.approx(of_two["val_loss"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")  # torch's reader, in one process
def test_all_stages_on_two_ranks_then_on_one(done):
    """The same batches; losses as near as those of one rank that adds in another order; resumed by one rank alone."""
    two, recipe = Run.open(done / "run-2"), str(done / "measured.toml")
    one = one_rank(done / "run-1", Recipe.load(recipe))
    reordered = [  # more than one: rounding alone decides whether, and when, two orders part in Muon's bfloat16
        one_rank(
            done / f"reordered-{rows}", Recipe.load(recipe, {f"{stage}.device_batch_size": rows for stage in STAGES})
        )
        for rows in (1, 3)
    ]
    for stage in STAGES:
        for name in ("step", "batch_hash", "tokens", "supervised", "first_row", "sources", "lr_mult"):
            assert series(two, stage, name) == series(one, stage, name), (stage, name)
        for losses in (training_losses, validation_losses):
            apart = furthest(reordered, one, stage, losses)
            assert furthest([two], one, stage, losses) <= 3 * max(apart, 1e-6), (stage, losses)
        for line, same in zip(two.validation(stage).read(), one.validation(stage).read(), strict=True):
            of_both = line.keys() - {"val_loss", "val_bpb"}
            assert {name: line[name] for name in of_both} == {name: same.get(name) for name in of_both}
        assert two.load(stage).model.keys() == one.load(stage).model.keys()

    steps = list_checkpoints(two.stage_folder("base"))
    parts, last = (checkpoint_folder(two.stage_folder("base"), step) for step in (steps[-2], steps[-1]))
    assert len(list(parts.glob("*-of-00002.safetensors"))) == 4
    assert {p.name for p in last.glob("*.safetensors")} == {"model.safetensors", "optimizer.safetensors"}
    of_parts = load_checkpoint(parts).model
    read = {name: torch.empty_like(tensor) for name, tensor in of_parts.items()}
    dcp.load(read, storage_reader=dcp.HuggingFaceStorageReader(str(parts)), no_dist=True)
    for name, tensor in of_parts.items():
        assert torch.equal(read[name], tensor), name

    before = series(two, "base", "loss"), series(two, "base", "batch_hash")
    shutil.rmtree(last)
    train_stage(two, "base")
    assert series(two, "base", "batch_hash") == before[1]
    apart = furthest(reordered, one, "base", training_losses)
    assert series(two, "base", "loss") == pytest.approx(before[0], abs=3 * max(apart, 1e-6))


@pytest.mark.slow
def test_what_is_measured_on_the_way_is_shared(done):
    """CORE and tasks, when they are due: in `test_all_stages_…` they are those of one rank."""
    run = Run.open(done / "run-2")
    for stage, name, due in (("base", "core of 1 tasks", [8, 12]), ("sft", "multiple-choice", [0, 10, 15])):
        assert [line["step"] for line in run.validation(stage).read() if name in line] == due


@pytest.mark.slow
def test_pass_at_k_of_two_ranks_is_that_of_one(done, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, pass_at_k(done))])
    main()
    told = capsys.readouterr().out
    assert "pass@3" in told
    assert (done / "pass_at_k.txt").read_text() == told


@pytest.mark.slow
def test_the_published_bundle_is_fetched_by_one_rank(done):
    assert (done / "fetched").read_text() == "eval_bundle.zip\n"
    assert list(json.loads((done / "run-2" / "mid" / "core.json").read_text())["tasks"]) == ["a"]


@pytest.mark.slow
def test_commands_on_several_ranks_answer_once(done, tmp_path):
    """An evaluation that the ranks share: one table, the decisions of one rank, what is missing told once."""
    write_small_bundle(tmp_path / "bundle")
    decisions = []
    for world in (1, 2):
        asked = ["eval", "--run", done / "run-2", "--stage", "base", "--core", tmp_path / "bundle"]
        told = torchrun(world, "none", *asked)
        assert told.stdout.count("stage base") == told.stdout.count("95 % interval") == 1
        assert told.stderr.count("is missing") == 1
        written = json.loads((done / "run-2" / "base" / "core.json").read_text())
        decisions.append({name: task["decisions"] for name, task in written["tasks"].items()})
    assert decisions[0] == decisions[1]


INTACT = "The last checkpoint is intact"
MESSAGES = {
    "dies": ["rank 1 is gone or stopped", "rank 0 waits at base step 5, computing", INTACT],
    "0 dies": ["rank 0 ", " gone", "rank 1 waits at base step 5, computing", INTACT],
    "stops": ["rank 1 is gone or stopped", "rank 0 waits at base step 5, computing", INTACT],
    "hangs": ["rank 1 stands still at base step 5, reading its rows", INTACT],
    "nan": ["rank 1, base step 5: the loss is nan", INTACT],
    "full": ["step_000008: the checkpoint could not be saved (rank 1: ", "large", "The one of step 4 is intact"],
    "0 full": ["step_000008: the checkpoint could not be saved (rank 0: ", "large", "The one of step 4 is intact"],
}


@pytest.fixture(scope="module")
def failed(folder):
    """The folder, once a job has failed in it by each fault; nothing still runs."""
    found = subprocess.run(
        [sys.executable, str(JOBS), "faults", str(folder)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert not left_over(str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("fault", MESSAGES)
def test_a_rank_in_trouble_ends_the_job_with_one_message(failed, fault):
    said = [line for line in (failed / f"{fault}.log").read_text().splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    for part in MESSAGES[fault]:
        assert part in said[0]
    assert [path.name for path in (failed / fault / "base" / "checkpoints").iterdir()] == ["step_000004"]


@pytest.mark.slow
def test_a_launcher_that_is_told_to_end_saves_first(failed):
    """All ranks agree on the step, though the signal may reach them in different ones."""
    log = (failed / "0 preempted.log").read_text()
    assert "saved; go on with" in log
    assert "error: " not in log
    run = Run.open(failed / "0 preempted")
    assert list_checkpoints(run.folder / "base") == [4, 6]
    assert series(run, "base", "step") == list(range(6))


def left_over(name):
    """Processes that still run with `name` on their command line."""
    commands = (path for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.name != str(os.getpid()))
    return [path for path in commands if name in path.read_text(errors="replace")]


@pytest.mark.slow
def test_torchrun_restarts_and_goes_on(folder, tmp_path):
    train = ["train", "base", "--recipe", folder / "recipe.toml", "--run", tmp_path / "run"]
    told = torchrun(2, "dies", *train, options=["--max-restarts=1"])
    assert "going on at step 4 of 12" in told.stderr
    assert series(Run.open(tmp_path / "run"), "base", "step") == list(range(12))


def torchrun(world, fault, *arguments, options=()):
    """A command on so many ranks, with the program that starts them, to its good end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", *options]
    command += ["--", str(JOBS), "command", fault, *map(str, arguments)]
    told = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert told.returncode == 0, told.stderr[-3000:]
    return told
