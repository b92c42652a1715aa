"""`parrotlet plan`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import torch
import tyro
from rich.table import Table

from ..errors import UserError
from ..model import GPT, ModelConfig
from ..optim import Optimizers
from ..recipe import Recipe
from ..train import duration
from ..train import estimate as of
from ..train.hardware import Hardware
from ..train.loop import optimize
from ..train.machine import resolve_machine, use_machine
from ..train.micro_batch import any_batch, resolve_micro_batches
from ..train.parallel import run_here
from ..train.setup import horizon
from .console import plain_console
from .options import RecipeOptions

DEPTHS = "8,12,16,20,26,32"
PROBE_STEPS = 3


def plan(
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    hardware: str = "8xH100",
    depths: str = DEPTHS,
    price: float | None = None,
    probe: bool = False,
) -> None:
    """What base training takes: memory, time, cost, from the recipe alone; nothing is fetched or trained.

    How long mid and sft are depends on their data; they tell when they begin. The time follows from two published
    runs on 8×H100 (docs/distributed.md).

    Args:
        hardware: How many devices of which kind, such as 8xH100.
        depths: Depths for the second table, separated by commas; each with the recipe's other figures.
        price: US dollars a device and hour. Default: about what clouds ask.
        probe: Run three steps of one micro-batch on this machine's device as well, and tell how fast they were.
    """
    recipe, there = options.look(), Hardware.parse(hardware)
    price = there.device.price if price is None else price
    console = plain_console()
    console.print(_details(recipe, there, price))
    if depths:
        console.print(_miniseries(recipe, there, price, _numbers(depths)))
    if probe:
        console.print(_probe(recipe))


def _numbers(text: str) -> list[int]:
    if not all(part.strip().isdigit() and int(part) for part in text.split(",")):
        raise UserError(f"--depths {text}: numbers, separated by commas, such as {DEPTHS}")
    return [int(part) for part in text.split(",")]


class _Planned:
    """The figures of one recipe on some hardware."""

    def __init__(self, recipe: Recipe, hardware: Hardware) -> None:
        self.config: ModelConfig = recipe.model.config(recipe.tokenizer.vocab_size)
        self.tokens_per_step = recipe.base.tokens_per_step or 0
        self.steps = horizon(recipe.base, self.config)
        self.tokens = self.steps * self.tokens_per_step
        own_rows = -(-self.tokens_per_step // self.config.sequence_len // hardware.count)
        recompute = recipe.machine.recompute
        self.largest = of.largest_rows(self.config, hardware, own_rows, recompute=recompute)
        asked = recipe.base.device_batch_size
        self.rows = (self.largest or 1) if asked == "auto" else min(asked, own_rows)
        self.memory = of.memory(self.config, self.rows, hardware.count, recompute=recompute)
        self.step = of.step(
            self.config, hardware, self.tokens_per_step, -(-own_rows // self.rows), recipe.optim.matrix_block
        )
        self.seconds = self.steps * self.step.seconds * (4 / 3 if recompute else 1)
        self.fits = self.memory.peak <= of.SAFE * hardware.device.gigabytes * 1e9

    def cost(self, hardware: Hardware, price: float) -> float:
        """In US dollars."""
        return self.seconds / 3600 * hardware.count * price


def _details(recipe: Recipe, hardware: Hardware, price: float) -> Table:
    p = _Planned(recipe, hardware)
    m, s = p.memory, p.step
    blocks, rest = of.split_parameters(p.config)
    room = of.SAFE * hardware.device.gigabytes
    text = p.tokens * of.CHARACTERS_PER_TOKEN
    table = Table(box=None, pad_edge=False, show_header=False, title=f"{recipe.name}, base, on {hardware}")
    millions = [f"{n / 1e6:,.0f}" for n in (p.config.num_parameters, blocks, rest)]
    ms = [f"{1000 * seconds:,.0f}" for seconds in (s.seconds, s.compute, s.traffic, s.muon + s.muon_traffic)]
    lines = {
        "parameters": f"{millions[0]} million: {millions[1]} in the blocks, {millions[2]} in embedding and head",
        "tokens": f"{_amount(p.tokens)} in {p.steps:,} steps of {p.tokens_per_step:,}",
        "operations": f"{p.config.flops_per_token * p.tokens:.2e}",
        "memory a device": f"{_size(m.peak)} of {room:.0f} GB that are safe{'' if p.fits else ': TOO MUCH'}",
        "  all the time": f"parameters {_size(m.parameters)}, gradients {_size(m.gradients)}, "
        f"optimiser {_size(m.optimizer)}",
        "  computing": f"activations {_size(m.activations)}, loss {_size(m.loss)}, gathered {_size(m.gathered)}",
        "  or in the optimiser": f"Muon {_size(m.muon)}",
        "micro-batch": f"{p.rows} rows; safe {f'up to {p.largest}' if p.largest else 'is not even one'}",
        "a step": f"{ms[0]} ms: computing {ms[1]} beside sending {ms[2]}, then Muon {ms[3]}",
        "time": f"{duration(p.seconds)} without measuring, at {100 * of.utilisation(p.config.width):.0f} % of the peak",
        "cost": f"${p.cost(hardware, price):,.0f} at ${price:g} a device and hour",
        "checkpoint": _size((m.parameters + m.optimizer) * hardware.count),
        "texts": f"{_amount(text)} characters, some {_size(text * of.BYTES_PER_CHARACTER)} to download",
    }
    for name, line in lines.items():
        table.add_row(name, line)
    return table


def _size(count: float) -> str:
    """Bytes, as people say it."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def _amount(count: float) -> str:
    return f"{count / 1e9:,.2f} billion" if count >= 1e8 else f"{count / 1e6:,.2f} million"


