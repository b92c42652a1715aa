"""The engine: from prompts to answers, many at a time, with tools."""

from .engine import Engine
from .events import Completion, Event
from .sampling import Logprob, Sampling

__all__ = ["Completion", "Engine", "Event", "Logprob", "Sampling"]
