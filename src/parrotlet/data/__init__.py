"""Data: documents and conversations as rows and batches, in an exact order."""

from .batch import NOT_SUPERVISED, PADDING, Attends, Batch, Row, Source, Supervision, next_token_targets
from .counts import NOTHING, Counts, count_sources
from .documents import Documents, held_out
from .order import Order, Shuffle, State, StreamOrder, validation_rows
from .plan import PlanOrder, RowPlan, measure_pieces, plan_rows

__all__ = [
    "NOTHING",
    "NOT_SUPERVISED",
    "PADDING",
    "Attends",
    "Batch",
    "Counts",
    "Documents",
    "Order",
    "PlanOrder",
    "Row",
    "RowPlan",
    "Shuffle",
    "Source",
    "State",
    "StreamOrder",
    "Supervision",
    "count_sources",
    "held_out",
    "measure_pieces",
    "next_token_targets",
    "plan_rows",
    "validation_rows",
]
