"""Ranks: the processes that `torchrun` starts, each with its share of the work.

Lies below all layers, as `errors` does. Without torchrun there is one rank, number 0, no process group, and nothing
here does anything.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import UserError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

T = TypeVar("T")

LONGEST_WAIT = datetime.timedelta(days=1)
"""For what one rank does while the others wait (training a tokenizer). In training, `train.watch` ends it sooner."""
POLL_SECONDS = 0.02
SECONDS_TO_SEE_IT = 1.5
"""How long a rank that fails stays: three beats of `train.watch`."""
_telling = threading.Lock()
"""Held for good by the thread that has told the failure."""


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the ranks that torchrun started, if it did: gloo between CPUs, NCCL between CUDA devices."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=LONGEST_WAIT)
    yield
    dist.destroy_process_group()  # not after an error: the others may not come to it


def world_size() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is rank 0, which writes and speaks for all."""
    return rank() == 0


def ranks_on_this_machine() -> int:
    """How many ranks share this machine's cores."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if dist.is_initialized() else 1


def own(items: Sequence[T]) -> Sequence[T]:
    """This rank's share of `items`: those whose number is ≡ rank (mod world size)."""
    return items[rank() :: world_size()]


def gather(value: T) -> list[T]:
    """The values of all ranks, in order, on every rank. Each has to call it."""
    if not dist.is_initialized():
        return [value]
    values: list[T] = [value] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_shares(share: Sequence[T]) -> list[T]:
    """All items, in their order, from what every rank made of its `own`."""
    shares = gather(list(share))
    return [shares[i % len(shares)][i // len(shares)] for i in range(sum(map(len, shares)))]


def is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this rank holds only its rows of `tensor`."""
    if world_size() == 1:  # without the import, which takes half a second
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


@contextlib.contextmanager
def first_rank_first() -> Iterator[None]:
    """Rank 0 goes through the block alone, then the first rank of each other machine, then the rest: they find what was
    left in the run folder, which all see, and in the cache folder, which each machine may have for itself."""
    turn = 0 if is_first() else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    for _ in range(turn):
        gather(None)
    yield
    for _ in range(turn, 2):
        gather(None)


def store() -> dist.Store:
    """What the ranks can write to and read from one by one, without all of them taking part."""
    return dist.distributed_c10d._get_default_store()


def exchange(key: str, value: str) -> list[str]:
    """The values that all ranks give under `key`, in order. Like `gather`, but once a key, and from any thread.

    Raises `UserError` if a rank fails meanwhile, and has said why.
    """
    if not dist.is_initialized():
        return [value]
    post(key, value)
    while not store().check([f"{key}/{number}" for number in range(world_size())]):
        if failure_is_told():
            raise UserError("another rank has failed")
        time.sleep(POLL_SECONDS)
    return list(posted(key).values())


def post(key: str, value: str) -> None:
    """Leave a value for the others to read, in place of the one before."""
    store().set(f"{key}/{rank()}", value)


def posted(key: str) -> dict[int, str]:
    """What the ranks have left under `key`, by rank."""
    keys = {number: f"{key}/{number}" for number in range(world_size())}
    return {number: store().get(each).decode() for number, each in keys.items() if store().check([each])}


def first_to(claim: str) -> bool:
    """Whether no other rank has claimed this before; for what one of several ranks should say."""
    try:
        return not dist.is_initialized() or store().compare_set(claim, "", str(rank())) == str(rank()).encode()
    except dist.DistError:  # who keeps the store is gone
        return True


def tell_failure(message: str) -> None:
    """Say on standard error why the job ends, unless another rank has said so.

    With several ranks it stays until the others have seen this: rank 0 may be the one that keeps the store.
    """
    if world_size() == 1 or (first_to("failure") and _telling.acquire(blocking=False)):
        print(message, file=sys.stderr, flush=True)
    if world_size() > 1:
        time.sleep(SECONDS_TO_SEE_IT)


def failure_is_told() -> bool:
    """Whether a rank has said why the job ends."""
    return store().check(["failure"])
