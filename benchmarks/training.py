"""Base training on a CPU beside nanochat's: whole processes, one after the other in turns, on the same text.

    python benchmarks/training.py --data HUB --nanochat DIR --home HOME [--rounds 3]
    python benchmarks/training.py --data HUB --nanochat DIR --home HOME --bpb 5 12.5

HUB is a folder in the Hub's layout that holds the text of text-en.toml; DIR a checkout of nanochat, HOME its base
folder (NANOCHAT_BASE_DIR) with the same text and a tokenizer of 8,192 tokens. What it imports must be installed
beside (--python). Without --nanochat only Parrotlet is measured.

The first form tells tokens a second of a training step, optimiser included (median over the steps after the third),
seconds from the start of the process to the end of the first step, and peak memory, both of the shape of text-en.toml.
In the first turn nothing is compiled yet; after it, each finds what it compiled before.
The second tells the bits per byte of the validation text that so many minutes of wall clock end with, the final
validation included, of text-en-bpb.toml for every seed of --seeds, and of nanochat at the shape of text-en.toml or at
other depths (--depths): the number of steps is set from a short run before, and the wall clock that it took is told.
"""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from parrotlet.dtypes import multiplies_bfloat16

SAME_SHAPE, BEST = (Path(__file__).with_name(name) for name in ("text-en.toml", "text-en-bpb.toml"))
"""The shape of both, and what is best for ours."""
ROWS = 16
"""Of a micro-batch of nanochat; text-en.toml has 8, which takes less memory. Parrotlet is measured with both."""
NANOCHAT = ["--head-dim=64", "--window-pattern=L", "--max-seq-len=512", f"--device-batch-size={ROWS}"]
NANOCHAT += ["--core-metric-every=-1", "--sample-every=-1", "--device-type=cpu", "--eval-tokens=524288"]
DEPTH, STEP_TOKENS = 4, 8192
"""Of text-en.toml, and so of nanochat unless --depths says otherwise."""
PROBE_TOKENS = 98_304
"""Of the run that the number of steps follows from."""


@dataclass
class Outcome:
    steps: int
    tokens_per_second: float
    first_step: float
    """Seconds from the start of the process."""
    wall: float
    gigabytes: float
    bits_per_byte: float | None


