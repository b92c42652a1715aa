"""Optimisers and schedules."""

from .groups import Optimizers, OptimSettings, clip_gradients
from .muon import Muon
from .schedule import lr_multiplier, muon_momentum
from .sharded_muon import ShardedMuon

__all__ = ["Muon", "OptimSettings", "Optimizers", "ShardedMuon", "clip_gradients", "lr_multiplier", "muon_momentum"]
