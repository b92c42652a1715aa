"""What OpenMP reads from the environment when torch is imported."""

from __future__ import annotations

import os


def let_threads_sleep() -> None:
    """Threads that wait for each other sleep after some 20 µs, unless the user's environment says otherwise. By default
    they spin for milliseconds, and hold up our own kernels' threads and whatever else the computer does.

    To be called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
