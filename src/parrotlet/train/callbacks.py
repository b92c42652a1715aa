"""What a person sees of a training, and what else is done on the way."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any

from .. import ranks
from ..chat import Conversation, Message, render_prompt
from ..engine import Engine, Sampling
from ..errors import UserError, missing_package
from ..evals import evaluate_task
from ..evals.core import core, evaluate_core_task
from ..evals.core_bundle import CoreTask
from ..evals.language_model import OwnModel
from ..progress import ProgressLine, duration
from .download import no_core
from .loop import Callback, Training

SAMPLE_PROMPTS = ("The", "In the morning", "小")
SAMPLE_TOKENS = 48


class Console(Callback):
    """A live line with loss, tokens a second and the time left; a summary at the end."""

    def on_start(self, training: Training) -> None:
        """Say what is about to happen."""
        t = training
        self.line = ProgressLine(t.stage.name, t.total)
        self.began, self.first, self.tokens = time.monotonic(), t.step, 0
        self.recent: deque[dict[str, Any]] = deque(maxlen=20)
        at = f"going on at step {t.step} of {t.total}" if t.step else f"{t.total} steps from {t.started_from}"
        self._say(f"{t.stage.phrase}: {at}")

    def on_notice(self, training: Training, text: str) -> None:
        """Print it."""
        self._say(text)

    def on_step(self, training: Training, line: dict[str, Any]) -> None:
        """Move the live line."""
        self.tokens += line["tokens"]
        self.recent.append(line)
        loss = sum(recent["loss"] for recent in self.recent) / len(self.recent)
        rate = sum(recent["tokens"] for recent in self.recent) / sum(recent["seconds"] for recent in self.recent)
        self.line.update(training.step, f"loss {loss:.3f}  lr ×{line['lr_mult']:.3f}  {rate:,.0f} tok/s")

    def on_validation(self, training: Training, line: dict[str, Any]) -> None:
        """Print what was measured."""
        measured = [f"{name} {value:.4f}" for name, value in line.items() if isinstance(value, float)]
        if measured:
            self._say(f"step {training.step}: {', '.join(measured)}")

    def on_end(self, training: Training) -> None:
        """Sum up."""
        spent = time.monotonic() - self.began
        of = f" of {training.total}" if self.first else ""
        self.line.close(f"{training.total - self.first}{of} steps, {self.tokens:,} tokens in {duration(spent)}")

    def _say(self, text: str) -> None:
        self.line.clear()
        print(f"{self.line.label:<10} {text}", file=sys.stderr, flush=True)


class Samples(Callback):
    """Lets the model write a little, every `sample_every` steps and at the end."""

    def on_end(self, training: Training) -> None:
        """Write what the finished stage says."""
        self.on_sample(training)

    def on_sample(self, training: Training) -> None:
        """Write."""
        tokenizer = training.tokenizer
        if training.stage.reads == "documents":
            prompts = [[tokenizer.bos, *tokenizer.encode(text)] for text in SAMPLE_PROMPTS]
            asked = list(SAMPLE_PROMPTS)
        else:
            asked = ["Who are you?"]
            prompts = [render_prompt(Conversation((Message("user", text),)), tokenizer) for text in asked]
        engine = Engine(training.whole_model(), tokenizer, rows=len(prompts))
        sampling = Sampling(temperature=0.0, max_tokens=SAMPLE_TOKENS)
        for text, completion in zip(asked, engine.generate(prompts, sampling), strict=True):
            written = completion.text.replace("\n", " ")
            training.tell("on_notice", f"step {training.step} writes: {text}▸{written}")


class TaskAccuracy(Callback):
    """Adds the accuracy on the stage's multiple-choice tasks to the measurements, every `tasks_every` steps."""

    def on_start(self, training: Training) -> None:
        """Get the problems, so that nothing is fetched on the way."""
        self.tasks = [training.run.sources.task(spec) for spec in training.settings.tasks]

    def on_validation(self, training: Training, line: dict[str, Any]) -> None:
        """Measure if it is due, or at the end."""
        settings = training.settings
        if training.step % settings.tasks_every and training.step < training.total:
            return
        model = training.whole_model() if self.tasks else training.model
        for task in self.tasks:
            result = evaluate_task(model, training.tokenizer, task, limit=settings.tasks_limit)
            line[task.name] = result.accuracy


class Core(Callback):
    """Adds CORE to the measurements every `core_every` steps and at the end: the mean, and each task's centred value.

    Where the bundle isn't there, that is said, and training goes on without.
    """

    def on_start(self, training: Training) -> None:
        """Find the tasks; if one of several ranks has none, none is asked."""
        self.tasks: list[CoreTask] = []
        self.name = "core"
        if not training.settings.core_every:
            return
        error, missing = None, []
        with ranks.first_rank_first():
            try:
                self.tasks, missing = training.run.sources.core_tasks()
            except UserError as found:
                error = found
        if errors := list(filter(None, ranks.gather(error))):
            self.tasks = []
            self._say(no_core(errors[0]))
        elif missing:
            self.name = f"core of {len(self.tasks)} tasks"
            names = ", ".join(task.name for task in missing)
            self._say(f"{'core':<10} {names}: left out, the files are missing")

    def on_validation(self, training: Training, line: dict[str, Any]) -> None:
        """Measure if it is due, or at the end."""
        settings, at_end = training.settings, training.step == training.total
        if not self.tasks or not (at_end or (training.step and training.step % settings.core_every == 0)):
            return
        model, results = OwnModel(training.whole_model(), training.tokenizer), []
        for task in self.tasks:
            progress = ProgressLine(task.name, 1)
            results.append(evaluate_core_task(model, task, limit=settings.core_limit, on_progress=progress))
            progress.close()
        line[self.name], _ = core(results)
        line["core_tasks"] = {result.task.name: result.centred for result in results}

    def _say(self, text: str) -> None:
        if ranks.is_first():
            print(text, file=sys.stderr, flush=True)


class Tracker(Callback):
    """Sends the metrics to trackio or wandb, which speak the same language."""

    def __init__(self, to: str, project: str) -> None:
        try:
            self.client = __import__(to)
        except ImportError:
            raise missing_package(to, "track") from None
        self.project = project

    def on_start(self, training: Training) -> None:
        """Open the run there."""
        name = f"{training.run.folder.name}-{training.stage.name}"
        self.session = self.client.init(project=self.project, name=name, config={"recipe": training.run.recipe.name})

    def on_step(self, training: Training, line: dict[str, Any]) -> None:
        """Send the step."""
        numbers = {f"{training.stage.name}/{k}": v for k, v in line.items() if isinstance(v, int | float)}
        self.client.log(numbers)

    def on_validation(self, training: Training, line: dict[str, Any]) -> None:
        """Send the measurement."""
        self.on_step(training, line)

    def on_end(self, training: Training) -> None:
        """Close the run there."""
        self.client.finish()
