"""What a step takes on 8 to 1,024 devices, on paper: where scaling stops, and what stops it.

    python benchmarks/scaling.py --recipe speedrun --depth 20

The assumptions are those of `parrotlet.train.estimate`: communication runs beside the computation, except for Muon's;
the devices of a machine are joined by NVLink, machines by a network card of 400 Gb/s for each device.
"""

import argparse

from parrotlet.recipe import Recipe
from parrotlet.train.estimate import memory, step
from parrotlet.train.hardware import Hardware


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="speedrun")
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--kind", default="H100")
    args = parser.parse_args()
    recipe = Recipe.load(args.recipe, {"model.depth": args.depth})
    config = recipe.model.config(recipe.tokenizer.vocab_size)
    tokens, base = recipe.base.tokens_per_step, None
    print(f"{args.recipe}, depth {args.depth}, {tokens:,} tokens a step; milliseconds")
    print(f"{'devices':>8} {'rows':>5} {'computing':>10} {'sending':>8} {'Muon':>6} {'step':>7} {'efficiency':>11}  GB")
    for count in (8, 16, 32, 64, 128, 256, 512, 1024):
        rows = tokens / config.sequence_len / count
        micro = max(1, round(rows / recipe.base.micro_rows))
        found = step(config, Hardware(count, args.kind), tokens, micro)
        base = base or 8 * found.seconds
        idle = min(1.0, rows)  # fewer rows than devices: some have nothing to do
        seconds = max(found.compute / idle, found.traffic) + found.muon + found.muon_traffic
        ms = [1000 * s for s in (found.compute / idle, found.traffic, found.muon + found.muon_traffic, seconds)]
        held = memory(config, max(1, round(min(rows, recipe.base.micro_rows))), count).state / 1e9
        print(
            f"{count:>8,} {rows:>5.3g} {ms[0]:>10.1f} {ms[1]:>8.1f} {ms[2]:>6.1f} {ms[3]:>7.1f} "
            f"{100 * base / count / seconds:>9.0f} %  {held:.2f}"
        )


if __name__ == "__main__":
    main()
