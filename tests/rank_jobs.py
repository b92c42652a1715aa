"""What the tests of several ranks run.

rank_jobs.py all|faults FOLDER; torchrun … rank_jobs.py command FAULT ARGUMENTS OF PARROTLET …
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from parrotlet import ranks
from parrotlet.cli import main
from parrotlet.data import Batch
from parrotlet.evals import core_bundle
from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings, clip_gradients
from parrotlet.optim.groups import _like
from parrotlet.optim.muon import local
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, loop, train_stage, train_tokenizer, watch
from parrotlet.train.parallel import parallelize, whole

CONFIG = ModelConfig(
    depth=2, vocab_size=401, sequence_len=32, width=36, heads=2, kv_heads=1, short_conv=True, ngrams=37
)
"""Nothing in it divides by 4, and of some matrices a rank has no row."""
STEPS = 3
FAULT_STEP = 5
FAULTS = ("dies", "0 dies", "stops", "hangs", "nan", "full", "0 full", "0 preempted")
SMALL_DISK = 16_384
"""Bytes: enough for the metrics, not for a rank's part of the weights."""


def perturbed_model(dtype=torch.float32):
    """Away from the zeros that a model begins with."""
    model = GPT.build(CONFIG, seed=3, dtype=dtype)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model


def random_batch(rows=7):
    """Rows that don't divide, one of them with nothing supervised."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, CONFIG.vocab_size, (rows, 32), generator=generator)
    targets = torch.where(torch.rand((rows, 32), generator=generator) < 0.4, ids.roll(-1, 1), -1)
    targets[1] = -1
    positions = torch.arange(32).expand(rows, 32) % 11
    segments = torch.arange(32).div(11, rounding_mode="floor").repeat(rows, 1)
    return Batch(ids, targets, positions, segments, sources=((),) * rows, attends="segment")


def worst(pairs):
    """The largest difference, as a share of the largest number of its tensor."""
    return max(float((a.detach() - b.detach()).abs().max() / b.detach().abs().max()) for a, b in pairs)


def one_step(folder):
    """Gradients, norm and updates of sharded models against those of a model that is not."""
    reference = perturbed_model()
    loss = loop.accumulate_gradients(reference, random_batch(), 2)
    gradients = [parameter.grad.clone() for parameter in reference.parameters()]
    measured = {}
    with ranks.process_group():
        variants = {"plain": ({}, 0), "recomputed": ({"recompute": True}, 0), "in blocks": ({}, 6)}
        variants["compiled"] = ({"compile_rows": 2}, 0)
        for name, (options, block) in variants.items():
            reference = perturbed_model()
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter.grad = gradient.clone()
            model = parallelize(perturbed_model(), torch.device("cpu"), **options)
            measured[name] = compared(model, reference, loss, block)
        if ranks.is_first():
            (folder / f"one_step-{ranks.world_size()}.json").write_text(json.dumps(measured))


def compared(model, reference, loss, block):
    """How far a sharded model, its gradients and its optimisers are from the reference, which has its gradients."""
    losses = ranks.gather(loop.accumulate_gradients(model, random_batch(), 2))
    pairs = list(zip(model.parameters(), reference.parameters(), strict=True))
    found = {"loss": abs(sum(losses) / loss - 1), "gradients": worst((whole(a.grad), b.grad) for a, b in pairs)}
    found["norm"] = abs(clip_gradients(model, 0.1) / clip_gradients(reference, 0.1) - 1)
    found["clipped"] = worst((whole(a.grad), b.grad) for a, b in pairs)
    for of_all, own in pairs:
        of_all.grad = _like(of_all, own.grad)  # the same to the last bit, as Muon iterates in bfloat16
    both = [Optimizers(m, OptimSettings(weight_decay=0.1, matrix_block=block)) for m in (model, reference)]
    for step in range(STEPS):
        for optimizers in both:
            optimizers.step(step, 1.0)
    found["update"] = worst((whole(a), b) for a, b in pairs)
    state = both[0].state_dict()
    found["state"] = worst((whole(state[k]), v) for k, v in both[1].state_dict().items() if v.ndim)
    held = [*model.parameters(), *(p.grad for p in model.parameters()), *state.values()]
    return found | {"bytes": 4 * sum(local(tensor).numel() for tensor in held)}


def turns(folder):
    """The order in which the ranks of two machines go through a block; rank 2, the first of the second, is slow."""
    with ranks.process_group():
        os.environ["LOCAL_RANK"] = str(ranks.rank() % 2)
        with ranks.first_rank_first():
            time.sleep(0.5 * (ranks.rank() == 2))
            with (folder / "turns.txt").open("a") as file:
                file.write(f"{ranks.rank()} ")


def faulty(fault):
    """Let a rank meet with something at `FAULT_STEP`: rank 0 if the fault begins with 0, else rank 1."""
    unlucky = 0 if fault.startswith("0") else 1
    compute, prefetch, calls = loop.accumulate_gradients, loop.prefetch, []

    def accumulate_gradients(*args):
        calls.append(args)
        met = len(calls) == FAULT_STEP + 1 and ranks.rank() == unlucky
        if met and fault != "nan":
            happens[fault.removeprefix("0 ")]()
        return compute(*args) * (float("nan") if met and fault == "nan" else 1)

    def slow_prefetch(items):
        for number, item in enumerate(prefetch(items)):
            if number == FAULT_STEP and ranks.rank() == unlucky:
                time.sleep(1000)
            yield item

    if fault == "hangs":
        loop.prefetch = slow_prefetch
    elif fault != "none":
        loop.accumulate_gradients = accumulate_gradients


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    """Stand still, and be killed after a while, as by torchrun, which takes 30 s."""
    subprocess.Popen(["sh", "-c", f"sleep 12; kill -9 {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)


def preempt():
    """End the launcher; it has a second to say so to its ranks before they go on."""
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(1)


def fill_disk():
    """Let this process write no large file any more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_DISK, SMALL_DISK))


