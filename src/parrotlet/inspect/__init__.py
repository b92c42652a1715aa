"""Inspection: what the model is taught, read from the very batches that it is trained on."""

from .material import Material
from .pairs import Finder, shared_conversation
from .segments import Segment, segments_of_row
from .xray import XRay, take_xray

__all__ = ["Finder", "Material", "Segment", "XRay", "segments_of_row", "shared_conversation", "take_xray"]
