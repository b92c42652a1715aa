"""Asking a model the items of a task: by the letters' logits, or by what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from .. import ranks
from ..chat import Conversation, Part, render_prompt
from ..engine import Completion, Engine, Sampling
from ..model import GPT
from ..tasks import Task
from ..tokenizer import Tokenizer
from ..tools import ToolError, calculate
from .judging import Progress, judge_all
from .statistics import mean_centred, wilson_interval

KEPT_ANSWERS = 200
"""Answers of a task that are kept for reading."""
CHOICE_BATCH = 32
CHAT_CORE = ("arc-easy", "arc-challenge", "mmlu", "gsm8k", "humaneval", "letter-counting")
"""The tasks of ChatCORE, nanochat's measure of a chat model."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answered to an item."""

    index: int
    prompt: str
    """The question; before it, a line for each earlier message."""
    parts: tuple[Part, ...]
    correct: bool
    finish: str
    """`stop`, `length`; `choice` for a letter; `too long` where the question itself does not fit."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "index": self.index,
            "prompt": self.prompt,
            "answer": [asdict(part) for part in self.parts],
            "correct": self.correct,
            "finish": self.finish,
        }


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How a model did at a task."""

    answers: tuple[Answer, ...]
    chance: float
    """Accuracy of guessing."""
    generative: bool
    without_tool: TaskResult | None = None
    """The same items with the calculator switched off; None where no answer used it."""

    @property
    def n(self) -> int:
        """Items asked."""
        return len(self.answers)

    @property
    def correct(self) -> int:
        """Items answered right."""
        return sum(answer.correct for answer in self.answers)

    @property
    def accuracy(self) -> float:
        """Share answered right."""
        return self.correct / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy."""
        return wilson_interval(self.correct, self.n)

    @property
    def stopped(self) -> float:
        """Share of the answers that the model ended by itself."""
        return self._share(lambda answer: answer.finish == "stop")

    @property
    def called(self) -> float:
        """Share of the answers with a call that the calculator accepts."""
        return self._share(lambda answer: any(map(_accepted, answer.parts)))

    @property
    def too_long(self) -> int:
        """Items whose question does not fit into the context; they count as wrong."""
        return sum(answer.finish == "too long" for answer in self.answers)

    def _share(self, holds: Callable[[Answer], bool]) -> float:
        return sum(map(holds, self.answers)) / self.n if self.n else 0.0

    def summary(self) -> str:
        """In one line."""
        low, high = self.interval
        text = f"{100 * self.accuracy:.1f} % [{100 * low:.1f}–{100 * high:.1f}] of {self.n}"
        if self.generative:
            text += f", {100 * self.stopped:.0f} % stop, {100 * self.called:.0f} % call the calculator"
        return text + (f", {self.too_long} too long" if self.too_long else "")

    def to_json(self) -> dict[str, Any]:
        """The entry of `results.json`."""
        low, high = self.interval
        entry: dict[str, Any] = {
            "accuracy": self.accuracy,
            "low": low,
            "high": high,
            "n": self.n,
            "chance": self.chance,
            "too_long": self.too_long,
            "without_tool": None,
        }
        if self.generative:
            entry |= {"stopped": self.stopped, "called": self.called}
        if self.without_tool is not None:
            low, high = self.without_tool.interval
            entry["without_tool"] = {
                "accuracy": self.without_tool.accuracy,
                "low": low,
                "high": high,
                "n": self.without_tool.n,
            }
        return entry

    @property
    def transcripts(self) -> list[dict[str, Any]]:
        """Some answers for reading, right and wrong, as they came."""
        return [answer.to_json() for answer in self.answers[:KEPT_ANSWERS]]


def evaluate_task(
    model: GPT,
    tokenizer: Tokenizer,
    task: Task,
    *,
    limit: int | None = None,
    max_tokens: int = 256,
    batch_size: int = 32,
    without_tool: bool = True,
    on_progress: Progress = lambda done, total: None,
) -> TaskResult:
    """Ask `model` the items of `task`, or `limit` of them: the same ones every time.

    Generative items are answered greedily with the calculator; if any answer called it, all are asked again
    without it. Several ranks share the items, and each gets all answers.
    """
    indices = chosen_items(len(task), limit)
    chance = float(np.mean([task.chance(i) for i in indices])) if indices else 0.0
    if task.kind == "choice":
        answers = _choose(model, tokenizer, task, ranks.own(indices), on_progress)
        return TaskResult(answers=tuple(ranks.gather_shares(answers)), chance=chance, generative=False)
    assert task.kind == "generative", f"{task.name} can only be trained on"
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
    own = ranks.own(indices)
    engine = Engine(model, tokenizer, rows=min(batch_size, max(1, len(own))))
    results = []
    for tools in (True, False):
        answers = ranks.gather_shares(_write(engine, task, own, sampling, tools, on_progress))
        results.append(TaskResult(answers=tuple(answers), chance=chance, generative=True))
        if not without_tool or not results[0].called:
            return results[0]
    return replace(results[0], without_tool=results[1])


def chat_core(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """ChatCORE: the mean centred accuracy over its tasks, with its 95 % interval. None if one of them is not there.

    `tasks`: as in `results.json`.
    """
    if not tasks.keys() >= set(CHAT_CORE):
        return None
    value, half = mean_centred([tasks[name] for name in CHAT_CORE])
    return {"value": value, "low": value - half, "high": value + half}


def chosen_items(n: int, limit: int | None) -> list[int]:
    """`limit` of `n` items, spread over all of them."""
    if limit is None or limit >= n:
        return list(range(n))
    return np.random.default_rng(0).permutation(n)[:limit].tolist()


def question(conversation: Conversation) -> Conversation:
    """An item without its reference answer."""
    return replace(conversation, messages=conversation.messages[:-1])


def _choose(
    model: GPT, tokenizer: Tokenizer, task: Task, indices: Sequence[int], on_progress: Progress
) -> tuple[Answer, ...]:
    """Which of its letters each item's answer most likely begins with."""
    items = [task[i] for i in indices]
    prompts = [render_prompt(question(item), tokenizer) for item in items]
    letters: list[str | None] = [None] * len(items)
    fitting = [i for i in range(len(items)) if len(prompts[i]) <= model.config.sequence_len]
    fitting.sort(key=lambda i: len(prompts[i]))
    for start in range(0, len(fitting), CHOICE_BATCH):
        some = fitting[start : start + CHOICE_BATCH]
        logits = _logits_after(model, [prompts[i] for i in some])
        for i, row in zip(some, logits, strict=True):
            possible = items[i].letters
            assert possible is not None
            first = [tokenizer.encode(letter)[0] for letter in possible]
            letters[i] = possible[int(row[first].argmax())]
        on_progress(start + len(some), len(fitting))
    parts = [(Part("text", letter or ""),) for letter in letters]
    finishes = ["choice" if letter else "too long" for letter in letters]
    return _answers(task, indices, items, parts, finishes, lambda done, total: None)


