"""C++ that is compiled once for the machine that it runs on, and kept in the cache folder."""

from .build import GENERATION, TRAINING, compile_ahead, compiler, library, torch_lacks

__all__ = ["GENERATION", "TRAINING", "compile_ahead", "compiler", "library", "torch_lacks"]
