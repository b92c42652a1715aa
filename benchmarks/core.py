"""How long CORE's multiple choice takes: one row at a time, and rows of like lengths together.

    python benchmarks/core.py BUNDLE

The model (depth 4, width 256) and its tokenizer are untrained, or as good as: neither changes the time. The decisions
must be the same.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does

import torch

from parrotlet.evals.core import BATCH_TOKENS, evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.language_model import OwnModel
from parrotlet.model import GPT, ModelConfig
from parrotlet.tokenizer import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["copa", "openbook_qa", "hellaswag_zeroshot", "commonsense_qa"])
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tasks = [task for task in read_bundle(args.bundle)[0] if task.name in args.tasks]
    texts = [str(item) for task in tasks for item in task.items()[:500]]
    tokenizer = Tokenizer.train(texts, 900)
    model = OwnModel(GPT.build(ModelConfig.from_depth(4, tokenizer.vocab_size, 2048), seed=0), tokenizer)
    for task in tasks:
        seconds = {1: [], BATCH_TOKENS: []}
        decisions = set()
        for _ in range(args.rounds):
            for batch_tokens, spent in seconds.items():
                began = time.perf_counter()
                result = evaluate_core_task(model, task, limit=args.limit, batch_tokens=batch_tokens)
                spent.append(time.perf_counter() - began)
                decisions.add(result.decisions)
        alone, together = (statistics.median(spent) for spent in seconds.values())
        same = "same decisions" if len(decisions) == 1 else "DIFFERENT decisions"
        print(
            f"{task.name:<20} {alone:6.2f} s alone, {together:6.2f} s together: ×{alone / together:.2f}, {same}",
            flush=True,
        )


if __name__ == "__main__":
    main()
