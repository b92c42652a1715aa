"""The forward pass of generation with torch: on GPUs, and on CPUs without a C++ compiler.

    N tokens of a pass = B rows × T positions, C width, H heads, K key/value heads, G = H / K, D head width, S slots

It computes what `GPT` computes, in fewer and faster operations: queries, keys and values come from one matrix, weights
are packed for oneDNN on a CPU, and attention is computed in float32 (in bfloat16 it is slower there).
The kernels are chosen so that a row's result does not depend, to the last bit, on the other rows of the pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import GPT
from ..model.gpt import CONV_REACH, Block, ngram_rows, norm
from .memory import BLOCK, Memory, conv_shares, plain_blocks, rotations

Linear = Callable[[Tensor], Tensor]


class TorchForward:
    """A copy of a model's weights, laid out for torch; of n-grams, which may be many, the model's own."""

    GRAIN = 16
    """Of a prompt so many tokens, at least, have to be fed at once for its keys to be the same to the bit: kernels
    differ for a few rows only."""

    def __init__(self, model: GPT, memory: Memory) -> None:
        self._config, self._memory, self._dtype = model.config, memory, model.dtype
        self._embedding = model.embedding.weight.detach().clone()
        self._ngram = None if model.ngram is None else model.ngram.weight.detach()
        self._shares = conv_shares(model) if model.config.short_conv else None
        self._layers = [_Layer(block, model.dtype) for block in plain_blocks(model)]
        self._head = packed([model.head.weight], model.dtype)
        cos, sin = rotations(model.config, memory.slots, memory.keys.device)
        # x · cos + (x with its halves swapped) · sin turns x as the model does
        self._cos, self._sin = torch.cat((cos, cos), -1)[:, None], torch.cat((sin, -sin), -1)[:, None]

    def __call__(self, tokens_BT: Tensor, positions_BT: Tensor, first_row: int, *, score: bool) -> Tensor | None:
        """Scores (B, V) of what follows the last token of each row, where they are asked for."""
        step = self._pass(positions_BT, first_row)
        embedded_NC = self._convolve(0, self._embed(tokens_BT.flatten(), step), step)
        x_NC = norm(embedded_NC.to(self._dtype), step.eps)
        for number, layer in enumerate(self._layers):
            layer.attend(x_NC, step, self._memory.keys[number], self._memory.values[number])
            layer.think(x_NC, self._convolve(number + 1, norm(x_NC, step.eps), step))
        if not score:
            return None
        last_BC = x_NC.view(*positions_BT.shape, -1)[:, -1]
        return self._head(norm(last_BC, step.eps)).float()

    def _embed(self, tokens_N: Tensor, step: _Pass) -> Tensor:
        if self._ngram is None:
            return self._embedding[tokens_N]
        fed = self._memory.tokens.view(-1).index_copy_(0, step.place, tokens_N)
        rows = ngram_rows(tokens_N, fed[step.places_before].unbind(1), len(self._ngram))
        there = step.there_before[:, : rows.shape[1]].to(self._ngram.dtype)
        return self._embedding[tokens_N] + F.embedding_bag(rows, self._ngram, mode="sum", per_sample_weights=there)

    def _convolve(self, number: int, x_NC: Tensor, step: _Pass) -> Tensor:
        """The short convolution of the embedding (number 0) or of a layer, if there are any."""
        if self._shares is None:
            return x_NC
        given = self._memory.convolved[number].view(-1, x_NC.shape[1]).index_copy_(0, step.place, x_NC.float())
        before_NRC = given[step.places_before.flatten()].view(*step.places_before.shape, -1)
        before_NRC = before_NRC.mul_(self._shares[number]).masked_fill_(~step.there_before[:, :, None], 0)
        return x_NC + before_NRC.sum(1).to(x_NC.dtype)

    def _pass(self, positions_BT: Tensor, first_row: int) -> _Pass:
        c, (B, T), device = self._config, positions_BT.shape, positions_BT.device
        # in multiples of BLOCK: what a kernel adds up, and in which order, then depends on it alone
        slots = -(-(int(positions_BT.max()) + 1) // BLOCK) * BLOCK
        rows_B = torch.arange(first_row, first_row + B, device=device)
        heads_BK = rows_B[:, None] * c.kv_heads + torch.arange(c.kv_heads, device=device)
        seen = torch.arange(slots, device=device) <= positions_BT[:, None, :, None]
        back = torch.arange(1, CONV_REACH + 1, device=device)
        place_N = (rows_B[:, None] * self._memory.slots + positions_BT).flatten()
        return _Pass(
            rows=slice(first_row, first_row + B),
            slots=slots,
            place=place_N,
            places_before=(place_N[:, None] - back).clamp(min=0),
            there_before=positions_BT.flatten()[:, None] >= back,
            written=(heads_BK[:, None] * self._memory.slots + positions_BT[:, :, None]).flatten(),
            cos=self._cos[positions_BT.flatten()],
            sin=self._sin[positions_BT.flatten()],
            mask=torch.zeros(seen.shape, device=device).masked_fill_(~seen, -torch.inf),
            shape=(B, T, c.kv_heads, c.heads // c.kv_heads, c.head_dim),
            eps=c.norm_eps,
        )


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """What all layers share in one forward pass."""

    rows: slice
    slots: int
    """Slots, from the first on, that are attended to."""
    place: Tensor
    """Where each token is in a memory of (rows · slots): (N,)."""
    places_before: Tensor
    """Where the tokens before it are, the nearest first: (N, reach of a convolution)."""
    there_before: Tensor
    """Whether there is one: (N, reach)."""
    written: Tensor
    """Where each token's keys go, in the memory of a layer seen as (rows · K · S, D): (N · K,)."""
    cos: Tensor
    sin: Tensor
    mask: Tensor
    """(B, 1, T, S): 0 up to each position, -inf after it."""
    shape: tuple[int, int, int, int, int]
    """B, T, K, G, D."""
    eps: float


