"""Decides, once a run, how many rows the device computes at a time, where the recipe leaves it open.

More rows at a time are larger matrix products and more memory. Which number is fastest depends on caches, cores and
kernels: so a few are tried, with the blocks not compiled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from .. import ranks
from ..data import Batch
from ..model import GPT, ModelConfig
from ..progress import ProgressLine
from ..recipe import MachineSettings, Recipe, StageSettings
from ..stages import STAGES, StageName
from . import estimate
from .machine import container_limits, use_machine
from .parallel import run_here

MOST_ROWS = 256
TRIES = 3
"""Each number of rows is timed so often, after once for nothing; the fastest counts."""
NEAR = 0.97
"""The fewest rows win that reach this share of the best pace: they take less memory, and fit a short rest better."""


def resolve_micro_batches(recipe: Recipe) -> Recipe:
    """The recipe with every `device_batch_size = "auto"` decided; its machine's settings have to be."""
    names: list[StageName] = [name for name in STAGES if recipe.stage(name).device_batch_size == "auto"]
    if not names:
        return recipe
    config = recipe.model.config(recipe.tokenizer.vocab_size)
    most = {name: most_rows(recipe, recipe.stage(name)) for name in names}
    line = ProgressLine("probe", 0)
    pace = measure_pace(config, recipe.machine, max(most.values()), line)
    chosen = [choose_rows(pace, recipe.stage(name), config.sequence_len, most[name]) for name in names]
    decided = dict(zip(names, chosen, strict=True))
    line.close(f"rows at a time: {', '.join(f'{name} {rows}' for name, rows in decided.items())}")
    torch.cuda.empty_cache()  # other processes may need it; nothing where there is no CUDA
    stages = {name: replace(recipe.stage(name), device_batch_size=decided[name]) for name in names}
    return replace(recipe, **stages)


def measure_pace(config: ModelConfig, machine: MachineSettings, most: int, line: ProgressLine) -> dict[int, float]:
    """Tokens a second of forward and backward passes by rows: 1, 2, 4, … up to `most`, as far as the memory and
    growing pace go."""
    device, dtype = use_machine(machine)
    model = GPT.build(config, seed=0, device=device, dtype=dtype)
    run_here(model, device, recompute=machine.recompute)
    room = estimate.SAFE * _memory(device)
    state = estimate.memory(config, 1, ranks.world_size(), recompute=machine.recompute, dtype=dtype).state
    pace: dict[int, float] = {}
    for rows in (2**n for n in range(min(most, MOST_ROWS).bit_length())):
        planned = estimate.memory(config, rows, ranks.world_size(), recompute=machine.recompute, dtype=dtype).peak
        if pace and (planned > room or list(pace.values())[-1] < NEAR * max(pace.values())):
            break
        try:
            seconds, taken = _try(model, rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        if pace and taken + state > room:
            break
        pace[rows] = rows * config.sequence_len / seconds
        line.update(rows, f"rows at a time: {pace[rows]:,.0f} tokens/s")
    return pace or {1: 0.0}


def choose_rows(pace: Mapping[int, float], settings: StageSettings, sequence_len: int, most: int) -> int:
    """The fewest rows near the best pace, of those that a step of the stage can be cut into."""
    whole = (settings.tokens_per_step or 0) // sequence_len
    fitting = {rows: tokens for rows, tokens in pace.items() if rows <= most and whole % rows == 0} or {1: 0.0}
    return min(rows for rows, tokens in fitting.items() if tokens >= NEAR * max(fitting.values()))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had too little memory; a CPU's and MPS's have no class of their own in torch."""
    told = ("out of memory", "DefaultCPUAllocator: can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in told)


def any_batch(rows: int, config: ModelConfig) -> Batch:
    """Random tokens, every one supervised."""
    ids = torch.randint(config.vocab_size, (rows, config.sequence_len))
    positions = torch.arange(config.sequence_len).expand_as(ids)
    return Batch(ids, ids.roll(-1, 1), positions, torch.zeros_like(ids), sources=((),) * rows, attends="row")


def most_rows(recipe: Recipe, settings: StageSettings) -> int:
    """How many rows a rank has in a step, at most: a conversation takes a row at most."""
    rows = settings.conversations_per_step or (settings.tokens_per_step or 0) // recipe.model.sequence_len
    return max(1, -(-rows // ranks.world_size()))


def _try(model: GPT, rows: int) -> tuple[float, float]:
    """Seconds of a forward and a backward pass, and bytes of the accelerator that they took beside the state."""
    device = next(model.parameters()).device
    batch, on_gpu = any_batch(rows, model.config).to(device), device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    model.zero_grad()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    seconds = []
    for _ in range(1 + TRIES):
        model.zero_grad()
        began = time.perf_counter()
        loss = model.loss_sum(batch.inputs, batch.targets, batch.positions)
        (loss / batch.tokens).backward()
        loss.item()  # waits for an accelerator
        seconds.append(time.perf_counter() - began)
    taken = torch.cuda.max_memory_allocated() - before if on_gpu else 0
    return min(seconds[1:]), taken


def _memory(device: torch.device) -> float:
    """Bytes of the device that nobody uses; of a CPU, or where nobody tells, half of what the machine has, or of what
    its container may have."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *container_limits("memory.max")]) / 2
