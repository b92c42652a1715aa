"""Where the time of a training step on a CPU goes, by depth and row length, next to what matrix products can reach.

    python benchmarks/where.py                          # depth 2 to 8, rows of 512; depth 4, rows of 256 and 1,024
    python benchmarks/where.py --shapes 12x512 --tokens 4096

The model of a depth is 64 times as wide, in heads of 64, with a vocabulary of 8,192. A step has 8,192 tokens, in
two micro-batches. Tokens a second are the median of undisturbed steps; the shares come from torch's profiler.
"of peak" is a step's model FLOPs a second (`ModelConfig.flops_per_token`; the optimiser's are not counted) against a
single product of 2,048 × 1,024 × 1,024 in the same dtype, measured between the shapes.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from parrotlet.openmp import let_threads_sleep

let_threads_sleep()

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile
from train_step import a_batch

from parrotlet.dtypes import DTYPES
from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings
from parrotlet.recipe import MachineSettings
from parrotlet.train.loop import optimize
from parrotlet.train.machine import resolve_machine, use_machine
from parrotlet.train.parallel import run_here

PARTS = ("products", "attention", "loss", "optimiser", "rest")
OPTIMISER = ("Optimizer.step#Muon.step", "Optimizer.step#AdamW.step")


def peak(dtype: torch.dtype) -> float:
    """FLOPs a second of a large matrix product."""
    x, w = torch.randn(2048, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    return 2 * 2048 * 1024 * 1024 / median_seconds(lambda: F.linear(x, w), 15)


def median_seconds(work, times: int) -> float:
    found = []
    for turn in range(times + 2):
        began = time.perf_counter()
        work()
        if turn >= 2:  # the first ones warm up
            found.append(time.perf_counter() - began)
    return statistics.median(found)


def shares(step, times: int = 3) -> dict[str, float]:
    """Of the time of a step."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        began = time.perf_counter()
        for _ in range(times):
            step()
        whole = (time.perf_counter() - began) * 1e6
    found = dict.fromkeys(PARTS, 0.0)
    for event in profiled.events():
        part = part_of(event)
        if part and not any(part_of(above) for above in ancestors(event)):
            found[part] += event.cpu_time_total / whole
    return found | {"rest": 1 - sum(found.values())}


def part_of(event) -> str | None:
    if event.name == "_LinearCrossEntropy":
        return "loss"
    if event.name.startswith("parrotlet::attention") or "scaled_dot_product" in event.name:
        return "attention"
    if event.name in OPTIMISER:
        return "optimiser"
    return "products" if event.name in ("aten::mm", "aten::bmm") else None


def ancestors(event):
    while (event := event.cpu_parent) is not None:
        yield event


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["2x512", "4x512", "6x512", "8x512", "4x256", "4x1024"])
    parser.add_argument("--tokens", type=int, default=8192, help="a step")
    parser.add_argument("--dtype", default="auto", choices=["auto", *DTYPES])
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    machine = resolve_machine(MachineSettings(device="cpu", dtype=args.dtype))
    device, dtype = use_machine(machine)
    print(f"{machine.dtype}, {machine.threads} threads, {args.tokens:,} tokens a step")
    print(f"a large matrix product: {peak(dtype) / 1e9:.0f} GFLOP/s")
    print(
        f"{'depth':>5}{'width':>6}{'rows of':>8}{'params':>9}{'tokens/s':>10}{'of peak':>9}",
        *map("{:>10}".format, PARTS),
    )
    figures = []
    for shape in args.shapes:
        depth, length = map(int, shape.split("x"))
        config = ModelConfig.from_depth(depth, 8192, length, heads=depth, kv_heads=depth)
        rows, micro = args.tokens // length, max(1, args.tokens // length // 2)
        model = GPT.build(config, seed=0, dtype=dtype)
        run_here(model, device, compile_rows=micro if machine.compile else None)
        optimizers, batch = Optimizers(model, OptimSettings()), a_batch(rows, length, config.vocab_size, packed=False)

        def step(model=model, optimizers=optimizers, batch=batch, micro=micro):
            optimize(model, optimizers, batch, micro, 0, 1.0)

        seconds, most = median_seconds(step, 5), peak(dtype)
        reached, parts = config.flops_per_token * args.tokens / seconds / most, shares(step)
        row = (
            f"{depth:>5}{config.width:>6}{length:>8}{config.num_parameters / 1e6:>8.1f}M{args.tokens / seconds:>10,.0f}"
        )
        print(f"{row}{reached:>9.0%}", *(f"{share:>10.0%}" for share in parts.values()), flush=True)
        figures.append({"depth": depth, "width": config.width, "length": length, "dtype": machine.dtype})
        figures[-1] |= {"threads": machine.threads, "parameters": config.num_parameters, "peak_flops": most}
        figures[-1] |= {"tokens_per_second": args.tokens / seconds, "of_peak": reached, "shares": parts}
        if args.json:
            args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
