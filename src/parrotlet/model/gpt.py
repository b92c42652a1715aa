"""The model: a decoder-only transformer, plain configuration.

    B rows, T positions, C width, H heads, K key/value heads, D head width, F hidden units, V vocabulary

token embedding → norm → depth × [norm → attention → add; norm → ReLU² MLP → add] → norm → head → soft cap.
Rotary positions, then normed queries and keys; no biases; norms without parameters; untied embedding and head.
With `ngrams`, a second embedding, of a token together with the one and with the two before it, is added to the first.
With `short_conv`, a short convolution follows the embedding, and the norm before every MLP.

Parameters, all float32, used in the compute dtype:

    embedding.weight                                       (V, C)
    ngram.weight                                           (configuration's ngrams, C), if it asks for them
    embedding_conv.weight, blocks.I.mlp.conv.weight        (3, C) each, if the configuration asks for them
    blocks.I.attention.q.weight, .out.weight               (C, C)
    blocks.I.attention.k.weight, .v.weight                 (K·D, C)
    blocks.I.mlp.up.weight, blocks.I.mlp.down.weight       (F, C), (C, F)
    head.weight                                            (V, C)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import kernels
from .attention import Mask, attend, attention_mask
from .config import ModelConfig
from .loss import linear_cross_entropy, softcapped_logits, token_cross_entropy

HEAD_STD = 0.001
"""Small, so that a new model is unsure of every token; not zero, so that its guesses differ."""

NGRAM_FACTORS = (7_919, 1_000_003, 15_485_863)
"""Primes: of a token, the one before it and the one before that, in the hash of an n-gram."""
CONV_REACH = 3
"""How many tokens back a short convolution looks."""
CONV_SHARES = {"embedding_conv.weight": (0.5, 0.0, 0.0), "mlp.conv.weight": (0.1, 0.1, 0.1)}
"""Shares of the tokens before, the nearest first, in every channel of a new model."""

Rope = tuple[Tensor, Tensor]
"""Cosines and sines of every position's angles, (B or 1, T, 1, D/2) each."""


