"""`parrotlet bench`."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Literal

import tyro
from rich.table import Table

from ..chat import Conversation, Message, render_prompt
from ..engine import Engine, Sampling
from ..errors import UserError
from ..model import GPT
from ..stages import StageName
from ..tokenizer import Tokenizer
from ..train import Run, load_model
from .console import plain_console
from .options import choose_stage, latest_run

QUESTION = "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes. How much did she earn?"


def bench(
    what: tyro.conf.Positional[Literal["decode"]],
    run: Path | None = None,
    stage: StageName | None = None,
    rows: tuple[int, ...] = (1, 4, 16, 64),
    tokens: int = 64,
    temperature: float = 0.0,
    rounds: int = 3,
) -> None:
    """Measure how fast a trained stage answers, by the number of answers that are written at a time.

    Args:
        what: decode: tokens a second, feeding the prompts included.
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: the last one trained.
        rows: Answers at a time.
        tokens: Length of an answer, in tokens; shorter where the model ends it.
        temperature: 0 takes the likeliest token, the fastest way; above it, sampling is measured, too.
        rounds: Measurements of each; the median is shown.
    """
    if min(*rows, tokens, rounds, 1) < 1:
        raise UserError("--rows, --tokens and --rounds must be at least 1")
    opened = Run.open(run or latest_run())
    name = choose_stage(opened, stage)
    model, tokenizer = load_model(opened, name), opened.tokenizer()
    sampling = Sampling(temperature=temperature, max_tokens=tokens)
    table = Table("answers at a time", "tokens/s", "range", "× one", "memory of all rows", box=None)
    first = None
    for count in rows:
        print(f"measuring {count} …", file=sys.stderr, flush=True)
        engine, rates = decode_rates(model, tokenizer, count, sampling, rounds)
        median = statistics.median(rates)
        first = first or median
        spread, memory = f"{min(rates):,.0f} to {max(rates):,.0f}", f"{engine.memory_bytes / 2**20:,.0f} MiB"
        table.add_row(str(count), f"{median:,.0f}", spread, f"{median / first:.1f}", memory)
    print(f"{opened.folder}, stage {name}, {str(model.dtype).removeprefix('torch.')}")
    plain_console().print(table)


def decode_rates(
    model: GPT, tokenizer: Tokenizer, count: int, sampling: Sampling, rounds: int
) -> tuple[Engine, list[float]]:
    """Tokens a second of each round, after one that warms up. Every answer has a question of its own."""
    engine, rates = Engine(model, tokenizer, rows=count), []
    for round_ in range(rounds + 1):
        asked = [Conversation((Message("user", f"{round_}.{i} {QUESTION}"),)) for i in range(count)]
        prompts = [render_prompt(conversation, tokenizer) for conversation in asked]
        began = time.perf_counter()
        answers = engine.generate(prompts, sampling)
        written = sum(len(c.ids) + (c.finish == "stop") for c in answers)  # the end is a token, too
        rates.append(written / (time.perf_counter() - began))
    return engine, rates[1:]
