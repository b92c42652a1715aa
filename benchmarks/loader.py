"""The loader of base training: its throughput beside tiktoken alone, its first batch, its memory.

    python benchmarks/loader.py DATA [--vocab-size 4096] [--length 2048]

DATA: the folder of real data (`PARROTLET_REAL_DATA`). Throughput is by processor time, in one thread; both ways encode
the same texts, taking turns.
"""

import argparse
import itertools
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from parrotlet.data import Documents, StreamOrder, TextSource
from parrotlet.data.prefetch import prefetch
from parrotlet.recipe import MachineSettings
from parrotlet.tokenizer import Tokenizer
from parrotlet.train.machine import resolve_machine, use_machine

SHARDS = "hub/datasets/karpathy/fineweb-edu-100b-shuffle"
ROWS_PER_STEP = 32
STEPS = 160
FIRST_BATCH_SHARDS = 100
MEMORY_STEPS = 1000


def order_of(paths: list[Path], tokenizer: Tokenizer, length: int) -> StreamOrder:
    source = TextSource(documents=Documents("texts", paths))
    return StreamOrder([source], tokenizer, length=length, rows_per_step=ROWS_PER_STEP, streams=64, seed=1)


def throughput(paths: list[Path], tokenizer: Tokenizer, length: int, rounds: int) -> dict[str, list[float]]:
    """Tokens a second of rows, and of the encoder on the documents that these rows hold."""
    encode = tokenizer._encoding.encode_ordinary
    loader, alone = [], []
    for _ in range(rounds):
        order = order_of(paths, tokenizer, length)
        began = time.process_time()
        batches = [batch for batch, _ in itertools.islice(order.batches(order.start()), STEPS)]
        loader.append(STEPS * ROWS_PER_STEP * length / (time.process_time() - began))
        indices = {source.index for batch in batches for row in batch.sources for source in row}
        texts = [order.sources[0].documents[i] for i in sorted(indices)]
        began = time.process_time()
        tokens = sum(len(encode(text)) for text in texts)
        alone.append(tokens / (time.process_time() - began))
    ratios = [a / b for a, b in zip(loader, alone, strict=True)]
    print(f"loader   {statistics.median(loader):12,.0f} tokens/s")
    print(f"tiktoken {statistics.median(alone):12,.0f} tokens/s on the same texts")
    print(f"ratio    {statistics.median(ratios):12.2f}  ({min(ratios):.2f}–{max(ratios):.2f} in {rounds} rounds)")
    return {"loader": loader, "tiktoken": alone}


def first_batch(paths: list[Path], tokenizer: Tokenizer, length: int) -> dict[str, float]:
    """Seconds from the names of many shards to the first batch."""
    texts = list(itertools.islice(itertools.chain.from_iterable(Documents("t", [p]) for p in paths), 9600))
    with tempfile.TemporaryDirectory() as folder:
        shards = []
        for i in range(FIRST_BATCH_SHARDS):
            shards.append(Path(folder) / f"shard_{i:05d}.parquet")
            pq.write_table(pa.table({"text": texts[i::FIRST_BATCH_SHARDS] * 10}), shards[-1], row_group_size=512)
        found = {}
        for what in ("the first time", "again"):
            began = time.perf_counter()
            order = order_of(shards, tokenizer, length)
            next(order.batches(order.start()))
            found[what] = time.perf_counter() - began
            print(f"first batch of {FIRST_BATCH_SHARDS} shards, {what}: {found[what]:.2f} s")
    return found


def memory(paths: list[Path], tokenizer: Tokenizer, length: int) -> dict[int, float]:
    """The most memory that the process has held, after some steps and after many."""
    order = order_of(paths, tokenizer, length)
    found = {}
    for step, _ in enumerate(itertools.islice(prefetch(order.batches(order.start())), MEMORY_STEPS), start=1):
        if step in (MEMORY_STEPS // 5, MEMORY_STEPS):
            found[step] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"after {step:>4} steps: at most {found[step]:,.0f} MiB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures of all rounds here")
    args = parser.parse_args()
    use_machine(resolve_machine(MachineSettings()))  # as training does
    paths = sorted((args.data / SHARDS).glob("*.parquet"))
    texts = list(itertools.islice(Documents("t", paths[:1]), 1500))
    tokenizer = Tokenizer.train(texts, args.vocab_size)
    found = {"tokens_per_second": throughput(paths, tokenizer, args.length, args.rounds)}
    found["first_batch_seconds"] = first_batch(paths, tokenizer, args.length)
    found["most_memory_mib"] = memory(paths, tokenizer, args.length // 8)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
