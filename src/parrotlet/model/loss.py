"""Cross-entropy fused with the head: the logits of all positions never exist at once.

    N supervised positions, n positions of a chunk, C width, V vocabulary
    scores = hidden · weightᵀ,  logits = softcap · tanh(scores / softcap)

In the losses, tanh(x) is computed as 1 - 2u with u = sigmoid(-2x), which takes a third of the time on a CPU. (Its
absolute error is 1e-7, that of float32 near 1; `softcapped_logits` is exact near 0, too.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import kernels

CHUNK = 512
"""Positions whose logits exist at a time on a CPU. They stay in its cache then: for 8,192 positions, vocabulary
8,192, width 256, bfloat16 it took 0.32 s; chunks of 256 took 0.34 s, of 2,048 0.36 s."""
GRAIN = 64
"""On a CPU, positions are computed by multiples of this. oneDNN compiles the products of every new number of them and
keeps what it compiled, on one with AMX for milliseconds and in megabytes: all the numbers that sft supervises were
gigabytes."""
LARGE_CHUNK = 2048
"""The same on accelerators, and on a CPU that multiplies by tiles: fewer and larger products are faster there. (4,096
positions, vocabulary 8,192, width 256 on a CPU with AMX: 61 ms, chunks of 512 67 ms.)"""


def softcapped_logits(hidden: Tensor, weight_VC: Tensor, softcap: float) -> Tensor:
    """Logits (…, V) of hidden states (…, C), at least float32."""
    scores = hidden @ weight_VC.to(hidden.dtype).T
    return softcap * torch.tanh(scores.to(_at_least_float32(hidden)) / softcap)


def linear_cross_entropy(hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, softcap: float) -> Tensor:
    """Sum over N positions of the cross-entropy of their logits, in nats; a scalar, at least float32.

    Where gradients are wanted they are computed together with the loss, chunk by chunk.
    """
    if torch.is_grad_enabled():
        return _LinearCrossEntropy.apply(hidden_NC, weight_VC, targets_N, softcap)
    return token_cross_entropy(hidden_NC, weight_VC, targets_N, softcap).sum()


@torch.no_grad()
def token_cross_entropy(hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, softcap: float) -> Tensor:
    """Cross-entropy of every position, in nats, (N,), at least float32; no gradient."""
    weight, (hidden, targets) = weight_VC.to(hidden_NC.dtype), _filled_up(hidden_NC, targets_N)
    losses = hidden.new_empty(len(targets), dtype=_at_least_float32(hidden))
    for part, scores_nV in _scores(hidden, weight):
        losses[part] = _losses(scores_nV, targets[part], softcap, gradients=False)
    return losses[: len(targets_N)]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, softcap: float) -> Tensor:
        weight, (hidden, targets) = weight_VC.to(hidden_NC.dtype), _filled_up(hidden_NC, targets_N)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight_VC)
        of_part = torch.empty_like(weight)
        losses = hidden.new_empty(len(targets), dtype=_at_least_float32(hidden))
        for part, scores_nV in _scores(hidden, weight):
            losses[part] = _losses(scores_nV, targets[part], softcap, gradients=True)
            torch.mm(scores_nV, weight, out=grad_hidden[part])
            grad_weight += torch.mm(scores_nV.T, hidden[part], out=of_part)
        ctx.save_for_backward(grad_hidden[: len(targets_N)], grad_weight)
        return losses[: len(targets_N)].sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad_outputs[0], grad_weight * grad_outputs[0], None, None


def _losses(scores_nV: Tensor, targets_n: Tensor, softcap: float, *, gradients: bool) -> Tensor:
    """A chunk's losses, (n,). If their gradients are asked for, the scores become them."""
    if kernels.available(scores_nV.device, scores_nV.dtype):
        return kernels.cross_entropy(scores_nV, targets_n, softcap, gradients=gradients)
    # d loss / d logit = probability - 1 at the target; d logit / d score = 4u(1 - u).
    # Capped logits are bounded: there is no need to subtract their maximum first.
    u_nV, targets_n1 = scores_nV.to(_at_least_float32(scores_nV)).mul_(-2 / softcap).sigmoid_(), targets_n[:, None]
    exp_nV = torch.add(u_nV.new_full((), softcap), u_nV, alpha=-2 * softcap).exp_()
    sum_n1 = exp_nV.sum(1, keepdim=True)
    losses_n1 = sum_n1.log() - softcap * (1 - 2 * u_nV.gather(1, targets_n1))
    if gradients:
        exp_nV.mul_(4 / sum_n1).scatter_add_(1, targets_n1, torch.full_like(sum_n1, -4))
        scores_nV.copy_(exp_nV.mul_(torch.addcmul(u_nV, u_nV, u_nV, value=-1)))
    return losses_n1[:, 0]


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _filled_up(hidden_NC: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """On a CPU: up to a multiple of `GRAIN` positions, with hidden states of 0, which add nothing to any gradient."""
    missing = -len(targets_N) % GRAIN if hidden_NC.device.type == "cpu" else 0
    if not missing:
        return hidden_NC, targets_N
    return F.pad(hidden_NC, (0, 0, 0, missing)), F.pad(targets_N, (0, missing))


def _scores(hidden_NC: Tensor, weight_VC: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The scores (n, V) of one chunk after the other, each where the one before was: large tensors that come and go
    leave gaps in memory, which others don't fit into."""
    small = hidden_NC.device.type == "cpu" and not (hidden_NC.dtype == torch.bfloat16 and kernels.tiles())
    size = CHUNK if small else LARGE_CHUNK
    scores = hidden_NC.new_empty(min(size, len(hidden_NC)), len(weight_VC))
    for start in range(0, len(hidden_NC), size):
        part = slice(start, start + size)
        hidden_nC = hidden_NC[part]
        yield part, torch.mm(hidden_nC, weight_VC.T, out=scores[: len(hidden_nC)])
