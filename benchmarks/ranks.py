"""Several ranks, measured: the same training, saving beside it, and kills in the middle of a save.

    python benchmarks/ranks.py stages --steps 50     # 1, 2 and 4 ranks, and one that adds in other orders
    python benchmarks/ranks.py save --depth 8        # how much a save delays the steps beside it
    python benchmarks/ranks.py kills --kills 20      # kill −9 while a checkpoint is written: is the one before intact?

All run on the CPU, with gloo, in float32. benchmarks/nodes.py has several machines.
"""

import argparse
import random
import shutil
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
from parrotlet.stages import STAGES
from parrotlet.train.checkpoint import (
    Checkpoint,
    checkpoint_folder,
    list_checkpoints,
    save_checkpoint,
    verify_checkpoint,
)
from parrotlet.train.metrics import MetricsFile
from parrotlet.train.parallel import own_parts
from parrotlet.train.saver import Saver
from rank_jobs import forked, train
from small_run import write_small_run


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


def stages(steps: int) -> None:
    """All stages on 1, 2 and 4 ranks; on one that adds in other orders; stopped on 2 and gone on with on 4 and on 1."""
    recipe = RECIPE | {"base.num_iterations": steps}
    micro_batches = {"rows one by one": 1, "three at a time": 3, "six at a time": 6}
    with tempfile.TemporaryDirectory(prefix="parrotlet-stages-") as name:
        folder = Path(name)
        conversations = round(1.1 * steps * recipe["sft.conversations_per_step"])  # some are held out
        (folder / "recipe.toml").write_text(write_small_run(folder, documents=1200, conversations=conversations))
        for world in (1, 2, 4):
            forked(world, train, folder, f"{world} rank{'s' * (world > 1)}", recipe)
        for order, rows in micro_batches.items():
            forked(1, train, folder, order, recipe | {f"{stage}.device_batch_size": rows for stage in STAGES})
        for stage in STAGES:
            for world in (4, 1):
                stop_on_two(folder, stage, after := f"2, then {world}")
                forked(world, train, folder, after, recipe, [stage])
            whole = MetricsFile(folder / "1 rank" / stage / "metrics.jsonl").read()
            print(f"{stage}, {len(whole)} steps; every batch is the same; losses differ from one rank's by at most")
            for run in (*micro_batches, "2 ranks", "4 ranks", "2, then 4", "2, then 1"):
                lines = MetricsFile(folder / run / stage / "metrics.jsonl").read()
                print(f"    {furthest(whole, lines):.1e}  {run}", flush=True)


RECIPE = {"model.depth": 2, "model.width": 64, "base.tokens_per_step": 384, "mid.tokens_per_step": 384}
RECIPE |= {"sft.conversations_per_step": 12}
RECIPE |= {f"{stage}.{key}": value for stage in STAGES for key, value in (("save_every", 20), ("keep_checkpoints", 0))}
"""Six rows of 64 tokens in a step: they don't divide by four ranks."""


def stop_on_two(folder: Path, stage: str, name: str) -> None:
    """A copy of the run of two ranks, as it was when this stage had its first checkpoint."""
    shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "2 ranks", folder / name)
    checkpoints = folder / name / stage
    for step in list_checkpoints(checkpoints)[1:]:
        shutil.rmtree(checkpoint_folder(checkpoints, step))


def furthest(whole: list[dict], lines: list[dict]) -> float:
    """The largest difference of two losses; the batches have to be the same."""
    for same in ("step", "batch_hash", "tokens", "supervised", "first_row", "sources"):
        assert [line[same] for line in whole] == [line[same] for line in lines], same
    return max(abs(a["loss"] - b["loss"]) for a, b in zip(whole, lines, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["stages", "save", "kills"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"stages": lambda: stages(args.steps), "save": lambda: save(args.depth), "kills": lambda: kills(args.kills)}[
        args.what
    ]()


if __name__ == "__main__":
    main()