def started(command: list[str], log: Path, **env: str) -> subprocess.Popen[bytes]:
    """A process that writes to `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(command, env=os.environ | env, stdout=file, stderr=subprocess.STDOUT, cwd=log.parent)


def watched(process: subprocess.Popen[bytes], began: float, log: Path, stepped: Callable[[], bool]) -> dict[str, float]:
    """Wait for the end; when `stepped` was true first, the wall clock, and the peak of memory."""
    first = kilobytes = 0.0
    while process.poll() is None:
        kilobytes = max(kilobytes, peak(process.pid))
        if not first and stepped():
            first = time.perf_counter() - began
        time.sleep(0.1)
    if process.returncode or not first:
        raise SystemExit(f"{process.args} failed:\n{log.read_text()[-2000:]}")
    return {"first_step": first, "wall": time.perf_counter() - began, "gigabytes": kilobytes / 2**20}


def peak(pid: int) -> float:
    """The most memory that a process has had so far, in kB (Linux; 0 elsewhere and for a process that has ended)."""
    try:
        return float(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    except (OSError, IndexError):
        return 0.0


def parrotlet(args: argparse.Namespace, recipe: Path, folder: Path, steps: int, *changes: str) -> Outcome:
    """A run of its own, with the tokenizer trained before."""
    tail = ["--recipe", str(recipe), "--run", str(folder)]
    tail += ["--set", "machine.device=cpu", f"data.hub={args.data}", f"base.num_iterations={steps}", *changes]
    command = [sys.executable, "-m", "parrotlet", "train"]
    subprocess.run([*command, "tokenizer", *tail], check=True, capture_output=True)
    log, metrics = folder.with_suffix(".log"), folder / "base" / "metrics.jsonl"
    began = time.perf_counter()
    times = watched(
        started([*command, "base", *tail], log), began, log, lambda: metrics.exists() and metrics.stat().st_size > 0
    )
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    bits = re.findall(r"val_bpb ([\d.]+)", log.read_text())
    rates = [line["tokens"] / line["seconds"] for line in lines]
    return Outcome(steps, statistics.median(rates[3:]), bits_per_byte=float(bits[-1]) if bits else None, **times)


def nanochat(
    args: argparse.Namespace, folder: Path, steps: int, dtype: str, depth: int = DEPTH, validates: bool = False
) -> Outcome:
    """nanochat's base training as its users start it; its width is 64 times its depth.

    If it `validates` it does so before the first step, too.
    """
    folder.mkdir()
    env = {"NANOCHAT_BASE_DIR": args.home, "NANOCHAT_DTYPE": dtype, "WANDB_MODE": "disabled"}
    env |= {"PYTHONPATH": os.pathsep.join([args.nanochat, *args.path]), "PYTHONUNBUFFERED": "1"}
    command = [args.python, "-m", "scripts.base_train", *NANOCHAT, f"--depth={depth}"]
    command += [f"--total-batch-size={STEP_TOKENS}", f"--model-tag={folder.name}"]
    command += [f"--num-iterations={steps}", f"--eval-every={steps if validates else -1}"]
    log, began = folder / "log.txt", time.perf_counter()
    times = watched(started(command, log, **env), began, log, lambda: "tok/sec" in log.read_text())
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"tok/sec: ([\d,]+)", log.read_text())]
    bits = re.findall(r"Validation bpb: ([\d.]+)", log.read_text())
    return Outcome(steps, statistics.median(rates[3:]), bits_per_byte=float(bits[-1]) if bits else None, **times)


def its_best_dtype() -> str:
    """What nanochat is fastest in here."""
    return "bfloat16" if multiplies_bfloat16("cpu") else "float32"


def throughput(args: argparse.Namespace, folder: Path) -> dict[str, list[Outcome]]:
    little = f"base.eval_tokens={STEP_TOKENS}"
    ways = {"Parrotlet": lambda at: parrotlet(args, SAME_SHAPE, at, args.steps, little)}
    rows = f"base.device_batch_size={ROWS}"
    ways[f"Parrotlet, {ROWS} rows"] = lambda at: parrotlet(args, SAME_SHAPE, at, args.steps, little, rows)
    if args.nanochat:
        for dtype in dict.fromkeys([its_best_dtype(), "float32"]):
            ways[f"nanochat, {dtype}"] = lambda at, dtype=dtype: nanochat(args, at, args.steps, dtype)
    found = {name: [] for name in ways}
    for turn in range(args.rounds):
        for number, (name, way) in enumerate(ways.items()):
            cache = folder / f"cache-{number}"
            os.environ |= {"TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"), "PARROTLET_CACHE": str(cache)}
            found[name].append(replace(way(folder / f"{turn}-{number}"), bits_per_byte=None))
            keep(args.json, found)
            print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


def keep(file: Path | None, found: dict[str, list[Outcome]]) -> None:
    """What was measured so far."""
    if file:
        file.write_text(json.dumps({name: [asdict(o) for o in outs] for name, outs in found.items()}, indent=1))


def print_table(found: dict[str, list[Outcome]]) -> None:
    first = next(iter(found.values()))
    columns: list[tuple[str, str, str, Callable[[list[Outcome]], float]]] = [
        ("tokens/s", ",.0f", "", lambda outs: statistics.median(o.tokens_per_second for o in outs)),
        ("first step", ".1f", " s", lambda outs: outs[0].first_step),
        ("again", ".1f", " s", lambda outs: statistics.median(o.first_step for o in outs[1:] or outs)),
        ("memory", ".2f", " GB", lambda outs: statistics.median(o.gigabytes for o in outs)),
    ]
    print(f"{'':<20}" + "".join(f"{title:>12}{'ratio':>8}" for title, *_ in columns))
    for name, outcomes in found.items():
        row = f"{name:<20}"
        for title, form, unit, value in columns:
            mine, ours = value(outcomes), value(first)
            better = ours / mine if title == "tokens/s" else mine / (ours or math.nan)  # (no memory is known on a Mac)
            row += f"{format(mine, form) + unit:>12}{better:>7.2f}×"
        print(row)
    print("medians; ratios: how many times better Parrotlet is")


def bits_per_byte(args: argparse.Namespace, folder: Path) -> dict[str, list[Outcome]]:
    """Ours after the first number of minutes, for every seed; nanochat's after the second."""
    ours, theirs = args.bpb
    overrides = dict(change.split("=", 1) for change in args.set)
    step_tokens = int(overrides.get("base.tokens_per_step", tomllib.loads(BEST.read_text())["base"]["tokens_per_step"]))
    few = PROBE_TOKENS // step_tokens
    steps = steps_in(ours * 60, parrotlet(args, BEST, folder / "probe", few, *args.set), few, step_tokens)
    found = {f"Parrotlet, {ours:g} min": []}
    for seed in args.seeds:
        outcome = parrotlet(args, BEST, folder / f"seed-{seed}", steps, f"seed={seed}", *args.set)
        found[f"Parrotlet, {ours:g} min"].append(outcome)
        keep(args.json, found)
        print(f"Parrotlet, seed {seed}, {steps} steps of {step_tokens:,} tokens: {outcome}", flush=True)
    for depth in args.depths if args.nanochat else ():
        probe = nanochat(args, folder / f"probe-{depth}", args.steps, its_best_dtype(), depth, validates=True)
        steps = steps_in(theirs * 60, probe, args.steps, STEP_TOKENS)
        outcome = nanochat(args, folder / f"depth-{depth}", steps, its_best_dtype(), depth, validates=True)
        found[f"nanochat, depth {depth}, {theirs:g} min"] = [outcome]
        keep(args.json, found)
        print(f"nanochat, depth {depth}, {steps} steps of {STEP_TOKENS:,} tokens: {outcome}", flush=True)
    return found


