"""How long it takes to ask a model 200 word problems shaped like GSM8K: one at a time, and many: docs/performance.md.

    python benchmarks/evaluation.py

The problems are the embedded world's, and so is the tokenizer; the model (depth 4, width 256) is untrained, so most
answers are as long as they may be. Its calls, where it makes any, are answered. The answers must be the same.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from parrotlet.openmp import let_threads_sleep

let_threads_sleep()

import torch

from parrotlet.dtypes import DTYPES, multiplies_bfloat16
from parrotlet.evals import evaluate_task
from parrotlet.model import GPT, ModelConfig
from parrotlet.recipe import Recipe
from parrotlet.tasks import TaskSpec
from parrotlet.train import recipe_tokenizer
from parrotlet.train.sources import Sources

FAST = "bfloat16" if multiplies_bfloat16("cpu") else "float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default=FAST, choices=list(DTYPES))
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the seconds of all rounds here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = Recipe.load("tiny")
    tokenizer = recipe_tokenizer(recipe)
    task = Sources(recipe).task(TaskSpec(task="gsm8k", dataset="parrotlet/word-problems", split="test"))
    config = ModelConfig.from_depth(4, tokenizer.vocab_size, 512)
    model = GPT.build(config, seed=0, dtype=DTYPES[args.dtype])
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
    seconds: dict[int, list[float]] = {rows: [] for rows in args.rows}
    for _ in range(args.rounds):
        answers = []
        for rows in args.rows:
            began = time.perf_counter()
            result = evaluate_task(
                model,
                tokenizer,
                task,
                limit=args.problems,
                max_tokens=args.max_tokens,
                batch_size=rows,
                without_tool=False,
            )
            seconds[rows].append(time.perf_counter() - began)
            answers.append(result.answers)
        assert all(found == answers[0] for found in answers), "other answers with other neighbours"
    print(f"{result.n} problems, {args.dtype}, {args.threads} threads; all answers equal")
    for rows, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[args.rows[0]], found, strict=True))
        spread = f"({min(found):.2f} to {max(found):.2f})"
        print(f"{rows:>4} at a time  {statistics.median(found):7.2f} s {spread}  ×{ratio:.1f}")
    if args.json:
        args.json.write_text(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()
