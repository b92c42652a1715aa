"""The tokenizer: a byte-level BPE, trained with `tokenizers`, encoding with `tiktoken`, stored as JSON."""

from .compression import PUBLISHED_PATTERNS, CompressionRow, compression_report, load_rank_file
from .shown import REST, ShownAnswer, joined, shown_texts, spelled
from .stored import SPECIAL_TOKENS
from .tokenizer import Tokenizer
from .training import TOKENIZER_VERSION

__all__ = [
    "PUBLISHED_PATTERNS",
    "REST",
    "SPECIAL_TOKENS",
    "TOKENIZER_VERSION",
    "CompressionRow",
    "ShownAnswer",
    "Tokenizer",
    "compression_report",
    "joined",
    "load_rank_file",
    "shown_texts",
    "spelled",
]
