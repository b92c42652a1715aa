"""Evaluation: validation loss, and what a model answers."""

from .chat_tasks import Answer, TaskResult, chat_core, evaluate_task
from .loss import Validation, evaluate_loss
from .statistics import centred, wilson_interval

__all__ = [
    "Answer",
    "TaskResult",
    "Validation",
    "centred",
    "chat_core",
    "evaluate_loss",
    "evaluate_task",
    "wilson_interval",
]
