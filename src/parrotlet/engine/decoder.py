"""What the engine asks of the model: feed prompts, and score what comes next."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import GPT
from .memory import Memory
from .native import NativeForward, native_library
from .torch_forward import TorchForward


class Decoder:
    """A copy of a model's weights, and memory for the keys and values of `rows` rows. Rows are independent of each
    other, to the last bit."""

    def __init__(self, model: GPT, rows: int) -> None:
        self._device = next(model.parameters()).device
        library = native_library() if self._device.type == "cpu" else None
        self.memory = Memory(model.config, rows, self._device, model.dtype if library else torch.float32)
        self._forward = NativeForward(model, self.memory, library) if library else TorchForward(model, self.memory)
        self.grain = self._forward.GRAIN

    @torch.inference_mode()
    def prefill(self, row: int, tokens: list[int], start: int) -> None:
        """Feed tokens to a row, which stand at its positions from `start` on."""
        positions = torch.arange(start, start + len(tokens), device=self._device)
        self._forward(torch.tensor([tokens], device=self._device), positions[None], row, score=False)

    @torch.inference_mode()
    def decode(self, tokens: list[int], positions: list[int]) -> Tensor:
        """Scores (B, V) of what follows one token in each of the first B rows; float32, before the soft cap."""
        fed_2B = torch.tensor([tokens, positions], device=self._device)
        scores = self._forward(fed_2B[0, :, None], fed_2B[1, :, None], 0, score=True)
        assert scores is not None
        return scores
