"""Training: the loop, checkpoints, and a run from its recipe to its results."""

from ..progress import ProgressLine, duration
from .download import askable, download_recipe
from .loop import Callback, StoppedByUser, Training, train
from .pipeline import run_pipeline, score_stage, train_stage
from .run import Run
from .setup import data_changes, load_model, prepare, recipe_tokenizer, train_tokenizer
from .sources import Sources

__all__ = [
    "Callback",
    "ProgressLine",
    "Run",
    "Sources",
    "StoppedByUser",
    "Training",
    "askable",
    "data_changes",
    "download_recipe",
    "duration",
    "load_model",
    "prepare",
    "recipe_tokenizer",
    "run_pipeline",
    "score_stage",
    "train",
    "train_stage",
    "train_tokenizer",
]
