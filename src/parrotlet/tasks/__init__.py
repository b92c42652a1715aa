"""Tasks: datasets of conversations to train on and to be evaluated on."""

from .base import Kind, Split, Task
from .build import build_task
from .mixture import TaskMixture
from .spec import TAKES, TRAINED_ON_ONLY, TaskSpec

__all__ = [
    "TAKES",
    "TRAINED_ON_ONLY",
    "Kind",
    "Split",
    "Task",
    "TaskMixture",
    "TaskSpec",
    "build_task",
]
