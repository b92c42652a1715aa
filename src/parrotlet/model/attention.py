"""Who attends to whom, and attention itself.

B rows, T positions, H heads, K key/value heads, D head width, S keys.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ..cpp import torch_lacks
from . import kernels


class Spans(NamedTuple):
    """Where our own kernels compute: the position that each begins to see at."""

    starts_BT: Tensor


Mask = Spans | Tensor | BlockMask | None
"""Besides: what is added to the scores, (B, 1, T, S); blocks of positions to leave out (CUDA); None: causal."""


TRUNK = -2
"""The segment that all others of a row attend to: the beginning that several texts share."""


def attention_mask(inputs_BT: Tensor, segments_BT: Tensor | None, dtype: torch.dtype) -> Mask:
    """Position i attends to the positions j ≤ i of its own segment and of `TRUNK`; without segments to all of them.
    Built once a forward pass.

    A segment's positions follow each other. Padding is a segment too (-1): it attends to itself, so that no row of the
    softmax is empty.
    """
    if segments_BT is not None and segments_BT.is_cuda and not torch_lacks("cuda"):
        return _block_mask(segments_BT)
    if kernels.available(inputs_BT.device, dtype) and (segments_BT is None or not (segments_BT == TRUNK).any()):
        # The same form with segments and without, so that a compiled block serves stages of both kinds.
        return Spans(torch.zeros_like(inputs_BT) if segments_BT is None else _starts(segments_BT))
    if segments_BT is None:
        return None
    seen_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    seen_BTT |= (segments_BT == TRUNK)[:, None, :]
    # (attention would convert a boolean mask again in every layer)
    return torch.zeros(seen_BTT.shape, dtype=dtype, device=inputs_BT.device).masked_fill_(
        ~seen_BTT.tril_(), -torch.inf
    )[:, None]


def attend(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, mask: Mask) -> Tensor:
    """Softmax attention, (B, T, H, D); each key/value head serves H / K query heads."""
    if isinstance(mask, Spans):
        return kernels.attention(q_BTHD, k_BTKD, v_BTKD, mask.starts_BT)[0]
    q_BHTD, k_BKTD, v_BKTD = (heads.transpose(1, 2) for heads in (q_BTHD, k_BTKD, v_BTKD))
    grouped = q_BHTD.shape[1] != k_BKTD.shape[1]
    if isinstance(mask, BlockMask):
        y_BHTD = _compiled_flex_attention()(q_BHTD, k_BKTD, v_BKTD, block_mask=mask, enable_gqa=grouped)
    else:
        y_BHTD = F.scaled_dot_product_attention(
            q_BHTD, k_BKTD, v_BKTD, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
        )
    return y_BHTD.transpose(1, 2)


def _starts(segments_BT: Tensor) -> Tensor:
    """The position at which each one's segment begins."""
    begins_BT = F.pad(segments_BT[:, 1:] != segments_BT[:, :-1], (1, 0), value=True)
    positions_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    return positions_T.where(begins_BT, 0).cummax(1).values


def _block_mask(segments_BT: Tensor) -> BlockMask:
    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return ((segments_BT[b, i] == segments_BT[b, j]) | (segments_BT[b, j] == TRUNK)) & (j <= i)

    B, T = segments_BT.shape
    return create_block_mask(seen, B, None, T, T, device=str(segments_BT.device))


@cache
def _compiled_flex_attention() -> Any:
    """FlexAttention leaves masked blocks out only when it is compiled."""
    return torch.compile(flex_attention)
