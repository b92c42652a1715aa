"""Which optimiser moves which parameter, and how fast."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import UserError
from ..model import GPT
from ..ranks import is_sharded
from .muon import Muon, local
from .row_adam import RowAdam
from .schedule import muon_momentum
from .sharded_muon import ShardedMuon

TUNED_WIDTH = 768
"""The width at which the learning rates of embedding and head were tuned."""


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """Learning rates and momenta, before a stage's factor and the schedule."""

    matrix_lr: float = 0.02
    """Muon: the matrices of the blocks."""
    matrix_block: int = 0
    """Muon: rows, of a matrix's shorter side, that are orthogonalised together, at most. 0: all. Fewer take less time,
    which counts where a step has few tokens; a step then gains a little less (docs/performance-log.md)."""
    embedding_lr: float = 0.2
    """AdamW: the embedding; × (width / 768)^-½."""
    ngram_lr: float = 0.2
    """RowAdam: the embedding of n-grams, if the model has one; × (width / 768)^-½."""
    head_lr: float = 0.004
    """AdamW: the head; × (width / 768)^-½."""
    conv_lr: float = 0.01
    """AdamW: the short convolutions, if the model has them."""
    momentum_start: float = 0.85
    """Muon's momentum at the first step."""
    momentum_end: float = 0.95
    """Muon's momentum after `momentum_warmup_steps`."""
    momentum_warmup_steps: int = 300
    """Steps over which Muon's momentum rises linearly."""
    betas: tuple[float, float] = (0.8, 0.95)
    """AdamW: decay of the running means of the gradient and of its square; RowAdam: the second, of its square."""
    eps: float = 1e-10
    """AdamW and RowAdam: added to the denominator."""
    weight_decay: float = 0.0
    """Muon: share of the weights, times the learning rate, taken away at every step."""
    grad_clip: float = 1.0
    """The gradient of a step is scaled down to this norm. 0: never."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not all(0 <= v < math.inf for v in (value if isinstance(value, tuple) else (value,))):
                raise UserError(f"optim.{field.name} is {value}; it must be 0 or more")
        if not max(self.betas) < 1:
            raise UserError(f"optim.betas is {self.betas}; both must be below 1")


class Optimizers:
    """Muon for the matrices of the blocks, AdamW for embedding, head and short convolutions, row by row for n-grams, as
    one."""

    def __init__(self, model: GPT, settings: OptimSettings) -> None:
        self.settings = settings
        self._parameters = dict(model.named_parameters())
        adjusted = (model.config.width / TUNED_WIDTH) ** -0.5
        convolutions = [p for name, p in self._parameters.items() if name.endswith("conv.weight")]
        matrices = [p for name, p in model.blocks.named_parameters() if not name.endswith("conv.weight")]
        muon = ShardedMuon if is_sharded(model.head.weight) else Muon
        self._muon = muon(
            matrices, lr=settings.matrix_lr, weight_decay=settings.weight_decay, block=settings.matrix_block
        )
        self._adamw = torch.optim.AdamW(
            [
                {"params": [model.embedding.weight], "lr": settings.embedding_lr * adjusted},
                {"params": [model.head.weight], "lr": settings.head_lr * adjusted},
                *([{"params": convolutions, "lr": settings.conv_lr}] if convolutions else []),
            ],
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=0.0,
            fused=True,
        )
        self._all: list[torch.optim.Optimizer] = [self._muon, self._adamw]
        if model.ngram is not None:
            lr = settings.ngram_lr * adjusted
            self._all.append(RowAdam(model.ngram.parameters(), lr=lr, beta=settings.betas[1], eps=settings.eps))
        self._of: dict[Tensor, torch.optim.Optimizer] = {}
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
                self._of |= dict.fromkeys(group["params"], optimizer)

    def step(self, step: int, lr_mult: float) -> None:
        """Move the parameters. Rates and momenta follow from `step` (counted from 0) and `lr_mult` alone."""
        s = self.settings
        for group in (group for optimizer in self._all for group in optimizer.param_groups):
            group["lr"] = group["base_lr"] * lr_mult
        self._muon.param_groups[0]["momentum"] = muon_momentum(
            step, start=s.momentum_start, end=s.momentum_end, warmup_steps=s.momentum_warmup_steps
        )
        for optimizer in self._all:
            optimizer.step()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for optimizer in self._all:
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Tensor]:
        """`<parameter>.<slot>` → tensor: `momentum_buffer` of Muon; `step`, `exp_avg`, `exp_avg_sq` of AdamW.

        Empty before the first step.
        """
        return {
            f"{name}.{slot}": value
            for name, parameter in self._parameters.items()
            for slot, value in self._of[parameter].state.get(parameter, {}).items()
        }

    def load_state_dict(self, values: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave. Raises `UserError` if it is of another model."""
        for key, value in values.items():
            name, _, slot = key.rpartition(".")
            parameter = self._parameters.get(name)
            by_row = parameter is not None and isinstance(self._of[parameter], RowAdam)
            if parameter is None or value.shape not in ((len(parameter), 1) if by_row else parameter.shape, ()):
                raise UserError(
                    f"the optimiser's state does not fit the model: {key} {tuple(value.shape)} meets "
                    f"{'no parameter' if parameter is None else tuple(parameter.shape)}"
                )
            self._of[parameter].state[parameter][slot] = _like(parameter, value)
        missing = self._parameters.keys() - {key.rpartition(".")[0] for key in values}
        if values and missing:
            raise UserError(f"the optimiser's state does not fit the model: it has nothing for {min(missing)}")


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A copy of `value` that lies where the parameter does: this rank's rows of it, if it is sharded."""
    value = value.to(parameter.device, copy=True)
    if is_sharded(parameter) and value.ndim:
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return value


def clip_gradients(model: nn.Module, max_norm: float) -> float:
    """Scale the gradients down to the norm `max_norm` over all parameters; returns the norm before.

    A `max_norm` of 0 leaves them as they are. With several ranks the norm is that of all their rows together.
    """
    assert max_norm >= 0, f"max_norm = {max_norm} is no norm"
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    numbers = [g.values() if g.is_sparse else local(g) for g in gradients]
    norm = nn.utils.get_total_norm(numbers)
    if is_sharded(gradients[0]):
        squared = norm.square()
        dist.all_reduce(squared, group=gradients[0].device_mesh.get_group())
        norm = squared.sqrt()
    norm = float(norm)
    if max_norm and norm > max_norm:
        torch._foreach_mul_(numbers, max_norm / norm)
    return norm
