"""The model and its loss."""

from .attention import KVCache
from .config import ModelConfig
from .gpt import GPT
from .loss import linear_cross_entropy

__all__ = ["GPT", "KVCache", "ModelConfig", "linear_cross_entropy"]
