"""Attention, short convolutions and cross-entropy on a CPU, in C++ (`kernels.cpp`): what torch's own kernels take
longest for there.

B rows, T positions, H heads, K key/value heads, D head width, C width; N positions, V vocabulary
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from ..cpp import TRAINING, library
from ..dtypes import DTYPES

WITHOUT = "training takes about 1.4 times as long"
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there are kernels for it."""
    return device.type == "cpu" and dtype in NAMES and library(TRAINING, WITHOUT) is not None


def tiles() -> bool:
    """Whether the kernels are there, and multiply by the processor's tiles (AMX)."""
    kernels = library(TRAINING, WITHOUT)
    return kernels is not None and bool(kernels.has_tiles())


@torch.library.custom_op("parrotlet::attention", mutates_args=())
def attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, starts_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Causal softmax attention, (B, T, H, D), and the logarithms of the sums of the exponentials, (B, H, T).

    A position sees from its start, which never falls from one to the next, to itself. Each key/value head serves H / K
    query heads.
    """
    q, k, v = q_BTHD.contiguous(), k_BTKD.contiguous(), v_BTKD.contiguous()
    y, log_sums = torch.empty_like(q), _log_sums(q)
    _attend(False, starts_BT, q, k, v, y, log_sums)
    return y, log_sums


@attention.register_fake
def _(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, starts_BT: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q_BTHD, memory_format=torch.contiguous_format), _log_sums(q_BTHD)


@torch.library.custom_op("parrotlet::attention_gradients", mutates_args=())
def _gradients(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, y: Tensor, log_sums: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, dy = q.contiguous(), k.contiguous(), v.contiguous(), dy.contiguous()
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    _attend(True, starts, q, k, v, y, log_sums, dy, dq, dk, dv)
    return dq, dk, dv


@_gradients.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, y: Tensor, log_sums: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    return dq, dk, dv


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*_gradients(*ctx.saved_tensors, dy), None)


attention.register_autograd(_backward, setup_context=_keep)


def convolve(x_BTC: Tensor, weight_RC: Tensor, positions_BT: Tensor) -> Tensor:
    """`x_BTC` with the shares `weight_RC` of what stands 1, 2, … R = 3 before each position; see `ShortConv`."""
    positions_BT = positions_BT.expand(x_BTC.shape[:2])
    return _Convolution.apply(x_BTC.contiguous(), weight_RC.float().contiguous(), positions_BT.contiguous())


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, positions: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, positions)
        y = torch.empty_like(x)
        _convolve(False, positions, weight, x, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, positions = ctx.saved_tensors
        dx, dweight = torch.empty_like(x), weight.new_empty(len(x), *weight.shape)
        _convolve(True, positions, weight, x, None, grad_outputs[0].contiguous(), dx, dweight)
        return dx, dweight.sum(0), None


def cross_entropy(scores_NV: Tensor, targets_N: Tensor, softcap: float, *, gradients: bool) -> Tensor:
    """The loss of every position, in nats, (N,) float32; `scores_NV`, before the soft cap, become their gradients."""
    assert scores_NV.is_contiguous()
    targets, losses = targets_N.contiguous(), torch.empty(len(targets_N))
    _run(
        "cross_entropy",
        scores_NV.dtype,
        _CrossEntropyPass(
            *scores_NV.shape,
            gradients,
            torch.get_num_threads(),
            softcap,
            *(tensor.data_ptr() for tensor in (targets, scores_NV, losses)),
        ),
    )
    return losses


class _AttentionPass(ctypes.Structure):
    """As in kernels.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("B", "T", "heads", "kv_heads", "head_dim", "threads")),
        *((name, ctypes.c_void_p) for name in ("starts", "q", "k", "v", "y", "log_sums", "dy", "dq", "dk", "dv")),
    ]


class _ConvolutionPass(ctypes.Structure):
    """As in kernels.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("B", "T", "C", "threads")),
        *((name, ctypes.c_void_p) for name in ("positions", "weight", "x", "y", "dy", "dx", "dweight")),
    ]


class _CrossEntropyPass(ctypes.Structure):
    """As in kernels.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("N", "V", "gradients", "threads")),
        ("softcap", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("targets", "scores", "losses")),
    ]


def _attend(gradients: bool, starts: Tensor, q: Tensor, k: Tensor, *others: Tensor) -> None:
    B, T, H, D = q.shape
    pointers = (tensor.data_ptr() for tensor in (starts, q, k, *others))
    _run("attention", q.dtype, _AttentionPass(B, T, H, k.shape[2], D, torch.get_num_threads(), *pointers), gradients)


def _convolve(gradients: bool, positions: Tensor, weight: Tensor, x: Tensor, *others: Tensor | None) -> None:
    pointers = (None if tensor is None else tensor.data_ptr() for tensor in (positions, weight, x, *others))
    _run("convolution", x.dtype, _ConvolutionPass(*x.shape, torch.get_num_threads(), *pointers), gradients)


def _run(name: str, dtype: torch.dtype, described: ctypes.Structure, *flags: bool) -> None:
    kernels = library(TRAINING, WITHOUT)
    assert kernels is not None, "see `available`"
    getattr(kernels, f"{name}_{NAMES[dtype]}")(ctypes.byref(described), *map(ctypes.c_bool, flags))


def _log_sums(q_BTHD: Tensor) -> Tensor:
    B, T, H, _ = q_BTHD.shape
    return q_BTHD.new_empty(B, H, T, dtype=torch.float32)
