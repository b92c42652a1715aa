"""What naming the sources of every step costs, beside the step itself.

python benchmarks/provenance.py --recipe tiny
"""

import argparse
import itertools
import statistics
import time

from parrotlet.data import count_sources
from parrotlet.inspect import Material
from parrotlet.model import GPT
from parrotlet.optim import Optimizers
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train.loop import optimize
from parrotlet.train.machine import resolve_machine, use_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    material = Material(Recipe.load(args.recipe))
    recipe = material.recipe
    device, dtype = use_machine(resolve_machine(recipe.machine))
    model = GPT.build(recipe.model.config(material.tokenizer.vocab_size), seed=0, device=device, dtype=dtype)
    optimizers = Optimizers(model, recipe.optim)
    for name, stage in STAGES.items():
        steps, counting = [], []
        for batch in itertools.islice(material.batches(stage, 0), args.steps):
            began = time.perf_counter()
            optimize(model, optimizers, batch, recipe.stage(name).micro_rows, 0, 0.1)
            between = time.perf_counter()
            count_sources(batch)
            steps.append(between - began)
            counting.append(time.perf_counter() - between)
        step, count = statistics.median(steps[1:]), statistics.median(counting[1:])
        print(f"{name:<5} step {1e3 * step:7.1f} ms  sources {1e3 * count:6.3f} ms  {100 * count / step:.2f} %")


if __name__ == "__main__":
    main()
