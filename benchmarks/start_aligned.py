"""Rows that begin with a document and cut it off, against rows that go on where the last one ended: bits per byte.

    python benchmarks/start_aligned.py DATA --minutes 3

DATA: the folder of real data (`PARROTLET_REAL_DATA`). Trains the same small model from the same weights on both kinds
of rows, each for so many minutes of processor time, and measures both on the same validation rows.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from parrotlet.data import Batch, Documents, Row, Shuffle, StreamOrder, TextSource, validation_rows
from parrotlet.evals import evaluate_loss
from parrotlet.model import GPT
from parrotlet.optim import Optimizers
from parrotlet.recipe import Recipe
from parrotlet.tokenizer import Tokenizer
from parrotlet.train.loop import optimize

SHARDS = "hub/datasets/karpathy/fineweb-edu-100b-shuffle"


def start_aligned(documents: Documents, tokenizer: Tokenizer, length: int, rows: int, seed: int) -> Iterator[Batch]:
    """Every row begins with `<|bos|>`; what does not fit into it is thrown away."""
    shuffle = Shuffle(documents, seed)
    numbers = itertools.count()
    while True:
        yield Batch.from_rows([_row(shuffle, numbers, tokenizer, length) for _ in range(rows)], "row")


def _row(shuffle: Shuffle, numbers: Iterator[int], tokenizer: Tokenizer, length: int) -> Row:
    ids: list[int] = []
    while len(ids) <= length:
        ids += [tokenizer.bos, *tokenizer.encode(shuffle.documents[shuffle[next(numbers)]])]
    inputs, targets = np.array(ids[:length]), np.array(ids[1 : length + 1])
    return Row(inputs, targets, np.arange(length), np.zeros(length, dtype=np.int64), ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--length", type=int, default=512)
    args = parser.parse_args()
    overrides = {"model.sequence_len": args.length, "model.depth": 2, "model.width": 128, "model.heads": 2}
    recipe = Recipe.load("small-real", overrides)
    *training, validation = sorted((args.data / SHARDS).glob("*.parquet"))
    documents = Documents("training", training)
    tokenizer = Tokenizer.train(itertools.islice(documents, 1500), recipe.tokenizer.vocab_size)
    rows = recipe.base.tokens_per_step // args.length
    held_out = validation_rows(Documents("v", [validation]), tokenizer, length=args.length, max_tokens=100_000)
    measured = [Batch.from_rows(held_out[i : i + 16], "row") for i in range(0, len(held_out), 16)]
    order = StreamOrder(
        [TextSource(documents=documents)], tokenizer, length=args.length, rows_per_step=rows, streams=64, seed=1
    )
    ways = {
        "continuing": (batch for batch, _ in order.batches(order.start())),
        "start-aligned": start_aligned(documents, tokenizer, args.length, rows, 1),
    }
    for name, batches in ways.items():
        model = GPT.build(recipe.model.config(tokenizer.vocab_size), seed=0)
        optimizers = Optimizers(model, recipe.optim)
        spent, steps = 0.0, 0
        while spent < 60 * args.minutes:
            began = time.process_time()
            optimize(model, optimizers, next(batches), recipe.base.micro_rows, steps, 1.0)
            spent, steps = spent + time.process_time() - began, steps + 1
        found = evaluate_loss(model, measured, tokenizer.bytes_per_token)
        print(f"{name:<14} {steps:>6} steps  {found.bits_per_byte:.4f} bits per byte", flush=True)


if __name__ == "__main__":
    main()
