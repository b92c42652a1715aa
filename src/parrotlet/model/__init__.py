"""The model and its loss."""

from .config import ModelConfig
from .gpt import GPT
from .loss import linear_cross_entropy

__all__ = ["GPT", "ModelConfig", "linear_cross_entropy"]
