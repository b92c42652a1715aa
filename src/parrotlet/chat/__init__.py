"""Conversations, and the one renderer that turns them into token ids."""

from .conversation import Conversation, Message, Part, Role
from .render import FittedPart, Rendering, render, render_prompt, split_to_fit

__all__ = [
    "Conversation",
    "FittedPart",
    "Message",
    "Part",
    "Rendering",
    "Role",
    "render",
    "render_prompt",
    "split_to_fit",
]
