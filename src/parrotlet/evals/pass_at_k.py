"""pass@k: how likely one of k answers is right (Chen et al. 2021, arXiv:2107.03374)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb
from statistics import mean

from .. import ranks
from ..chat import render_prompt
from ..engine import Engine, Sampling
from ..errors import UserError
from ..model import GPT
from ..tasks import Task
from ..tokenizer import Tokenizer
from .chat_tasks import chosen_items, question
from .judging import judge_all
from .statistics import wilson_interval


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that k of `n` answers, of which `correct` are right, hold a right one: without bias for k ≤ n."""
    assert 0 <= correct <= n
    assert 1 <= k <= n
    return 1 - comb(n - correct, k) / comb(n, k)


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """How many of an item's sampled answers are right."""

    samples: int
    correct: tuple[int, ...]
    """For every item."""

    def at(self, k: int) -> float:
        """pass@k, the mean over all items."""
        return mean(pass_at_k(self.samples, correct, k) for correct in self.correct)

    def interval(self, k: int) -> tuple[float, float]:
        """An interval that holds pass@k with at least 95 % confidence, over the choice of items.

        That of a share: what lies between 0 and 1 varies most where it is one or the other.
        """
        n = len(self.correct)
        return wilson_interval(n * self.at(k), n)


def sample_task(
    model: GPT,
    tokenizer: Tokenizer,
    task: Task,
    *,
    samples: int,
    sampling: Sampling,
    limit: int | None = None,
    rows: int = 32,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sampled:
    """Answer each item `samples` times and judge all answers. Items that don't fit into the context count as wrong.

    Several ranks share the items, and each gets all counts.
    """
    if task.kind != "generative":
        raise UserError(f"{task.name}: pass@k is for tasks that are answered by writing")
    own = ranks.own(list(enumerate(chosen_items(len(task), limit))))
    items = {place: task[index] for place, index in own}
    prompts = {place: render_prompt(question(item), tokenizer) for place, item in items.items()}
    fitting = [place for place, prompt in prompts.items() if len(prompt) < model.config.sequence_len]
    asked = [(place, number) for place in fitting for number in range(samples)]
    each = [replace(sampling, seed=sampling.seed + place * samples + number) for place, number in asked]
    engine = Engine(model, tokenizer, rows=rows)
    answers = engine.generate([prompts[place] for place, _ in asked], each, on_progress=on_progress)
    correct = dict.fromkeys(items, 0)
    judged = judge_all(task, [items[place] for place, _ in asked], [answer.text for answer in answers], on_progress)
    for (place, _), right in zip(asked, judged, strict=True):
        correct[place] += right
    return Sampled(samples=samples, correct=tuple(ranks.gather_shares(list(correct.values()))))
