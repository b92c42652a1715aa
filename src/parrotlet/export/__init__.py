"""Models that go anywhere: the files from which Hugging Face's libraries load a stage."""

from .export import export_stage
from .importing import Imported
from .tokenizer_files import chat_template

__all__ = ["Imported", "chat_template", "export_stage"]
