"""Models that go anywhere: the files from which Hugging Face's libraries load a stage."""

from .export import export_stage
from .tokenizer_files import chat_template

__all__ = ["chat_template", "export_stage"]
