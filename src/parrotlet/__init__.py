"""Parrotlet: trains a small chat model end to end, and shows what every stage taught it."""

__version__ = "0.1.0"
