"""Items shared out over the ranks of `torch.distributed`; without a process group there is one rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def own(items: Sequence[T]) -> Sequence[T]:
    """This rank's share of `items`: those whose number is ≡ rank (mod world size)."""
    return items[dist.get_rank() :: dist.get_world_size()] if dist.is_initialized() else items


def gather_shares(share: Sequence[T]) -> list[T]:
    """All items, in their order, on every rank, from what each made of its `own`. Each rank has to call it."""
    if not dist.is_initialized():
        return list(share)
    shares: list[list[T]] = [[]] * dist.get_world_size()
    dist.all_gather_object(shares, list(share))
    return [shares[i % len(shares)][i // len(shares)] for i in range(sum(map(len, shares)))]