class _Layer:
    """A block's weights; its halves add their output to the residual stream."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        attention, mlp = block.attention, block.mlp
        self._qkv = packed([attention.q.weight, attention.k.weight, attention.v.weight], dtype)
        self._out = packed([attention.out.weight], dtype)
        self._up = packed([mlp.up.weight], dtype, "relu")
        self._down = packed([mlp.down.weight], dtype)

    def attend(self, x_NC: Tensor, step: _Pass, keys: Tensor, values: Tensor) -> None:
        q_NHD, k_NKD, v_NKD = self._heads(self._qkv(norm(x_NC, step.eps)).float(), step)
        D = step.shape[-1]
        keys.view(-1, D).index_copy_(0, step.written, k_NKD.reshape(-1, D))
        values.view(-1, D).index_copy_(0, step.written, v_NKD.reshape(-1, D))
        y_NC = _attend(q_NHD, keys[step.rows, :, : step.slots], values[step.rows, :, : step.slots], step)
        x_NC += self._out(y_NC.to(x_NC.dtype))

    def think(self, x_NC: Tensor, given_NC: Tensor) -> None:
        """Add what the perceptron makes of `given_NC`."""
        x_NC += self._down(self._up(given_NC).square_())

    def _heads(self, qkv: Tensor, step: _Pass) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, turned, normed and scaled; keys, turned and normed; values: (N, H or K, D)."""
        _, _, K, G, D = step.shape
        heads = qkv.view(len(qkv), -1, D)
        qk = heads[:, : K * G + K]
        turned = torch.addcmul(qk * step.cos, qk.roll(D // 2, -1), step.sin)
        qk = norm(turned, step.eps)
        return qk[:, : K * G] * D**-0.5, qk[:, K * G :], heads[:, K * G + K :]


def _attend(q_NHD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, step: _Pass) -> Tensor:
    """Softmax attention, (N, H · D). As batched matrix products: unlike in the fused kernel, the result of a row does
    not depend on how many others there are, nor on how many slots are masked."""
    B, T, K, G, D = step.shape
    S = step.slots
    q = q_NHD.view(B, T, K, G, D).permute(0, 2, 3, 1, 4).reshape(B * K, G * T, D)
    scores = torch.bmm(q, k_BKSD.view(B * K, S, D).transpose(1, 2))
    weights = scores.view(B, K * G, T, S).add_(step.mask).softmax(-1)
    y = torch.bmm(weights.view(B * K, G * T, S), v_BKSD.view(B * K, S, D))
    return y.view(B, K, G, T, D).permute(0, 3, 1, 2, 4).reshape(B * T, K * G * D)


def packed(weights: list[Tensor], dtype: torch.dtype, activation: str = "none") -> Linear:
    """Multiplies by the stacked weights, (sum of outputs, inputs) in all. `activation`: none or relu.

    On a CPU with oneDNN the weights are laid out for its kernels, as `torch.compile` does when it freezes a model: a
    row of the result is then the same to the bit whatever the number of rows, and many rows take less time.
    """
    weight = torch.cat([w.detach() for w in weights]).to(dtype, copy=True)
    if weight.device.type == "cpu" and _onednn_packs(dtype):
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid_out, None, activation, [], "")
    if activation == "relu":
        return lambda x: F.linear(x, weight).relu_()
    return lambda x: F.linear(x, weight)


def _onednn_packs(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
