"""Who attends to whom, and attention itself.

B rows, T positions, H heads, K key/value heads, D head width, S keys.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

Mask = Tensor | BlockMask | None
"""What is added to the scores, (B, 1, T, S); blocks of positions to leave out (CUDA); None: causal."""


TRUNK = -2
"""The segment that all others of a row attend to: the beginning that several texts share."""


def segment_mask(segments_BT: Tensor, dtype: torch.dtype) -> Tensor | BlockMask:
    """Position i attends to the positions j ≤ i of its own segment and of `TRUNK`. Built once a forward pass.

    Padding is a segment too (-1): it attends to itself, so that no row of the softmax is empty.
    """
    if segments_BT.is_cuda:
        return _block_mask(segments_BT)
    seen_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    seen_BTT |= (segments_BT == TRUNK)[:, None, :]
    return additive_mask(seen_BTT.tril_()[:, None], dtype)


def additive_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `allowed`, -inf elsewhere. (Attention would convert a boolean mask again in every layer.)"""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -torch.inf)


def attend(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Mask) -> Tensor:
    """Softmax attention, (B, H, T, D); each key/value head serves H / K query heads."""
    grouped = q_BHTD.shape[1] != k_BKSD.shape[1]
    if isinstance(mask, BlockMask):
        return _compiled_flex_attention()(q_BHTD, k_BKSD, v_BKSD, block_mask=mask, enable_gqa=grouped)
    return F.scaled_dot_product_attention(
        q_BHTD, k_BKSD, v_BKSD, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    )


def _block_mask(segments_BT: Tensor) -> BlockMask:
    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return ((segments_BT[b, i] == segments_BT[b, j]) | (segments_BT[b, j] == TRUNK)) & (j <= i)

    B, T = segments_BT.shape
    return create_block_mask(seen, B, None, T, T, device=str(segments_BT.device))


@cache
def _compiled_flex_attention() -> Any:
    """FlexAttention leaves masked blocks out only when it is compiled."""
    return torch.compile(flex_attention)
