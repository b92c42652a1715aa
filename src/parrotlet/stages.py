"""The stages, side by side: this page is the answer to "what differs between base training, mid-training and SFT?".

There is one training loop. A stage says where it starts, what it reads, which tokens it is supervised on, how
rows are filled, how the learning rate moves and what is measured. Sizes (how many, how often) are in the recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .data import Attends, Supervision

StageName = Literal["base", "mid", "sft"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What makes a stage this stage."""

    name: StageName
    phrase: str
    """What it is for, in one phrase."""
    starts_from: tuple[StageName, ...]
    """Whose checkpoint it goes on from, the first choice first, with a fresh optimiser. Empty: random weights."""
    reads: Literal["documents", "conversations"]
    supervision: Supervision
    """`all`: every next token is a target. `assistant`: only what the assistant is expected to produce."""
    attends: Attends
    """`row`: to everything before it in the row. `segment`: only within its own conversation."""
    too_long: Literal["continue", "split"]
    """What is longer than a row goes on in the next row, or is split between turns (an exchange that does not
    fit by itself is left out, and counted)."""
    step_unit: Literal["tokens", "conversations"]
    """What a step holds a fixed number of."""
    lr_scale: float
    """Factor on all learning rates."""
    warmdown_frac: float
    """Share of the steps, at the end, over which the rate falls linearly (to `final_lr_frac`, 0 by default)."""
    measures: tuple[str, ...]
    """What is measured on the way."""


BASE = Stage(
    name="base",
    phrase="learn the language",
    starts_from=(),
    reads="documents",
    supervision="all",
    attends="row",
    too_long="continue",
    step_unit="tokens",
    lr_scale=1.0,
    warmdown_frac=0.2,
    measures=("validation bits per byte", "CORE", "samples"),
)

MID = Stage(
    name="mid",
    phrase="learn to speak: dialogue format, tools",
    starts_from=("base",),
    reads="conversations",
    supervision="all",
    attends="segment",
    too_long="split",
    step_unit="tokens",
    lr_scale=1.0,
    warmdown_frac=0.2,
    measures=("validation bits per byte",),
)

SFT = Stage(
    name="sft",
    phrase="learn to speak well",
    starts_from=("mid", "base"),
    reads="conversations",
    supervision="assistant",
    attends="segment",
    too_long="split",
    step_unit="conversations",
    lr_scale=0.02,
    warmdown_frac=1.0,
    measures=("validation loss", "multiple-choice accuracy"),
)

STAGES: dict[StageName, Stage] = {stage.name: stage for stage in (BASE, MID, SFT)}
