"""The tools that the assistant can call, and the sandbox for programs that it writes."""

from .calculator import calculate
from .errors import ToolError
from .sandbox import Limits, Outcome, check_allowed, run_tests

__all__ = ["Limits", "Outcome", "ToolError", "calculate", "check_allowed", "run_tests"]
