"""Decides, once a run, how it is computed: device, dtype, threads, compiled or not."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from .. import ranks
from ..cpp import torch_lacks
from ..dtypes import DTYPES, multiplies_bfloat16
from ..errors import UserError
from ..recipe import MachineSettings

CGROUP = Path("/sys/fs/cgroup")
"""The container's own, as it sees it."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


def resolve_machine(settings: MachineSettings) -> MachineSettings:
    """The settings with every `auto` and 0 decided for this machine."""
    device = _device(settings.device)
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if dtype not in DTYPES:
        raise UserError(f"machine.dtype must be auto, {' or '.join(DTYPES)}; found {dtype!r}")
    compiles = settings.compile
    if compiles == "auto":
        compiles = device != "mps" and can_compile(device)
    threads = settings.threads or _cores()
    return replace(settings, device=device, dtype=dtype, compile=compiles, threads=threads)


def use_machine(settings: MachineSettings) -> tuple[torch.device, torch.dtype]:
    """Set up torch for resolved settings; returns the device and the dtype to compute in.

    The ranks of a machine share its threads.
    """
    if ranks.world_size() > 1 and settings.device == "mps":
        raise UserError('several ranks compute on "cpu" or "cuda"; machine.device is "mps"')
    torch.set_num_threads(max(1, settings.threads // ranks.ranks_on_this_machine()))
    _keep_freed_memory()
    return torch.device(_device(settings.device)), DTYPES[settings.dtype]


def machine_here(settings: MachineSettings) -> MachineSettings:
    """How the model of a finished stage is asked: as it was trained, as far as this machine can.

    A run may come from another machine: from a GPU, or from a processor that is good at bfloat16.
    """
    here = replace(settings, threads=min(settings.threads, _cores()))
    if not _there(here.device):
        here = replace(here, device=_device("auto"))
    if here.dtype == "bfloat16" and not multiplies_bfloat16(here.device):
        here = replace(here, dtype="float32")
    return here


def _keep_freed_memory() -> None:
    """Let the C library keep what tensors free for the next ones (glibc; nothing happens elsewhere).

    It gives back to the system whatever is larger than 32 MiB at most, and every step then waits for the system to fill
    thousands of pages with zeros.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def give_back_freed_memory() -> None:
    """Give it back to the system after all, where what comes next has other sizes and would not fit into it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


_THERE = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
"""The types of device, the best first."""


def _device(name: str) -> str:
    if name == "auto":
        return next(filter(_there, _THERE))
    if name not in _THERE:
        raise UserError(f"machine.device must be auto, {', '.join(_THERE)}; found {name!r}")
    if not _there(name):
        raise UserError(f"machine.device is {name!r}, but torch sees none here; use auto or cpu")
    return name


def _there(device: str) -> bool:
    return _THERE[device]()


@functools.cache
def can_compile(device: str) -> bool:
    """Whether torch's compiler finds what it needs; says so once if it doesn't."""
    lacking = torch_lacks(device)
    if lacking and ranks.is_first():
        print(f"{lacking}: the blocks are not compiled, and a step takes longer", file=sys.stderr)
    return lacking is None


def _cores() -> int:
    """Those that this process may use: it may be kept to some of the machine's, or to a container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *container_limits("cpu.max")]))


def container_limits(name: str) -> list[int]:
    """What a container may have of something (Linux, cgroup v2): bytes of `memory.max`, CPUs of `cpu.max`, rounded up.
    Empty where there is no limit."""
    try:
        limit, *period = (CGROUP / name).read_text().split()
    except OSError:
        return []
    return [-(-int(limit) // int(period[0] if period else 1))] if limit != "max" else []
