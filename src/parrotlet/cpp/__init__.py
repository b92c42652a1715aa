"""C++ that is compiled once for the machine that it runs on, and kept in the cache folder."""

from .build import compiler, library

__all__ = ["compiler", "library"]
