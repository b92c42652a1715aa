"""Muon where every rank holds some rows of each matrix (FSDP2's DTensors).

Orthogonalising needs whole matrices, so each of them has an owner: the ranks send their rows to the owners, which
orthogonalise, and get the rows of the update back. Of P numbers in all matrices, W ranks, bfloat16: a rank sends
2 · P/W · (W - 1)/W numbers a step, that is less than 4 · P/W bytes, and receives as many; it holds P/W numbers of
whole matrices at a time. (Gathering everything everywhere: 2 · P · (W - 1)/W bytes, and P numbers.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from .muon import Muon, local, orthogonalize

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


class ShardedMuon(Muon):
    """The update of `Muon`, for parameters that are sharded over their rows."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step for every parameter that has a gradient; every rank has to take part."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            parameters: list[DTensor] = [p for p in group["params"] if p.grad is not None]
            shapes = [parameter.shape for parameter in parameters]
            mesh = parameters[0].device_mesh
            shards = self._nesterov(parameters, group["momentum"])
            updates = orthogonalize_shards(shards, shapes, mesh.get_group(), group["block"])
            for parameter, update, (rows, columns) in zip(parameters, updates, shapes, strict=True):
                lr = group["lr"] * max(1, rows / columns) ** 0.5
                mine = local(parameter)
                mine.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.to(mine.dtype), alpha=-lr)


def orthogonalize_shards(
    shards: Sequence[Tensor], shapes: Sequence[torch.Size], group: dist.ProcessGroup, block: int = 0
) -> list[Tensor]:
    """This rank's rows of the orthogonalised matrices, in bfloat16, from its rows of the matrices."""
    world, rank = group.size(), group.rank()
    owners = choose_owners(shapes, world)
    owned = [[i for i, owner in enumerate(owners) if owner == r] for r in range(world)]
    mine = owned[rank]
    sizes = [[len(rows_of(shapes[i], r, world)) * shapes[i][1] for i in mine] for r in range(world)]

    parts = [_flat([shards[i] for i in owned[r]], shards[0]) for r in range(world)]
    received = _all_to_all(parts, [sum(of_rank) for of_rank in sizes], group)
    pieces = [part.split(of_rank) for part, of_rank in zip(received, sizes, strict=True)]
    whole = [torch.cat([pieces[r][n] for r in range(world)]).view(shapes[i]) for n, i in enumerate(mine)]

    whole = _orthogonalize_by_shape(whole, block)
    parts = [
        _flat([m[r.start : r.stop] for m in whole for r in [rows_of(m.shape, to, world)]], shards[0])
        for to in range(world)
    ]
    received = _all_to_all(parts, [sum(shards[i].numel() for i in owned[r]) for r in range(world)], group)
    updates: dict[int, Tensor] = {}
    for part, indices in zip(received, owned, strict=True):
        for i, piece in zip(indices, part.split([shards[i].numel() for i in indices]), strict=True):
            updates[i] = piece.view(shards[i].shape)
    return [updates[i] for i in range(len(shards))]


def rows_of(shape: torch.Size, rank: int, world: int) -> range:
    """The rows of a matrix that FSDP2 leaves on a rank: equal parts, the last ones shorter or empty."""
    size = math.ceil(shape[0] / world)
    return range(min(rank * size, shape[0]), min((rank + 1) * size, shape[0]))


def choose_owners(shapes: Sequence[torch.Size], world: int) -> list[int]:
    """Which rank orthogonalises each matrix: the dearest first, each to the rank that has the least to do."""
    load, owners = [0] * world, [0] * len(shapes)
    costs = [shape.numel() * min(shape) for shape in shapes]
    for i in sorted(range(len(shapes)), key=lambda i: -costs[i]):
        owners[i] = min(range(world), key=load.__getitem__)
        load[owners[i]] += costs[i]
    return owners


def _orthogonalize_by_shape(matrices: list[Tensor], block: int) -> list[Tensor]:
    done = list(matrices)
    for shape in {matrix.shape for matrix in matrices}:
        same = [n for n, matrix in enumerate(matrices) if matrix.shape == shape]
        for n, matrix in zip(same, orthogonalize(torch.stack([matrices[n] for n in same]), block), strict=True):
            done[n] = matrix
    return done


def _flat(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """All numbers one after the other, in bfloat16, in which `orthogonalize` computes."""
    return torch.cat([like.new_empty(0, dtype=torch.bfloat16), *(t.flatten().bfloat16() for t in tensors)])


def _all_to_all(parts: Sequence[Tensor], sizes: Sequence[int], group: dist.ProcessGroup) -> list[Tensor]:
    """Send part r to rank r; returns what came from each rank, of the given sizes."""
    sent = torch.cat(list(parts))
    received = sent.new_empty(sum(sizes))
    # As whole numbers of 8 bits, because not every backend carries bfloat16.
    dist.all_to_all_single(
        received.view(torch.uint8),
        sent.view(torch.uint8),
        [2 * size for size in sizes],
        [2 * len(part) for part in parts],
        group=group,
    )
    return list(received.split(list(sizes)))
