"""Tokens a second of a whole training step (forward, backward, optimiser), one way beside another in one process.

python benchmarks/train_step.py --recipe tiny          # its model and micro-batch: torch alone, our kernels; compiled
python benchmarks/train_step.py --recipe small-real --dtypes float32 bfloat16
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

from parrotlet.openmp import let_threads_sleep

let_threads_sleep()

import torch

from parrotlet.data import Batch
from parrotlet.dtypes import DTYPES
from parrotlet.model import GPT, kernels
from parrotlet.optim import Optimizers
from parrotlet.recipe import Recipe
from parrotlet.train.loop import optimize
from parrotlet.train.machine import resolve_machine, use_machine
from parrotlet.train.parallel import run_here


def a_batch(rows: int, length: int, vocab_size: int, packed: bool) -> Batch:
    """Random tokens; `packed`: six conversations a row instead of one text."""
    ids = torch.randint(0, vocab_size, (rows, length + 1), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(length).expand(rows, -1)
    segments = positions // (length // 6) if packed else torch.zeros_like(positions)
    positions = positions % (length // 6) if packed else positions
    return Batch(
        ids[:, :-1].contiguous(),
        ids[:, 1:].contiguous(),
        positions,
        segments,
        sources=(),
        attends="segment" if packed else "row",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--dtypes", nargs="+", help="default: what the machine is fast in", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps a round")
    parser.add_argument("--json", type=Path, help="write the tokens a second of all rounds here")
    args = parser.parse_args()
    recipe = Recipe.load(args.recipe)
    machine = resolve_machine(replace(recipe.machine, device="cpu"))
    device, _ = use_machine(machine)
    config = recipe.model.config(recipe.tokenizer.vocab_size)
    rows = recipe.base.tokens_per_step // config.sequence_len
    ways = {}
    for dtype in args.dtypes or [machine.dtype]:
        for own in (False, True):
            for compiled in (False, True) if machine.compile else (False,):
                model = GPT.build(config, seed=0, dtype=DTYPES[dtype])
                if compiled:
                    run_here(model, device, compile_rows=recipe.base.micro_rows)
                for packed in (False, True):
                    form = "compiled" if compiled else "eager"
                    label = f"{dtype:<9} {'ours' if own else 'torch':<6} {form:<9} {'packed' if packed else 'one text'}"
                    batch = a_batch(rows, config.sequence_len, config.vocab_size, packed)
                    ways[label] = (own, model, Optimizers(model, recipe.optim), batch)
    rates = {label: [] for label in ways}
    available = kernels.available
    for round_ in range(args.rounds + 1):  # the first one warms up
        for label, (own, model, optimizers, batch) in ways.items():
            kernels.available = available if own else lambda *_: False
            began = time.perf_counter()
            for _ in range(args.steps):
                optimize(model, optimizers, batch, recipe.base.micro_rows, 0, 1.0)
            if round_:
                rates[label].append(args.steps * batch.tokens / (time.perf_counter() - began))
    first = statistics.median(next(iter(rates.values())))
    print(f"{args.recipe}: {config.num_parameters:,} parameters, {rows} × {config.sequence_len} tokens a step")
    for label, found in rates.items():
        median = statistics.median(found)
        print(f"{label:<38} {median:8,.0f} tokens/s  ×{median / first:.2f}  ({min(found):,.0f}–{max(found):,.0f})")
    if args.json:
        args.json.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
