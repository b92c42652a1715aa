"""Data: documents and conversations as rows and batches, in an exact order."""

from .batch import NOT_SUPERVISED, PADDING, Attends, Batch, Row, Source, Supervision, next_token_targets
from .counts import NOTHING, Counts, count_sources
from .documents import Documents, SourceFile, held_out
from .order import Order, Shuffle, State, StreamOrder, TextSource, keep_all, validation_rows
from .plan import PlanOrder, RowPlan, measure_pieces, plan_rows
from .planned import Planned, plan_lines

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
    "Planned",
    "Row",
    "RowPlan",
    "Shuffle",
    "Source",
    "SourceFile",
    "State",
    "StreamOrder",
    "Supervision",
    "TextSource",
    "count_sources",
    "held_out",
    "keep_all",
    "measure_pieces",
    "next_token_targets",
    "plan_lines",
    "plan_rows",
    "validation_rows",
]
