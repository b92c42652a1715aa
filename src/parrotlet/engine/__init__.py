"""The engine: from prompts to answers, with the calculator."""

from .engine import Completion, Engine, Event
from .sampling import Sampling

__all__ = ["Completion", "Engine", "Event", "Sampling"]
