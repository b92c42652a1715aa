"""What the fields of a recipe are worth: each taken away by itself, over seeds and depths, in as many steps.

    python benchmarks/confirm.py --data HUB [--steps 600] [--seeds 42 43 44] [--depths 2 3] [--json FILE]

Trains base of text-en-bpb.toml, with everything and without each of --without, one thread a run and two runs at a
time, and tells the bits per byte of 262,144 tokens of validation and the seconds of a step, beside the other run.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RECIPE = Path(__file__).with_name("text-en-bpb.toml")
WITHOUT = ("model.ngrams=0", "model.short_conv=false", "optim.matrix_block=0")


def measure(args: argparse.Namespace, folder: Path, depth: int, seed: int, change: str) -> dict[str, float]:
    """A run of its own; the tokenizer is there already, in the cache folder."""
    run = folder / re.sub(r"[^\w.=-]", "-", f"{depth}-{seed}-{change}")
    changes = [f"data.hub={args.data}", f"base.num_iterations={args.steps}", "base.eval_tokens=262144"]
    changes += ["machine.threads=1", f"model.depth={depth}", f"seed={seed}", *args.set, *([change] if change else [])]
    sets = [f"{key}={value}" for key, value in dict(each.split("=", 1) for each in changes).items()]  # the last counts
    tail = ["--recipe", str(RECIPE), "--run", str(run), "--set", *sets]
    log = ""
    for part in ("tokenizer", "base"):
        command = [sys.executable, "-m", "parrotlet", "train", part, *tail]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        log = done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{log[-2000:]}")
    lines = [json.loads(line) for line in (run / "base" / "metrics.jsonl").read_text().splitlines()]
    bits = float(re.findall(r"val_bpb ([\d.]+)", log)[-1])
    return {"bits_per_byte": bits, "step_seconds": statistics.median(line["seconds"] for line in lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder in the Hub's layout")
    parser.add_argument("--steps", type=int, default=600, help="of 4,096 tokens")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 3])
    parser.add_argument("--without", nargs="+", default=list(WITHOUT), metavar="KEY=VALUE", help="each by itself")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes of text-en-bpb.toml, in all")
    parser.add_argument("--json", type=Path, help="write all outcomes here")
    args = parser.parse_args()
    runs = list(itertools.product(args.depths, ("", *args.without), args.seeds))
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda run: measure(args, Path(folder), run[0], run[2], run[1]), runs)
        for number, ((depth, change, seed), outcome) in enumerate(zip(runs, outcomes, strict=True), start=1):
            found.setdefault((depth, change), []).append(outcome)
            said = f"{outcome['bits_per_byte']:.4f}, {outcome['step_seconds']:.3f} s a step"
            print(f"{number}/{len(runs)}  depth {depth}, seed {seed}, {change or 'all'}: {said}", file=sys.stderr)
    print(f"{'depth':<7}{'':<26}{'bits per byte':<{8 * len(args.seeds)}}{'more':>8}{'ms a step':>11}")
    for (depth, change), outcomes in found.items():
        bits, base = ([o["bits_per_byte"] for o in found[depth, name]] for name in (change, ""))
        more = statistics.mean(mine - other for mine, other in zip(bits, base, strict=True))
        ms = 1000 * statistics.median(o["step_seconds"] for o in outcomes)
        shown = "".join(f"{value:<8.4f}" for value in bits)
        print(f"{depth:<7}{change or 'everything':<26}{shown}{more:>+8.4f}{ms:>11.0f}")
    if args.json:
        table = [{"depth": depth, "change": change, "runs": runs} for (depth, change), runs in found.items()]
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
