"""What torch, its compiler and OpenMP read from the environment."""

from __future__ import annotations

import os

from .files import cache_folder


def set_torch_environment() -> None:
    """Set what the user has not set. To be called before torch is imported."""
    # Threads of OpenMP that wait for each other sleep after some 20 µs. By default they spin for milliseconds, and hold
    # up our own kernels' threads and whatever else the computer does.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # By default what was compiled lies in /tmp, and is gone when the computer starts anew.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torch"))
