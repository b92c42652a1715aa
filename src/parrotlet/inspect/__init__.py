"""Inspection: what the model is taught, read from the very batches that it is trained on."""

from .xray import batch_of_recipe, batch_of_run, rows_as_json

__all__ = ["batch_of_recipe", "batch_of_run", "rows_as_json"]
