"""Evaluation: validation loss, and what a model answers."""

from .chat_tasks import Answer, TaskResult, evaluate_task
from .loss import Validation, evaluate_loss
from .statistics import centred, wilson_interval

__all__ = ["Answer", "TaskResult", "Validation", "centred", "evaluate_loss", "evaluate_task", "wilson_interval"]
