"""How a model is spread over the ranks, and how its blocks are run: applied from outside the model, in a fixed order.

    1. recomputation   a block keeps only its input and computes the rest again in the backward pass
    2. compilation     one compiled block for all layers
    3. sharding        FSDP2: of every parameter, gradient and optimiser state a rank keeps its share of the rows

With one rank the third is left out: parameters are plain tensors, and no process group is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._functorch import config as functorch
from torch.utils.checkpoint import checkpoint

from .. import ranks
from ..data import NOT_SUPERVISED, PADDING, Batch
from ..model import GPT
from ..model.gpt import Block
from ..optim.sharded_muon import rows_of

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

Run = Callable[..., Tensor]

KEPT = 0.8
"""On a CPU, of what a compiled block would keep for its backward pass, this share at most. What is cheap, everything
but products and attention, is computed again: 11 values a token and unit of width are kept instead of 19, in no more
time."""


def parallelize(model: GPT, device: torch.device, *, recompute: bool = False, compile_rows: int | None = None) -> GPT:
    """Make `model` ready to train on `device`, together with the models of the other ranks; returns it.

    `recompute`: keep less for the backward pass. `compile_rows`: compile the blocks for micro-batches of so many rows.
    """
    run_here(model, device, recompute=recompute, compile_rows=compile_rows)
    return shard(model, device) if ranks.world_size() > 1 else model.to(device)


def run_here(model: GPT, device: torch.device, *, recompute: bool = False, compile_rows: int | None = None) -> None:
    """Choose how `model` is run on `device`.

    Compiled ones are for training on micro-batches of `compile_rows` rows. Everything else (the rest of a batch,
    measuring) has other shapes from call to call and stays as it is. So how a batch is computed follows from its shape
    alone, and a resumed run computes the same.
    """
    if device.type == "cpu":
        functorch.activation_memory_budget = KEPT
    if model.ngram is not None:  # of its gradient, only the rows that a micro-batch touches; FSDP2 sums dense ones
        model.ngram.sparse = ranks.world_size() == 1
    run: Run = Block.forward
    if recompute:
        run = functools.partial(checkpoint, run, use_reentrant=False)
    if compile_rows is not None:
        # On a CPU, torch's compiler would build and load a small library for every set of vector instructions, in
        # every process, 3 s each the first time, to see whether the C++ compiler knows it; `parrotlet.cpp` needs
        # them, too.
        compiled = torch.compile(run, dynamic=False, options={"cpp.vec_isa_ok": True})
        run = _compiled_for(compile_rows, compiled, run)
    for block in model.blocks:
        block.forward = functools.partial(run, block)


def _compiled_for(rows: int, compiled: Run, plain: Run) -> Run:
    def run(block: Block, x_BTC: Tensor, *rest: object) -> Tensor:
        return (compiled if torch.is_grad_enabled() and len(x_BTC) == rows else plain)(block, x_BTC, *rest)

    return run


def shard(model: GPT, device: torch.device) -> GPT:
    """Leave each rank its rows of every parameter; returns the model, now an `FSDPModule`, too.

    The blocks travel in the dtype that is computed in. Embedding and head stay float32: their gradients are sums over
    many positions. Gradients are summed over the ranks in float32, not averaged: the loss's divisor is the number of
    supervised tokens of all of them.
    """
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = rank_mesh(device.type)
    policy = MixedPrecisionPolicy(param_dtype=model.dtype, reduce_dtype=torch.float32)
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
    return model


@functools.cache
def rank_mesh(device_type: str) -> DeviceMesh:
    """All ranks, in one dimension."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device_type, (ranks.world_size(),), mesh_dim_names=("ranks",))


def own_rows(batch: Batch) -> Batch:
    """This rank's rows of a batch: those ≡ rank (mod world size), as many as every rank has.

    Where they don't divide, rows with nothing supervised fill up.
    """
    world = ranks.world_size()
    missing = -len(batch) % world

    def filled(tensor: Tensor, value: int) -> Tensor:
        return F.pad(tensor, (0, 0, 0, missing), value=value)[ranks.rank() :: world]

    return Batch(
        filled(batch.inputs, 0),
        filled(batch.targets, NOT_SUPERVISED),
        filled(batch.positions, 0),
        filled(batch.segments, PADDING),
        sources=(*batch.sources, *[()] * missing)[ranks.rank() :: world],
        attends=batch.attends,
    )


def whole(tensor: Tensor) -> Tensor:
    """All rows of a sharded tensor, on every rank; each has to call it."""
    return tensor.full_tensor() if ranks.is_sharded(tensor) else tensor


def whole_model(model: GPT) -> GPT:
    """The model with all of its weights, for measuring and generating; with one rank `model` itself."""
    if ranks.world_size() == 1:
        return model
    with torch.device("meta"):
        plain = GPT(model.config, model.dtype)
    plain.load_state_dict({name: whole(tensor) for name, tensor in model.state_dict().items()}, assign=True)
    return plain


def whole_on_first(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with all rows, on the CPU of rank 0, gathered one by one; nothing on the others."""
    gathered = ((name, whole(tensor)) for name, tensor in tensors.items())
    return {name: tensor.cpu() for name, tensor in gathered if ranks.is_first()}


def own_parts(tensors: Mapping[str, Tensor], *, copy: bool = True) -> tuple[dict[str, Tensor], dict[str, int]]:
    """This rank's rows of the tensors, on the CPU, and the row that each begins at. `copy`: even if they lie there.

    What is not sharded is rank 0's; of what has no row here there is nothing.
    """
    parts, first_rows = {}, {}
    for name, tensor in tensors.items():
        first_rows[name] = 0
        if ranks.is_sharded(tensor):
            first_rows[name] = rows_of(tensor.shape, ranks.rank(), ranks.world_size()).start
            tensor = tensor.to_local()
        elif not ranks.is_first():
            continue
        if tensor.numel():
            parts[name] = tensor.detach().to("cpu", copy=copy)
    return parts, first_rows
