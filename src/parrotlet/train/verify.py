"""Proves that a killed and resumed training is the same as one that was never interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_text
from ..recipe import Recipe, StageSettings
from ..stages import STAGES, Stage, StageName
from .checkpoint import list_checkpoints
from .machine import resolve_machine
from .metrics import MetricsFile
from .micro_batch import resolve_micro_batches

COMPARED = ("step", "loss", "grad_norm", "batch_hash")
"""What has to be the same in every step."""
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Verdict:
    """What came of a stage."""

    stage: StageName
    steps: int
    killed_at: tuple[int, ...]
    """How many steps were in the metrics when the process was killed."""
    first_difference: int | None
    """The first step that is not the same; None: all are."""

    def __str__(self) -> str:
        after = " and ".join(map(str, self.killed_at))
        how = f"killed after {after} steps and resumed" if self.killed_at else "not killed, in another process"
        if self.first_difference is None:
            return f"{self.stage}: {self.steps} steps, {how}: every batch and every loss is the same"
        return f"{self.stage}: {self.steps} steps, {how}: step {self.first_difference} is NOT the same"


def verify_resume(
    recipe: Recipe,
    folder: Path,
    *,
    steps: int,
    kills: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[Verdict]:
    """Train the first `steps` of every stage twice, in `folder`: once whole, once killed (-9) `kills` times in all.

    Raises `UserError` if a training fails by itself.
    """
    decided = resolve_micro_batches(replace(recipe, machine=resolve_machine(recipe.machine)))  # the same for both
    write_text(folder / "recipe.toml", shortened(decided, steps).to_toml())
    rng = random.Random(seed)
    verdicts = []
    for number, (name, stage) in enumerate(STAGES.items()):
        own_kills = len(range(number, kills, len(STAGES)))
        say(f"{name}: training {steps} steps")
        whole = _Trained(folder, "whole", stage, steps)
        whole.train()
        killed = _Trained(folder, "killed", stage, steps)
        killed_at = []
        before_the_last = range(len(whole.lines()) - 1)
        for lines in sorted(rng.sample(before_the_last, min(own_kills, len(before_the_last)))):
            say(f"{name}: training again, killed after {lines} steps")
            killed_at += killed.kill(lines, rng.random() * whole.seconds_a_step)
        killed.train()
        verdicts.append(
            Verdict(name, len(whole.lines()), tuple(killed_at), first_difference(whole.lines(), killed.lines()))
        )
    return verdicts


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with checkpoints and measurements so often that some come within `steps`; a measurement is short."""
    often = max(2, steps // 4)
    keep = {"save_every": often, "eval_every": often + 1, "sample_every": 0, "core_every": 0, "keep_checkpoints": 0}

    def short(settings: StageSettings) -> StageSettings:
        tokens = min(settings.eval_tokens, settings.micro_rows * recipe.model.sequence_len)
        return replace(settings, eval_tokens=tokens, tasks=(), **keep)

    base = replace(short(recipe.base), num_iterations=steps)
    return replace(recipe, base=base, mid=short(recipe.mid), sft=short(recipe.sft))


class _Trained:
    """One stage of one of the two runs, trained by processes of their own."""

    def __init__(self, folder: Path, run: str, stage: Stage, steps: int) -> None:
        self.run, self.stage, self.steps = folder / run, stage, steps
        self.run.mkdir(exist_ok=True)
        self.metrics = MetricsFile(self.run / stage.name / "metrics.jsonl")
        self.command = [sys.executable, "-m", "parrotlet", "train", stage.name, "--run", str(self.run)]
        self.command += ["--recipe", str(folder / "recipe.toml"), *self._start(folder)]
        self.log = self.run.with_name(f"{run}-{stage.name}.log")

    def _start(self, folder: Path) -> list[str]:
        """Both runs begin a stage from the same step of the one before, though that was not trained to its end."""
        if not self.stage.starts_from:
            return []
        before = self.stage.starts_from[0]
        saved = [set(list_checkpoints(folder / run / before)) for run in ("whole", "killed")]
        return ["--from", f"{before}@{max(saved[0] & saved[1] or saved[0])}"]

    def lines(self) -> list[dict[str, Any]]:
        """What the metrics say of the first `steps` steps."""
        return self.metrics.read()[: self.steps]

    @property
    def seconds_a_step(self) -> float:
        """The mean."""
        return sum(line["seconds"] for line in self.lines()) / max(len(self.lines()), 1)

    def train(self) -> None:
        """Train the steps; what would come after them is not waited for."""
        with self._process() as process:
            if self._wait(process, self.steps):
                return
        if process.returncode:
            said = self.log.read_text("utf-8").strip().splitlines()[-12:]
            raise UserError(
                f"{' '.join(self.command)}\nended with exit code {process.returncode}:\n  " + "\n  ".join(said)
            )

    def kill(self, lines: int, delay: float) -> list[int]:
        """Train until so many steps are in the metrics, and a little longer; kill −9. Returns how many were there."""
        with self._process() as process:
            if not self._wait(process, lines):
                return []
            time.sleep(delay)
        return [len(self.metrics.read())]

    def _wait(self, process: subprocess.Popen[bytes], lines: int) -> bool:
        """Wait until the process has written so many steps; False if it ends before."""
        before = self._version()
        while process.poll() is None:
            if self._version() != before and len(self.metrics.read()) >= lines:
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _version(self) -> int | None:
        """Which file the metrics are: a process that resumes begins by replacing it."""
        return self.metrics.path.stat().st_ino if self.metrics.path.exists() else None

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        """The training, in a process group of its own; nothing of it is left afterwards."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
            try:
                yield process
            finally:
                if process.poll() is None:  # not waited for yet, so its number is still its own
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def first_difference(whole: Sequence[dict[str, Any]], killed: Sequence[dict[str, Any]]) -> int | None:
    """The first step in which two series differ."""
    for step in range(max(len(whole), len(killed))):  # the two may differ in length, too
        pair = [
            [series[step].get(name) for name in COMPARED] if step < len(series) else None for series in (whole, killed)
        ]
        if pair[0] != pair[1]:
            return step
    return None