happens = {"dies": die, "stops": stop, "full": fill_disk, "preempted": preempt}


def command(fault, *arguments):
    """The command line, with something wrong on a rank the first time that torchrun starts it."""
    faulty(fault if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0" else "none")
    watch.SILENT_SECONDS = 2.0
    sys.argv = ["parrotlet", *map(str, arguments)]
    main()


def launch(fault, folder):
    """What torchrun does until the job fails, with ranks that are forked: torch need not be imported again."""
    log = os.open(folder / f"{fault}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    config = LaunchConfig(
        1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, start_method="fork"
    )
    train = ("train", "base", "--recipe", folder / "recipe.toml", "--run", folder / fault, "--timeout", 3)
    try:
        elastic_launch(config, command)(fault, *train)
    except (ChildFailedError, SignalException):
        return
    raise AssertionError(f"{fault}: the job came to its end")


def kept(name, folder, *arguments):
    """A command whose output goes to a file."""
    log = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    command("none", *arguments)


def published(folder, *arguments):
    """A command that finds no bundle of CORE in the cache; how often it is fetched stands in a file."""

    def fetch(file):
        with (folder / "fetched").open("a") as fetched:
            fetched.write(f"{file.name}\n")
        time.sleep(0.5)
        return folder / "bundle.zip"

    os.environ["PARROTLET_CACHE"] = str(folder / "cache")
    core_bundle.fetch_pinned = fetch
    command("none", *arguments)


def train(folder, name, overrides=None, stages=tuple(STAGES)):
    """Train these stages of the recipe in `folder`, as run `name` there."""
    with ranks.process_group():
        run = Run.begin(folder / name, Recipe.load(str(folder / "recipe.toml"), overrides))
        train_tokenizer(run)
        for stage in stages:
            train_stage(run, stage)


def forked(world, job, *arguments):
    """Do a job on so many ranks, started from this process: torch need not be imported again. Raises if one fails."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = found.getsockname()[1]
    children = []
    for rank in range(world):
        if not (child := os.fork()):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
            os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "localhost"}
            run_child(job, arguments)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), codes


def run_child(job, arguments):
    try:
        job(*arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def pass_at_k(folder):
    """The arguments of the command."""
    of = ("--stage", "sft", "--tasks", "identity", "--limit", 5)
    return ("eval", "--run", folder / "run-2", *of, "--samples", 3, "--temperature", 1.5)


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "command":
        command(*sys.argv[2:])
    elif what == "faults":
        for fault in FAULTS:
            forked(1, launch, fault, folder)
    else:
        forked(2, one_step, folder)
        forked(4, one_step, folder)
        forked(4, turns, folder)
        arguments = ("run", "--no-audit", "--recipe", folder / "measured.toml", "--run", folder / "run-2")
        forked(2, command, "none", *arguments)
        forked(2, kept, "pass_at_k.txt", folder, *pass_at_k(folder))
        forked(2, published, folder, "eval", "--run", folder / "run-2", "--stage", "mid", "--core", "published")
