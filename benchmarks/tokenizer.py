"""The tokenizer: training beside rustbpe (nanochat's trainer), encoding beside `tokenizers`, by turns in one process.

    python benchmarks/tokenizer.py DATA [--vocab-size 8192] [--megabytes 87] [--rounds 3] [--json FILE]

DATA: the folder of real data (`PARROTLET_REAL_DATA`). rustbpe is left out where it is not installed. Wall clock, all
cores: Parrotlet trains with `tokenizers` and encodes with tiktoken; nanochat trains with rustbpe and encodes with
tiktoken too.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import tokenizers

from parrotlet.data import Documents
from parrotlet.tokenizer import SPECIAL_TOKENS, Tokenizer
from parrotlet.tokenizer.stored import SPLIT_PATTERN

TEXTS = "hub/datasets/karpathy/fineweb-edu-100b-shuffle/*.parquet"
ENCODED = 20_000_000
"""Bytes of text that are encoded."""


def texts_of(folder: Path, size: int) -> list[str]:
    """Documents of `size` bytes altogether, or all that there are."""
    texts, total = [], 0
    for text in Documents("texts", sorted(folder.glob(TEXTS))):
        texts.append(text)
        total += len(text.encode())
        if total >= size:
            break
    return texts


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds that each way takes, by turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(seconds(way))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--megabytes", type=int, default=87, help="of text to train on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the seconds of all rounds here")
    args = parser.parse_args()

    texts = texts_of(args.data, args.megabytes * 10**6)
    size = sum(len(text.encode()) for text in texts)
    trainers: dict[str, Callable[[], object]] = {"tokenizers (ours)": lambda: Tokenizer.train(texts, args.vocab_size)}
    if find_spec("rustbpe"):
        import rustbpe

        merged = args.vocab_size - len(SPECIAL_TOKENS)
        trainers["rustbpe"] = lambda: rustbpe.Tokenizer().train_from_iterator(texts, merged, pattern=SPLIT_PATTERN)
    training = in_turns(trainers, args.rounds)
    print(f"training on {size / 1e6:.0f} MB to {args.vocab_size:,} tokens, seconds (medians of {args.rounds}):")
    for name, times in training.items():
        ratio = statistics.median(training["tokenizers (ours)"]) / statistics.median(times)
        print(f"  {name:<20} {statistics.median(times):6.1f}  ×{ratio:.2f}")

    tokenizer = Tokenizer.train(texts, args.vocab_size)
    some = texts_of(args.data, ENCODED)
    size = sum(len(text.encode()) for text in some)
    peer = tokenizers.Tokenizer.from_str(tokenizer._content)
    encoding = in_turns(
        {"tiktoken (ours)": lambda: tokenizer.encode_batch(some), "tokenizers": lambda: peer.encode_batch_fast(some)},
        args.rounds,
    )
    print(f"encoding {size / 1e6:.0f} MB, MB a second:")
    for name, times in encoding.items():
        ratio = statistics.median(encoding["tiktoken (ours)"]) / statistics.median(times)
        print(f"  {name:<20} {size / 1e6 / statistics.median(times):6.1f}  ×{ratio:.2f}")
    if args.json:
        args.json.write_text(json.dumps({"training": training, "encoding": encoding}, indent=1))


if __name__ == "__main__":
    main()
