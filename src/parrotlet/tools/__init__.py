"""The tools that the assistant can call."""

from .calculator import calculate
from .errors import ToolError

__all__ = ["ToolError", "calculate"]