@torch.inference_mode()
def _logits_after(model: GPT, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits (B, V) after the last token of each prompt; the filling on the right comes after it and is not seen."""
    device = next(model.parameters()).device
    longest = max(map(len, prompts))
    inputs_BT = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=device)
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
    return model.logits(model(inputs_BT)[torch.arange(len(prompts), device=device), last])


def _write(
    engine: Engine,
    task: Task,
    indices: Sequence[int],
    sampling: Sampling,
    tools: bool,
    on_progress: Progress,
) -> tuple[Answer, ...]:
    """What the model writes to each item."""
    items = [task[i] for i in indices]
    prompts = [render_prompt(question(item), engine.tokenizer) for item in items]
    fitting = [i for i in range(len(items)) if len(prompts[i]) < engine.config.sequence_len]
    written: dict[int, Completion] = dict(
        zip(
            fitting,
            engine.generate([prompts[i] for i in fitting], sampling, tools=tools, on_progress=on_progress),
            strict=True,
        )
    )
    parts = [written[i].parts if i in written else () for i in range(len(items))]
    finishes = [written[i].finish if i in written else "too long" for i in range(len(items))]
    return _answers(task, indices, items, parts, finishes, on_progress)


def _answers(
    task: Task,
    indices: Sequence[int],
    items: Sequence[Conversation],
    parts: Sequence[tuple[Part, ...]],
    finishes: Sequence[str],
    on_progress: Progress,
) -> tuple[Answer, ...]:
    """What was answered, judged; what did not fit is wrong."""
    texts = ["".join(part.text for part in some if part.type == "text") for some in parts]
    fitting = [i for i, finish in enumerate(finishes) if finish != "too long"]
    judged = judge_all(task, [items[i] for i in fitting], [texts[i] for i in fitting], on_progress)
    right = {i for i, verdict in zip(fitting, judged, strict=True) if verdict}
    return tuple(
        Answer(index=index, prompt=_asked(item), parts=parts[i], correct=i in right, finish=finishes[i])
        for i, (index, item) in enumerate(zip(indices, items, strict=True))
    )


def _asked(item: Conversation) -> str:
    *earlier, asked = question(item).messages
    return "\n".join([*(f"{message.role}: {message.text}" for message in earlier), asked.text])


def _accepted(part: Part) -> bool:
    """Whether a part is a call that the calculator can answer."""
    if part.type != "python":
        return False
    try:
        calculate(part.text)
    except ToolError:
        return False
    return True
