"""Where data files come from: the Hugging Face Hub, a mirror of it, or a folder with its layout."""

from .hub import Hub

__all__ = ["Hub"]
