"""What changes from step to step: functions of the step alone, so that a resumed run is the same run."""

from __future__ import annotations


def lr_multiplier(
    step: int,
    total: int,
    *,
    warmup_frac: float = 0.0,
    warmdown_frac: float = 0.0,
    final_frac: float = 0.0,
) -> float:
    """Factor on the learning rates at `step` of `total` (counted from 0).

    Rises linearly to 1 over the first `warmup_frac` of the steps (the first step is above 0), stays, and falls
    linearly to `final_frac` over the last `warmdown_frac`; from `total` on it is `final_frac`. Where the two
    overlap the lower one counts.
    """
    assert total > 0, "a schedule needs steps"
    shares = {"warmup_frac": warmup_frac, "warmdown_frac": warmdown_frac, "final_frac": final_frac}
    for name, share in shares.items():
        assert 0 <= share <= 1, f"{name} = {share} is not a share"
    warmup, warmdown = warmup_frac * total, warmdown_frac * total
    up = min(1.0, (step + 1) / warmup) if warmup else 1.0
    left = max(0, total - step)
    down = min(1.0, left / warmdown) if warmdown else float(left > 0)
    return min(up, final_frac + (1 - final_frac) * down)


def muon_momentum(step: int, *, start: float, end: float, warmup_steps: int) -> float:
    """Momentum at `step`: linear from `start` to `end` over the first `warmup_steps`."""
    done = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    return (1 - done) * start + done * end
