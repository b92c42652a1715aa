"""Muon: momentum, orthogonalised (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..dtypes import multiplies_bfloat16
from ..ranks import is_sharded

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic a·x + b·x³ + c·x⁵, which is steep at 0: five steps take singular values to about 0.7 … 1.2."""
EPS = 1e-7


def orthogonalize(matrices: Tensor, block: int = 0) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: (N, rows, columns) → the same in bfloat16.

    Newton–Schulz iterations on all N at once: they move each singular value towards 1 and leave the vectors. Where
    bfloat16 is slow they are computed in float32.

    With a `block`, the shorter side (of square matrices the rows) is cut into equal parts of at most so many, and each
    of them is orthogonalised by itself: as large a matrix in the end, in as many times less time as there are parts.
    (Cf. Khaled et al. 2025, "MuonBP", where the parts are what a device holds.)
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    precise = not multiplies_bfloat16(x.device.type)
    if precise:
        x = x.float()
    x = x.mT if tall else x  # its products with itself are then the smaller of the two
    whole = x.shape
    x = x.reshape(-1, rows_together(whole[1], block), whole[2])
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)  # no singular value above 1
    wide = x.shape[2] > 1.5 * x.shape[1]  # where the factor takes fewer multiplications
    x = (_iterate_factor if precise and wide else _iterate)(x)
    x = x.view(whole)
    return (x.mT if tall else x).bfloat16()


def _iterate(x: Tensor) -> Tensor:
    """(N, R, C) → the same, by STEPS × (2·R²·C + R³) multiplications a matrix."""
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _iterate_factor(x: Tensor) -> Tensor:
    """(N, R, C) → what `_iterate` gives, up to rounding, by 2·R²·C + (4·STEPS - 3)·R³ multiplications a matrix.

    An iteration multiplies x by a factor that follows from its Gram matrix, and that by the factor from both sides. So
    the product of all factors can be had without x. It enlarges errors several hundred times: float32 bears that,
    bfloat16 does not.
    """
    gram = x @ x.mT
    product = factor = _factor(gram)
    for _ in range(STEPS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    return product @ x


def _factor(gram: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def rows_together(rows: int, block: int) -> int:
    """The largest divisor of `rows` that is at most `block`; all of them where that is 0."""
    return next(size for size in range(min(block or rows, rows), 0, -1) if rows % size == 0)


def local(tensor: Tensor) -> Tensor:
    """The rows of a sharded tensor that this rank holds, sharing its memory; any other tensor as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, × √max(1, rows / columns); for matrices.

    Equals `torch.optim.Muon` with its "original" adjustment; matrices of equal shape are taken together.
    `weight_decay` is decoupled, `block` that of `orthogonalize`. State of a parameter: `momentum_buffer`.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        block: int = 0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "block": block})
        for parameter in self.param_groups[0]["params"]:
            assert parameter.ndim == 2, f"Muon is for matrices; found the shape {tuple(parameter.shape)}"

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step for every parameter that has a gradient."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for (rows, columns), parameters in by_shape.items():
                updates = orthogonalize(torch.stack(self._nesterov(parameters, group["momentum"])), group["block"])
                lr = group["lr"] * max(1, rows / columns) ** 0.5
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, updates.to(parameters[0].dtype).unbind(), alpha=-lr)

    def _nesterov(self, parameters: Sequence[Tensor], momentum: float) -> tuple[Tensor, ...]:
        """Update the momentum, a running mean of the gradients, and look one step ahead; of shards, the rows here."""
        gradients = [local(p.grad) for p in parameters if p.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [local(self.state[parameter]["momentum_buffer"]) for parameter in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, buffers, momentum)