def absolute(path: str) -> str:
    """The processes work elsewhere. (Links stay: the interpreter of a virtual environment is one.)"""
    return str(Path(path).absolute())


def steps_in(seconds: float, probe: Outcome, few: int, step_tokens: int) -> int:
    """How many steps go into so many seconds of wall clock, if a few of them and all the rest took what `probe` did;
    2 % are kept free."""
    return few + int((0.98 * seconds - probe.wall) * probe.tokens_per_second / step_tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder in the Hub's layout; hub: download it")
    parser.add_argument("--nanochat", help="a checkout of nanochat")
    parser.add_argument("--home", help="its NANOCHAT_BASE_DIR")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that nanochat runs with")
    parser.add_argument("--path", nargs="*", default=[], help="folders with what nanochat imports")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help=f"of {STEP_TOKENS} tokens, a run")
    parser.add_argument("--bpb", nargs=2, type=float, metavar="MINUTES", help="ours, theirs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42], help="of ours, with --bpb")
    parser.add_argument("--depths", nargs="+", type=int, default=[DEPTH], help="of nanochat, with --bpb")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes of text-en-bpb.toml, with --bpb"
    )
    parser.add_argument("--json", type=Path, help="write all outcomes here")
    args = parser.parse_args()
    if args.nanochat and not args.home:
        parser.error("--nanochat needs --home")
    if args.steps < 4:
        parser.error("--steps: 4 or more; the first three are not counted")
    args.data = args.data if args.data == "hub" else absolute(args.data)
    args.nanochat, args.home = (path and absolute(path) for path in (args.nanochat, args.home))
    args.path = list(map(absolute, args.path))
    args.python = absolute(shutil.which(args.python) or parser.error(f"--python {args.python}: not there"))
    with tempfile.TemporaryDirectory() as folder:
        found = (bits_per_byte if args.bpb else throughput)(args, Path(folder))
    if not args.bpb:
        print_table(found)


if __name__ == "__main__":
    main()
