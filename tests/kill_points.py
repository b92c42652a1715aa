"""Kill −9 in the middle of what a training does, and prove that nothing is lost.

    python tests/kill_points.py --kills 50

Trains base, mid and sft of a small recipe once whole, then again and again with a kill at a random moment inside one of
the phases below, in turn, each time resumed; at last compares every step of every stage. Exit code 0: all are the same.
"""

from __future__ import annotations

import argparse
import json
import mmap
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from small_run import write_small_run

PHASES = ("loading", "forward", "optimiser", "checkpoint", "evaluation")
STAGES = ("base", "mid", "sft")
STEPS = 60
SIZES = {"documents": 400, "conversations": 320}

SIZE = 8 * (len(PHASES) + 1)
"""Of what a training and its killer share: the phase that runs now, how often any began (mod 256); then, from byte 8
on, how long each phase took the last time, in seconds."""

TRAINER = """
import functools, mmap, os, struct, sys, time

marks = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), SIZE)

def mark(phase):
    marks[1] = (marks[1] + 1) % 256
    marks[0] = phase

def marked(phase, function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        mark(phase)
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            struct.pack_into("d", marks, 8 * phase, time.perf_counter() - began)
            mark(0)
    return wrapper

mark(1)
from parrotlet.cli import main
from parrotlet.optim import Optimizers
from parrotlet.train import loop, pipeline
loop.accumulate_gradients = marked(2, loop.accumulate_gradients)
Optimizers.step = marked(3, Optimizers.step)
loop.save_checkpoint = marked(4, loop.save_checkpoint)
loop.evaluate_loss = marked(5, loop.evaluate_loss)
train = pipeline.train
pipeline.train = lambda training: (mark(0), train(training))
sys.argv[1:2] = []
main()
""".replace("SIZE", str(SIZE))


class Killer:
    """Starts a stage of a run and kills it in a phase."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.recipe = folder / "recipe.toml"
        text = write_small_run(folder, **SIZES).replace("num_iterations = 12", f"num_iterations = {STEPS}")
        self.recipe.write_text(text)
        self.marks_file = folder / "marks"
        self.marks_file.write_bytes(bytes(SIZE))

    def start(self, run: str, stage: str) -> subprocess.Popen[bytes]:
        """A training, which goes on with what is there."""
        command = [sys.executable, "-c", TRAINER, str(self.marks_file), "train", stage]
        command += ["--recipe", str(self.recipe), "--run", str(self.folder / run)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("wb"))

    def train(self, run: str, stage: str) -> None:
        """Train a stage to its end."""
        if self.start(run, stage).wait():
            sys.exit((self.folder / "log").read_text())

    def kill(self, run: str, stage: str, phase: str) -> str | None:
        """Kill a training inside a phase, or just after; returns where it was. None: it came to its end before."""
        process = self.start(run, stage)
        with self.marks_file.open("r+b") as file:
            marks = mmap.mmap(file.fileno(), SIZE)
        marks[:2] = bytes(2)
        number = PHASES.index(phase) + 1
        wait = self.rng.randrange(1 if phase == "loading" else 4)
        while wait >= 0 and process.poll() is None:
            if marks[0] == number:
                wait -= 1
                if wait < 0:
                    lasts = 3.0 if phase == "loading" else struct.unpack_from("d", marks, 8 * number)[0]
                    until = time.perf_counter() + self.rng.random() * lasts * 0.8
                    while time.perf_counter() < until:
                        pass
                    break
                began = marks[1]
                while marks[1] == began and process.poll() is None:
                    pass
            else:
                time.sleep(0.0002)
        if process.poll():
            sys.exit((self.folder / "log").read_text())
        if process.poll() == 0:
            return None
        process.kill()
        process.wait()
        return ("between", *PHASES)[marks[0]]

    def compare(self, stage: str) -> None:
        """Raise unless the killed run's steps are those of the whole one."""
        whole, killed = self.series("whole", stage), self.series("killed", stage)
        assert whole == killed, f"{stage}: the series differ"
        print(f"{stage}: {len(whole)} steps, all the same", flush=True)

    def series(self, run: str, stage: str) -> list[tuple[object, ...]]:
        """What has to be the same."""
        lines = (self.folder / run / stage / "metrics.jsonl").read_text().splitlines()
        return [tuple(json.loads(line)[name] for name in ("step", "loss", "grad_norm", "batch_hash")) for line in lines]


def kill_and_compare(folder: Path, kills: int, seed: int) -> Counter[tuple[str, str]]:
    """Kill so often, over all stages and phases in turn; returns how often it was in which. Raises if steps differ."""
    killer, inside = Killer(folder, seed), Counter()
    for number, stage in enumerate(STAGES):
        killer.train("whole", stage)
        for kill in range(number, kills, len(STAGES)):
            phase = PHASES[(kill // len(STAGES) + number) % len(PHASES)]
            while (was := killer.kill("killed", stage, phase)) is None:  # at its end: once more from its beginning
                killer.compare(stage)
                shutil.rmtree(folder / "killed" / stage)
            inside[stage, was] += 1
            print(f"kill {sum(inside.values())}: {stage}, {was}", flush=True)
        killer.train("killed", stage)
        killer.compare(stage)
    return inside


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parrotlet-kills-") as folder:
        inside = kill_and_compare(Path(folder), arguments.kills, arguments.seed)
    for phase in ("between", *PHASES):
        print(f"{phase:<12}" + "".join(f"{stage} {inside[stage, phase]:>3}   " for stage in STAGES))
    print(f"{sum(inside.values())} kills, all resumed with the same batches and losses, bit by bit")


if __name__ == "__main__":
    main()
