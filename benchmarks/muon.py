"""What orthogonalising by a factor saves beside iterating on the matrices themselves, in float32, in turns.

python benchmarks/muon.py [--recipe tiny] [--rounds 15]       # the matrices of a model, then whole steps of training
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from parrotlet.openmp import let_threads_sleep

let_threads_sleep()

import torch
from train_step import a_batch

from parrotlet.model import GPT
from parrotlet.optim import Optimizers, muon
from parrotlet.recipe import Recipe
from parrotlet.train.estimate import matrices
from parrotlet.train.loop import optimize
from parrotlet.train.machine import resolve_machine, use_machine
from parrotlet.train.parallel import run_here
from tokenizer import in_turns

WAYS = {"matrix": muon._iterate, "factor": muon._iterate_factor}


def compare(label: str, ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds, medians. (The first round warms up.)"""
    found = {name: 1000 * statistics.median(times[1:]) for name, times in in_turns(ways, rounds + 1).items()}
    said = "  ".join(f"{name} {ms:7.1f}" for name, ms in found.items())
    print(f"{label:<19} {said}  ×{found['matrix'] / found['factor']:.2f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the milliseconds here")
    args = parser.parse_args()
    recipe = Recipe.load(args.recipe)
    machine = resolve_machine(replace(recipe.machine, device="cpu"))
    device, _ = use_machine(machine)
    config, block = recipe.model.config(recipe.tokenizer.vocab_size), recipe.optim.matrix_block
    parts = f"parts of {block} rows at most" if block else "whole matrices"
    print(f"{args.recipe}, {torch.get_num_threads()} threads, {parts}; milliseconds, medians")

    found = {}
    for shape, count in Counter(matrices(config)).items():
        rows = muon.rows_together(min(shape), block)
        x = torch.randn(count * min(shape) // rows, rows, max(shape))
        x /= x.norm(dim=(1, 2), keepdim=True)
        ways = {name: lambda way=way, x=x: way(x) for name, way in WAYS.items()}
        label = f"{count:>3} of {shape[0]} × {shape[1]}"
        found[label.strip()] = compare(label, ways, args.rounds)

    model = GPT.build(config, seed=0, dtype=torch.float32)
    run_here(model, device, compile_rows=recipe.base.micro_rows if machine.compile else None)
    optimizers = Optimizers(model, recipe.optim)
    batch = a_batch(recipe.base.tokens_per_step // config.sequence_len, config.sequence_len, config.vocab_size, True)
    muon.multiplies_bfloat16 = lambda device: False

    def step(name: str) -> None:
        muon._iterate_factor = WAYS[name]
        optimize(model, optimizers, batch, recipe.base.micro_rows, 0, 1.0)

    found["a step"] = compare("a step", {name: lambda name=name: step(name) for name in WAYS}, args.rounds)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