class GPT(nn.Module):
    """Ids in, hidden states out; the head comes with `logits` and the losses.

    `dtype` is what is computed in; the parameters are float32.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.dtype = config, dtype
        self.embedding = Embedding(config.vocab_size, config.width)
        self.ngram = NgramEmbedding(config.ngrams, config.width) if config.ngrams else None
        self.embedding_conv = ShortConv(config.width) if config.short_conv else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = Linear(config.width, config.vocab_size)

    @classmethod
    def build(
        cls,
        config: ModelConfig,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> GPT:
        """A new model with random weights: built without memory, given memory on `device`, initialised."""
        with torch.device("meta"):
            model = cls(config, dtype)
        model.to_empty(device=device)
        model.initialise(seed)
        return model

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Random weights, the same on every device.

        Embedding: N(0, 1). Matrices: normal, std = min(1, √(fan_out / fan_in)) / √fan_in (Yang et al. 2023,
        "A spectral condition for feature learning"). What writes to the residual stream: 0, so that every
        block begins as the identity; n-grams: 0. Head: see `HEAD_STD`. Short convolutions: `CONV_SHARES`.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            shares = next((shares for end, shares in CONV_SHARES.items() if name.endswith(end)), None)
            if shares:
                parameter.copy_(torch.tensor(shares)[:, None])
                continue
            if name == "ngram.weight":  # large
                parameter.zero_()
                continue
            std = _initial_std(name, parameter.shape)
            parameter.copy_(torch.randn(parameter.shape, generator=generator).mul_(std))

    def forward(
        self,
        inputs_BT: Tensor,
        positions_BT: Tensor | None = None,
        segments_BT: Tensor | None = None,
        before_BTR: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, (B, T, C), in the compute dtype.

        `positions_BT`: default 0 … T - 1 in every row. `segments_BT`: attention stays within the same
        number and `TRUNK`; default: within the row. `before_BTR`: the columns in which the R = `CONV_REACH` tokens
        before each stand, where they are not those to its left. (Generation keeps keys and values:
        `engine/`.)
        """
        if positions_BT is None:
            positions_BT = torch.arange(inputs_BT.shape[1], device=inputs_BT.device)[None]
        rope = self._rope(positions_BT)
        mask = attention_mask(inputs_BT, segments_BT, self.dtype)
        x_BTC = self.embedding(inputs_BT)
        if self.ngram is not None:
            x_BTC = x_BTC + self.ngram(inputs_BT, positions_BT, before_BTR)
        if self.embedding_conv is not None:
            x_BTC = self.embedding_conv(x_BTC, positions_BT, before_BTR)
        x_BTC = norm(x_BTC.to(self.dtype), self.config.norm_eps)
        for block in self.blocks:
            x_BTC = block(x_BTC, positions_BT, rope, mask, before_BTR)
        return norm(x_BTC, self.config.norm_eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits (…, V) of hidden states (…, C)."""
        return softcapped_logits(hidden, self.head.weight, self.config.softcap)

    def loss_sum(
        self,
        inputs_BT: Tensor,
        targets_BT: Tensor,
        positions_BT: Tensor | None = None,
        segments_BT: Tensor | None = None,
    ) -> Tensor:
        """Sum of the cross-entropy, in nats, over the targets ≥ 0; float32. 0 where nothing is supervised."""
        hidden_BTC = self(inputs_BT, positions_BT, segments_BT)
        supervised = targets_BT >= 0
        return linear_cross_entropy(
            hidden_BTC[supervised], self.head.weight, targets_BT[supervised], self.config.softcap
        )

    @torch.no_grad()
    def token_losses(
        self,
        inputs_BT: Tensor,
        targets_BT: Tensor,
        positions_BT: Tensor | None = None,
        segments_BT: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy, in nats, of every target, (B, T) float32; 0 where the target is negative."""
        hidden_BTC = self(inputs_BT, positions_BT, segments_BT)
        supervised = targets_BT >= 0
        losses_BT = torch.zeros(targets_BT.shape, device=hidden_BTC.device)
        losses_BT[supervised] = token_cross_entropy(
            hidden_BTC[supervised], self.head.weight, targets_BT[supervised], self.config.softcap
        )
        return losses_BT

    def _rope(self, positions_BT: Tensor) -> Rope:
        half = torch.arange(self.config.head_dim // 2, device=positions_BT.device)
        frequencies = self.config.rope_theta ** (half * (-2 / self.config.head_dim))
        angles = positions_BT[:, :, None, None] * frequencies
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)


class Embedding(nn.Embedding):
    """A vector for each token. `GPT.initialise` sets it: what torch does on the meta device imports its compiler."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__(tokens, width, _weight=torch.empty(tokens, width))


class NgramEmbedding(nn.EmbeddingBag):
    """A learned vector for each token together with the one before it, and one for it together with the two before it;
    n-grams whose hash is the same share one.

    What follows two or three tokens is most of what a model learns at first; here it need not be put together from
    their embeddings. (Cf. Huang et al. 2025, "Over-Tokenized Transformer".)
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width, mode="sum", _weight=torch.empty(rows, width))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, inputs_BT: Tensor, positions_BT: Tensor, before_BTR: Tensor | None = None
    ) -> Tensor:
        """(B, T, C), the sum of both; without those that begin before position 0. `before_BTR`: see `GPT.forward`."""
        before_BT1 = _tokens_before(inputs_BT[:, :, None], before_BTR)
        rows_BTN = ngram_rows(inputs_BT, [ids_BT1[:, :, 0] for ids_BT1 in before_BT1], self.num_embeddings)
        back_N = torch.arange(1, 1 + rows_BTN.shape[2], device=inputs_BT.device)
        there_BTN = (positions_BT[:, :, None] >= back_N).expand_as(rows_BTN)
        weights = there_BTN.flatten(0, 1).to(self.weight.dtype)
        return super().forward(rows_BTN.flatten(0, 1), per_sample_weights=weights).view(*inputs_BT.shape, -1)


def ngram_rows(tokens: Tensor, before: Sequence[Tensor], rows: int) -> Tensor:
    """Where the n-grams that end with each of the tokens stand in an embedding of so many rows: (…, N), the shortest
    first. `before`: the ids of what stands one, two, … before each, int64.
    """
    hashes = [tokens * NGRAM_FACTORS[0]]
    for factor, ids in zip(NGRAM_FACTORS[1:], before, strict=False):
        hashes.append(hashes[-1] + (ids + 1) * factor)
    return torch.stack(hashes[1:], -1) % rows


