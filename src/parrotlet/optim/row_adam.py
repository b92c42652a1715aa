"""Adam for embeddings of which a step touches few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .muon import local


class RowAdam(torch.optim.Optimizer):
    """Each row by its gradient over the root of a running mean of its gradients' mean squares.

    That is Adam without momentum, with one mean square a row (as in the tables of Naumov et al. 2019, "DLRM"), where a
    row whose gradient is 0 stays as it is (`torch.optim.SparseAdam`). Gradients are sparse, dense or sharded over
    their rows. What a step costs follows from the rows that it touches, not from those that there are. State of a
    parameter: `step`; `exp_avg_sq`, (rows, 1).
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, beta: float, eps: float) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step for every parameter that has a gradient."""
        assert closure is None, "RowAdam takes no closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    touched = touched_rows(local(parameter.grad))
                    self._move(parameter, *touched, group["lr"], group["beta"], group["eps"])

    def _move(self, parameter: Tensor, rows: Tensor, gradients: Tensor, lr: float, beta: float, eps: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"], state["exp_avg_sq"] = torch.tensor(0.0), torch.zeros_like(parameter[:, :1])
        state["step"] += 1
        squares = local(state["exp_avg_sq"])
        before = squares[rows]
        new = torch.linalg.vector_norm(gradients, dim=1, keepdim=True).square_() / gradients.shape[1]
        square = torch.where(new > 0, before.lerp(new, 1 - beta), before)
        squares[rows] = square
        size = (square / (1 - beta ** int(state["step"]))).sqrt_().add_(eps)
        # (index_add_'s `alpha` takes four times as long on a CPU)
        local(parameter).index_add_(0, rows, (gradients / size).mul_(-lr))


def touched_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows, (n,), of a gradient (rows, C) that may not be all 0, and what stands in them, (n, C)."""
    if not gradient.is_sparse:
        rows = gradient.any(1).nonzero()[:, 0]
        return rows, gradient[rows]
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()
