"""Conversations, and the one renderer that turns them into token ids."""

from .conversation import Conversation, Message, Part, Role
from .render import RENDER_VERSION, FittedPart, Rendering, render, render_prompt, split_to_fit

__all__ = [
    "RENDER_VERSION",
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
