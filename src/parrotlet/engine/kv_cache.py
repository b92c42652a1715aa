"""Preallocated memory for keys and values: L layers, B rows, K key/value heads, S slots, D head width."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import GPT


class SlotCache:
    """Slot = position. Rows may stand at different positions; what was never written is never attended to."""

    def __init__(self, model: GPT, rows: int, slots: int) -> None:
        config = model.config
        shape = (config.depth, rows, config.kv_heads, slots, config.head_dim)
        device = next(model.parameters()).device
        self._keys = torch.zeros(shape, dtype=model.dtype, device=device)
        self._values = torch.zeros_like(self._keys)
        self._rows = torch.arange(rows, device=device)[:, None]
        self.used = 0
        """Slots, from the first on, that the next forward pass may attend to."""

    def update(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Write at each row's positions; return the slots that are in use."""
        for memory, new_BKTD in ((self._keys[layer], k_BKTD), (self._values[layer], v_BKTD)):
            memory[self._rows, :, positions_BT] = new_BKTD.transpose(1, 2)
        return self._keys[layer][:, :, : self.used], self._values[layer][:, :, : self.used]

    def keep(self, rows: list[int]) -> None:
        """Drop all rows but these."""
        chosen = torch.tensor(rows, device=self._keys.device)
        self._keys, self._values = self._keys[:, chosen], self._values[:, chosen]
        self._rows = self._rows[: len(rows)]
