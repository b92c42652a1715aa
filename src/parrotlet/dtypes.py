"""The number formats that models are computed in, and whether a machine is quick at them."""

from __future__ import annotations

import functools

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@functools.cache
def multiplies_bfloat16(device: str) -> bool:
    """Whether matrices of bfloat16 are multiplied by instructions for it, on a type of device.

    A processor without them takes some eighty times as long for it as for float32: docs/performance-log.md.
    """
    if device == "cpu":
        capable = torch.cpu.get_capabilities()
        return bool(capable.get("amx_bf16") or capable.get("avx512_bf16"))
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
