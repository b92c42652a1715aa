"""Several ranks, measured: saving beside the training, and kills in the middle of it.

    python benchmarks/ranks.py save --depth 8        # how much a save delays the steps beside it
    python benchmarks/ranks.py kills --kills 20      # kill −9 while a checkpoint is written: is the one before intact?
    python benchmarks/ranks.py nodes                 # two launchers; one is killed, started again, and at last left out

All run on the CPU, with gloo.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings
from parrotlet.train.checkpoint import (
    Checkpoint,
    checkpoint_folder,
    list_checkpoints,
    save_checkpoint,
    verify_checkpoint,
)
from parrotlet.train.parallel import own_parts
from parrotlet.train.saver import Saver
from small_run import write_small_run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def save(depth: int, saves: int = 3, steps: int = 6) -> None:
    """Steps alone and steps with a save going on, in turns; one thread computes."""
    torch.set_num_threads(1)
    config = ModelConfig.from_depth(depth, vocab_size=8192, sequence_len=256)
    model = GPT.build(config, seed=0)
    optimizers, ids = Optimizers(model, OptimSettings()), torch.randint(config.vocab_size, (1, 256))

    def one_step() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.thread_time()
        (model.loss_sum(ids, ids.roll(-1, 1)) / 256).backward()
        optimizers.step(0, 0.01)
        optimizers.zero_grad()
        return time.perf_counter() - wall, time.thread_time() - cpu

    alone, beside, copying, lasted = [], [], [], []
    one_step()
    with tempfile.TemporaryDirectory(prefix="parrotlet-save-") as folder, Saver() as saver:
        for number in range(saves):
            alone += [one_step() for _ in range(steps)]
            began = time.perf_counter()
            parts = [own_parts(tensors)[0] for tensors in (model.state_dict(), optimizers.state_dict())]
            checkpoint = Checkpoint(model=parts[0], optimizer=parts[1], state={}, recipe="")
            saver.start(lambda n=number, c=checkpoint: save_checkpoint(Path(folder), n, c))
            copying.append(time.perf_counter() - began)
            while saver.busy:
                beside.append(one_step())
            lasted.append(time.perf_counter() - began)
            shutil.rmtree(checkpoint_folder(Path(folder), number))
    print(
        f"depth {depth}: {config.num_parameters / 1e6:.0f} M parameters; copying {statistics.median(copying):.2f} s, ",
        end="",
    )
    print(f"writing beside the steps {statistics.median(lasted):.1f} s")
    for kind, name in enumerate(("wall", "the computing thread's CPU")):
        a, b = (statistics.median(step[kind] for step in found) for found in (alone, beside))
        print(
            f"a step, {name} seconds: alone {a:.3f} ({len(alone)}), beside a save {b:.3f} ({len(beside)}): ×{b / a:.3f}"
        )


def kills(count: int) -> None:
    """Save a checkpoint again and again in another process, and kill it at a random moment."""
    code = (
        "import sys, torch; from pathlib import Path; from parrotlet.train.checkpoint import *\n"
        "tensors = {f'{n}': torch.randn(512, 512) for n in range(24)}\n"
        "for step in range(int(sys.argv[2]), 10**6):\n"
        "    saved = Checkpoint(model=tensors, optimizer=tensors, state={}, recipe='')\n"
        "    save_checkpoint(Path(sys.argv[1]), step, saved)\n"
        "    print(step, flush=True)\n"
    )
    rng, torn, cut = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory(prefix="parrotlet-kills-") as name:
        folder = Path(name)
        for _ in range(count):
            first = max(list_checkpoints(folder), default=-1) + 1
            process = subprocess.Popen(
                [sys.executable, "-c", code, name, str(first)], stdout=subprocess.PIPE, text=True
            )
            began = time.perf_counter()
            said = [int(process.stdout.readline()), int(process.stdout.readline())]
            took = time.perf_counter() - began
            time.sleep(rng.random() * min(took, 1.0))
            process.kill()
            process.wait()
            cut += bool(list((folder / "checkpoints").glob("*.aside")))
            for step in list_checkpoints(folder):
                try:
                    verify_checkpoint(checkpoint_folder(folder, step))
                except UserError as error:
                    torn += 1
                    print(error)
            assert said[1] in list_checkpoints(folder), "a checkpoint that was told of is not there"
            for path in (folder / "checkpoints").glob("*.aside"):
                shutil.rmtree(path)
            for step in list_checkpoints(folder)[:-1]:
                shutil.rmtree(checkpoint_folder(folder, step))
    print(f"killed {count} times, {cut} of them while files were being written: {count - torn} of {count} intact")


def nodes(steps: int = 60) -> None:
    """Two launchers on loopback, as two machines: one is killed with its ranks, another takes its place."""
    with tempfile.TemporaryDirectory(prefix="parrotlet-nodes-") as name:
        folder = Path(name)
        text = write_small_run(folder, documents=400).replace("num_iterations = 12", f"num_iterations = {steps}")
        (folder / "recipe.toml").write_text(text)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PARROTLET_CACHE": str(folder / "cache")}
        train = ["-m", "--", "parrotlet", "train", "base", "--recipe", str(folder / "recipe.toml"), "--run"]

        def launch(run: str, port: int, nnodes: str) -> subprocess.Popen[bytes]:
            options = [f"--nnodes={nnodes}", "--nproc-per-node=1", "--rdzv-backend=c10d", "--max-restarts=5"]
            options += [f"--rdzv-endpoint=localhost:{port}", f"--rdzv-id={run}"]
            log = (folder / "log").open("ab")
            return subprocess.Popen(
                [*TORCHRUN, *options, *train, str(folder / run)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def lines(run: str) -> list[dict]:
            path = folder / run / "base" / "metrics.jsonl"
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

        def wait_for(run: str, count: int) -> None:
            while len(lines(run)) < count:
                time.sleep(0.02)

        whole = [launch("whole", free_port(), "2") for _ in range(2)]
        assert [process.wait() for process in whole] == [0, 0], (folder / "log").read_text()[-3000:]
        port = free_port()
        first, second = launch("killed", port, "2"), launch("killed", port, "2")
        wait_for("killed", steps // 3)
        kill_with_ranks(second)
        print(f"one of two launchers killed with its rank after {len(lines('killed'))} steps", flush=True)
        second = launch("killed", port, "2")
        wait_for("killed", steps // 2)
        for process in (first, second):
            kill_with_ranks(process)
        print(f"both killed after {len(lines('killed'))} steps; going on with one rank on one machine", flush=True)
        assert launch("killed", free_port(), "1").wait() == 0, (folder / "log").read_text()[-3000:]
        compare(lines("whole"), lines("killed"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def kill_with_ranks(launcher: subprocess.Popen[bytes]) -> None:
    """As when the power fails: nothing of it gets to say a word. Its ranks are in sessions of their own."""
    ranks = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/stat") if parent_of(p) == launcher.pid]
    for pid in (launcher.pid, *ranks):
        os.kill(pid, signal.SIGKILL)
    launcher.wait()


def parent_of(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def compare(whole: list[dict], killed: list[dict]) -> None:
    assert [line["batch_hash"] for line in whole] == [line["batch_hash"] for line in killed]
    worst = max(abs(a["loss"] - b["loss"]) for a, b in zip(whole, killed, strict=True))
    print(f"{len(whole)} steps: every batch is the same; the losses differ by {worst:.2g} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["save", "kills", "nodes"])
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    {"save": lambda: save(args.depth), "kills": lambda: kills(args.kills), "nodes": nodes}[args.what]()


if __name__ == "__main__":
    main()