def _miniseries(recipe: Recipe, hardware: Hardware, price: float, depths: list[int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"by depth, on {hardware}")
    for name in ("depth", "parameters", "tokens", "operations", "GB a device", "rows", "time", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for depth in depths:
        model = replace(recipe.model, depth=depth, width=None, heads=None, kv_heads=None)
        p = _Planned(replace(recipe, model=model), hardware)
        table.add_row(
            str(depth),
            f"{p.config.num_parameters / 1e6:,.0f} M",
            f"{p.tokens / 1e9:,.1f} B",
            f"{p.config.flops_per_token * p.tokens:.1e}",
            f"{p.memory.peak / 1e9:.1f}",
            str(p.largest or "none"),
            duration(p.seconds),
            f"${p.cost(hardware, price):,.0f}",
        )
    return table


def _probe(recipe: Recipe) -> str:
    """How fast three steps of one micro-batch are here, and, on CUDA, the memory that they took."""
    machine = resolve_machine(recipe.machine)
    device, dtype = use_machine(machine)
    config = recipe.model.config(recipe.tokenizer.vocab_size)
    model = GPT.build(config, seed=0, device=device, dtype=dtype)
    rows = resolve_micro_batches(replace(recipe, machine=machine)).base.micro_rows
    run_here(model, device, recompute=machine.recompute, compile_rows=rows if machine.compile else None)
    optimizers, batch = Optimizers(model, recipe.optim), any_batch(rows, config)
    seconds = []
    for step in range(1 + PROBE_STEPS):  # the first one compiles
        began = time.perf_counter()
        optimize(model, optimizers, batch, rows, step, 1.0)
        seconds.append(time.perf_counter() - began)
    rate = PROBE_STEPS * batch.tokens / sum(seconds[1:])
    kept = f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most" if device.type == "cuda" else ""
    planned = of.memory(config, rows, 1, recompute=machine.recompute, dtype=dtype).peak / 1e9
    return f"here, {machine.device} {machine.dtype}: {rate:,.0f} tokens a second{kept} (planned: {planned:.1f} GB)"
