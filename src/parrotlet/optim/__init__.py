"""Optimisers and schedules."""

from .groups import Optimizers, OptimSettings, clip_gradients
from .muon import Muon
from .schedule import lr_multiplier, muon_momentum

__all__ = ["Muon", "OptimSettings", "Optimizers", "clip_gradients", "lr_multiplier", "muon_momentum"]
