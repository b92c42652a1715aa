"""The forward pass of generation on a CPU, in C++ (`native.cpp`), compiled once for the machine that it runs on."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cpp import GENERATION, library
from ..model import GPT
from ..model.gpt import NGRAM_FACTORS
from .memory import Memory, conv_shares, plain_blocks, rotations, zeros_in_large_pages

THREAD_PAYS = 16_000_000
"""Multiplications for which another thread is started, in each pass: they take longer than that does."""


class NativeForward:
    """A copy of a model's weights, laid out for `native.cpp`; of n-grams, which may be many, the model's own."""

    GRAIN = 1
    """Of a prompt so many tokens, at least, have to be fed at once for its keys to be the same to the bit."""

    def __init__(self, model: GPT, memory: Memory, library: ctypes.CDLL) -> None:
        c, self._memory, self._vocab = model.config, memory, model.config.vocab_size
        self._group = library.outputs_in_a_group()
        self._run = library.forward_bfloat16 if model.dtype == torch.bfloat16 else library.forward_float32
        cos, sin = rotations(c, memory.slots, memory.keys.device)
        kept: dict[str, Tensor] = {"cos": cos, "sin": sin, "embedding": model.embedding.weight.detach().clone()}
        if model.ngram is not None:
            kept["ngram"] = model.ngram.weight.detach()
        if c.short_conv:
            kept["shares"] = conv_shares(model)
        *layers, kept["head"] = packed([*_matrices(model), [model.head.weight]], model.dtype, self._group)
        self._kept = kept  # the matrices are parts of one piece of memory, which the head keeps
        pointers = [layer.data_ptr() for layer in layers]
        self._weights = sum(matrix.numel() for matrix in (*layers, kept["head"]))
        self._pass = _Pass(
            depth=c.depth,
            width=c.width,
            heads=c.heads,
            kv_heads=c.kv_heads,
            head_dim=c.head_dim,
            hidden=c.mlp_width,
            vocab=c.vocab_size,
            ngrams=c.ngrams,
            ngram_factors=NGRAM_FACTORS,
            rows=memory.rows,
            slots=memory.slots,
            eps=c.norm_eps,
            layers=(ctypes.c_void_p * len(pointers))(*pointers),
            keys=memory.keys.data_ptr(),
            values=memory.values.data_ptr(),
            convolved=memory.convolved.data_ptr(),
            fed=memory.tokens.data_ptr(),
            **{name: tensor.data_ptr() for name, tensor in kept.items()},
        )

    def __call__(self, tokens_BT: Tensor, positions_BT: Tensor, first_row: int, *, score: bool) -> Tensor | None:
        """Scores (B, V) of what follows the last token of each row, where they are asked for."""
        p, (B, T) = self._pass, tokens_BT.shape
        scores = torch.empty(B, _whole(self._vocab, self._group)) if score else None
        p.first_row, p.B, p.T = first_row, B, T
        p.threads = min(torch.get_num_threads(), 1 + B * T * self._weights // THREAD_PAYS)
        p.tokens, p.positions = tokens_BT.data_ptr(), positions_BT.data_ptr()
        p.scores = None if scores is None else scores.data_ptr()
        self._run(ctypes.byref(p))
        return None if scores is None else scores[:, : self._vocab]


class _Pass(ctypes.Structure):
    """As in native.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("depth", "width", "heads", "kv_heads", "head_dim", "hidden", "vocab")),
        ("ngrams", ctypes.c_int64),
        ("ngram_factors", ctypes.c_int64 * len(NGRAM_FACTORS)),
        *((name, ctypes.c_int64) for name in ("rows", "slots", "threads")),
        ("eps", ctypes.c_float),
        ("layers", ctypes.POINTER(ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("head", "embedding", "ngram", "shares", "cos", "sin")),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "convolved", "fed")),
        *((name, ctypes.c_int64) for name in ("first_row", "B", "T")),
        *((name, ctypes.c_void_p) for name in ("tokens", "positions", "scores")),
    ]


def packed(matrices: list[list[Tensor]], dtype: torch.dtype, group: int) -> tuple[Tensor, ...]:
    """Each matrix, the weights (outputs, inputs) of a list stacked, as `native.cpp` reads it.

    In groups of so many outputs: of each input (in bfloat16 of each two) what it adds to all outputs of the group.
    Outputs of 0 fill up the last group.
    """
    sizes = [_whole(sum(map(len, weights)), group) * weights[0].shape[1] for weights in matrices]
    parts = zeros_in_large_pages(sum(sizes), matrices[0][0].device, dtype).split(sizes)
    for part, weights in zip(parts, matrices, strict=True):
        weight = torch.cat([w.detach() for w in weights])
        weight = F.pad(weight, (0, 0, 0, _whole(len(weight), group) - len(weight)))
        unit = 4 // dtype.itemsize
        part.copy_(weight.view(-1, group, weight.shape[1] // unit, unit).transpose(1, 2).flatten())
    return parts


def _whole(outputs: int, group: int) -> int:
    return -(-outputs // group) * group


def _matrices(model: GPT) -> Iterator[list[Tensor]]:
    """Four a layer, as native.cpp expects them."""
    for block in plain_blocks(model):
        a, mlp = block.attention, block.mlp
        yield from ([a.q.weight, a.k.weight, a.v.weight], [a.out.weight], [mlp.up.weight], [mlp.down.weight])


def native_library() -> ctypes.CDLL | None:
    """`native.cpp`, compiled for this machine; None, with a notice, where it can't be."""
    return library(GENERATION, "answers take about three times as long")