class ShortConv(nn.Module):
    """Adds to each token learned shares, one a channel, of the three before it: a causal depthwise convolution.

    To find what followed an earlier occurrence of something, as a choice's letter follows the choice, a model
    needs a head that looks back a token or two, and another that matches. The first comes for nothing here.
    (Cf. Allen-Zhu 2025, "Physics of Language Models: Part 4.1", where they are called canon layers.)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(CONV_REACH, width))

    def forward(self, x_BTC: Tensor, positions_BT: Tensor, before_BTR: Tensor | None = None) -> Tensor:
        """`x_BTC` with the shares of what stands before. What has position 0 has nothing before it.

        `before_BTR`: see `GPT.forward`.
        """
        weight = self.weight.to(x_BTC.dtype)
        if before_BTR is None and not torch.compiler.is_compiling() and kernels.available(x_BTC.device, x_BTC.dtype):
            return kernels.convolve(x_BTC, weight, positions_BT)
        for back, before_BTC in enumerate(_tokens_before(x_BTC, before_BTR), start=1):
            there_BT1 = (positions_BT >= back)[:, :, None]
            x_BTC = x_BTC + weight[back - 1] * before_BTC.where(there_BT1, 0)
        return x_BTC


def _tokens_before(x_BTC: Tensor, before_BTR: Tensor | None) -> list[Tensor]:
    """What stands one, two, … before each token, (B, T, C) each."""
    if before_BTR is not None:
        return [x_BTC.take_along_dim(columns_BT[:, :, None], 1) for columns_BT in before_BTR.unbind(-1)]
    padded = F.pad(x_BTC, (0, 0, CONV_REACH, 0))
    return [padded[:, CONV_REACH - back : -back] for back in range(1, CONV_REACH + 1)]


class Block(nn.Module):
    """Attention and perceptron, each added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.attention = Attention(config)
        self.mlp = MLP(config)

    def forward(
        self, x_BTC: Tensor, positions_BT: Tensor, rope: Rope, mask: Mask, before_BTR: Tensor | None = None
    ) -> Tensor:
        """The residual stream after this block."""
        x_BTC = x_BTC + self.attention(norm(x_BTC, self.eps), rope, mask)
        return x_BTC + self.mlp(norm(x_BTC, self.eps), positions_BT, before_BTR)


class Attention(nn.Module):
    """Causal self-attention: rotary positions, then normed queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim, self.eps = config.head_dim, config.norm_eps
        self.q = Linear(config.width, config.width)
        self.k = Linear(config.width, config.kv_width)
        self.v = Linear(config.width, config.kv_width)
        self.out = Linear(config.width, config.width)

    def forward(self, x_BTC: Tensor, rope: Rope, mask: Mask) -> Tensor:
        """What attention adds to the residual stream, (B, T, C)."""
        # (B, T, H·D) → (B, T, H, D), a view
        q, k, v = (linear(x_BTC).unflatten(-1, (-1, self.head_dim)) for linear in (self.q, self.k, self.v))
        q, k = (norm(rotate(heads, rope), self.eps) for heads in (q, k))
        return self.out(attend(q, k, v, mask).flatten(2))


class MLP(nn.Module):
    """Two matrices with a squared ReLU between (So et al. 2021, Primer)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.conv = ShortConv(config.width) if config.short_conv else None
        self.up = Linear(config.width, config.mlp_width)
        self.down = Linear(config.mlp_width, config.width)

    def forward(self, x_BTC: Tensor, positions_BT: Tensor, before_BTR: Tensor | None = None) -> Tensor:
        """What the perceptron adds to the residual stream, (B, T, C)."""
        if self.conv is not None:
            x_BTC = self.conv(x_BTC, positions_BT, before_BTR)
        return self.down(F.relu(self.up(x_BTC)).square())


class Linear(nn.Linear):
    """A matrix, kept in float32 and used in the dtype of what it multiplies."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """`input` (…, in_features) times the transposed weight."""
        return F.linear(input, self.weight.to(input.dtype))


def norm(x: Tensor, eps: float) -> Tensor:
    """Divide by the root mean square of the last dimension."""
    return F.rms_norm(x, x.shape[-1:], eps=eps)


def rotate(x_BTHD: Tensor, rope: Rope) -> Tensor:
    """Rotary positions (Su et al. 2021): coordinate i and i + D/2 turn together, by minus the angle."""
    cos, sin = rope
    a, b = x_BTHD.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


def _initial_std(name: str, shape: torch.Size) -> float:
    fan_out, fan_in = shape
    if name == "embedding.weight":
        return 1.0
    if name == "head.weight":
        return HEAD_STD
    if name.endswith(("attention.out.weight", "mlp.down.weight")):
        return 0.0
    return min(1.0, (fan_out / fan_in) ** 0.5) / fan_in**0.5
