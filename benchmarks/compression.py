"""Bytes per token of a run's tokenizer, beside the vocabularies of GPT-2 and GPT-4.

    python benchmarks/compression.py RUN DATA

DATA: the folder of real data (`PARROTLET_REAL_DATA`), with `tokenizer_oracles/`, `hub/` and `files/`.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from parrotlet.tokenizer import PUBLISHED_PATTERNS, Tokenizer, compression_report, load_rank_file

CHARACTERS = 500_000
TEXTS = {
    "text-en (validation)": ("hub/datasets/karpathy/fineweb-edu-100b-shuffle/shard_00004.parquet", "text"),
    "text-zh": ("files/text-zh/shard_00001.parquet", "text"),
    "gsm8k questions": ("hub/datasets/openai/gsm8k/main/test-00000-of-00001.parquet", "question"),
}


def main() -> None:
    run, data = Path(sys.argv[1]), Path(sys.argv[2])
    oracles = data / "tokenizer_oracles"
    references = {
        name: load_rank_file(oracles / f"{name}_base.tiktoken", PUBLISHED_PATTERNS[f"{name}_base"], name)
        for name in ("r50k", "cl100k")
    }
    texts = {
        name: "\n".join(pq.read_table(data / path, columns=[column])[column].to_pylist())[:CHARACTERS]
        for name, (path, column) in TEXTS.items()
    }
    tokenizer = Tokenizer.load(run / "tokenizer")
    print(f"{'bytes per token':<22} {f'ours ({tokenizer.vocab_size:,})':>14} {'r50k':>8} {'cl100k':>8}")
    for row in compression_report(tokenizer, texts, references):
        others = [row.bytes / row.reference_tokens[name] for name in references]
        print(f"{row.name:<22} {row.bytes_per_token:>14.2f} {others[0]:>8.2f} {others[1]:>8.2f}")


if __name__ == "__main__":
    main()
