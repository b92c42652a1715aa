"""What the depth dial gives: bits per byte after equally many steps, by depth, and at other learning rates.

    python benchmarks/depth.py --data HUB [--depths 2 4 6 8 12] [--steps 100] [--rates 1] [--json FILE]

Trains base of text-en.toml (vocabulary 8,192, rows of 512) in steps of 4,096 tokens; the model of a depth is 64 times
as wide, in heads of 64. `--rates 0.5 1 2` multiplies all learning rates. A depth stays good if a deeper model has fewer
bits per byte, and if no other rate gives clearly fewer.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, fields
from pathlib import Path

from training import SAME_SHAPE, absolute, parrotlet

from parrotlet.optim import OptimSettings
from parrotlet.recipe import Recipe


def changes(depth: int, rate: float) -> list[str]:
    settings = Recipe.load(SAME_SHAPE).optim
    rates = [field.name for field in fields(OptimSettings) if field.name.endswith("_lr")]
    shape = [f"model.depth={depth}", f"model.width={64 * depth}", f"model.heads={depth}"]
    return [*shape, *(f"optim.{name}={rate * getattr(settings, name)}" for name in rates)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder in the Hub's layout; hub: download it")
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 4, 6, 8, 12])
    parser.add_argument("--steps", type=int, default=100, help="of 4,096 tokens")
    parser.add_argument("--rates", nargs="+", type=float, default=[1.0], help="factors of all learning rates")
    parser.add_argument("--json", type=Path, help="write all outcomes here")
    args = parser.parse_args()
    args.data = args.data if args.data == "hub" else absolute(args.data)
    always = ["base.tokens_per_step=4096", "base.eval_tokens=131072"]
    found = []
    print(f"{'depth':>5}{'rates':>7}{'bits per byte':>15}{'tokens/s':>10}{'wall clock':>12}{'memory':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for depth in args.depths:
            for rate in args.rates:
                run = Path(folder) / f"{depth}-{rate}"
                out = parrotlet(args, SAME_SHAPE, run, args.steps, *always, *changes(depth, rate))
                print(
                    f"{depth:>5}{rate:>6g}×{out.bits_per_byte:>15.3f}{out.tokens_per_second:>10,.0f}"
                    f"{out.wall:>10,.0f} s{out.gigabytes:>7.2f} GB",
                    flush=True,
                )
                found.append({"depth": depth, "rates": rate} | asdict(out))
                if args.json:
                    args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
