"""Tasks: datasets of conversations to train on and to be evaluated on."""

from .base import Kind, Split, Task
from .build import build_task
from .judge import extract_final_value, same_value
from .mixture import TaskMixture, TaskSequence
from .spec import TAKES, TRAINED_ON_ONLY, TaskSpec

__all__ = [
    "TAKES",
    "TRAINED_ON_ONLY",
    "Kind",
    "Split",
    "Task",
    "TaskMixture",
    "TaskSequence",
    "TaskSpec",
    "build_task",
    "extract_final_value",
    "same_value",
]
