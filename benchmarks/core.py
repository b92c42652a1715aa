"""How long CORE's multiple choice takes: one question at a time, and as `parrotlet eval --core` asks them.

One at a time, the choices of a question are the rows of a batch. Else what they begin with (question and solved
examples) is computed once, and questions of like lengths are computed together.

    python benchmarks/core.py BUNDLE

The model (depth 4, width 256) and its tokenizer are untrained, or as good as: neither changes the time. Where the
decisions are not the same the exit code is 1.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from parrotlet.openmp import let_threads_sleep

let_threads_sleep()

import torch

from parrotlet.evals.branches import Row
from parrotlet.evals.core import score
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.core_prompts import chosen_items, rows_of
from parrotlet.evals.language_model import OwnModel
from parrotlet.model import GPT, ModelConfig
from parrotlet.tokenizer import Tokenizer


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["copa", "openbook_qa", "hellaswag_zeroshot", "commonsense_qa"])
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="seconds of computing: other programs then count less")
    parser.add_argument("--json", type=Path, help="write the seconds of all rounds here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tasks = [task for task in read_bundle(args.bundle)[0] if task.name in args.tasks]
    texts = [str(item) for task in tasks for item in task.items()[:500]]
    tokenizer = Tokenizer.train(texts, 900)
    model = OwnModel(GPT.build(ModelConfig.from_depth(4, tokenizer.vocab_size, 2048), seed=0), tokenizer)
    differ, found = False, {}
    for task in tasks:
        items = chosen_items(task, args.limit)
        rows = [rows_of(task, items, index, model) for index in range(len(items))]
        seconds: dict[str, list[float]] = {"alone": [], "together": []}
        decisions = set()
        for _ in range(args.rounds):
            for way, spent in seconds.items():
                began = time.process_time() if args.cpu_time else time.perf_counter()
                scores = one_by_one(model, rows) if way == "alone" else score(model, rows)
                spent.append((time.process_time() if args.cpu_time else time.perf_counter()) - began)
                decisions.add(tuple(min(range(len(item)), key=lambda i: item[i][0]) for item in scores))
        found[task.name] = seconds
        alone, together = (statistics.median(spent) for spent in seconds.values())
        differ |= len(decisions) > 1
        same = "DIFFERENT decisions" if len(decisions) > 1 else "same decisions"
        print(
            f"{task.name:<20} {alone:6.2f} s alone, {together:6.2f} s together: ×{alone / together:.2f}, {same}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    sys.exit(differ)


def one_by_one(model: OwnModel, rows: list[list[Row]]) -> list[list[tuple[float, bool]]]:
    """One question after the other: its choices are the rows of a batch, filled up, and nothing is shared."""
    model.branches = False
    try:
        return [score(model, [item], batch_tokens=1 << 40)[0] for item in rows]
    finally:
        model.branches = True


if __name__ == "__main__":
    main()
