"""The renderer: a conversation as token ids and a mask.

Training, evaluation, the engine, the server and the export all go through here, so that what the engine feeds
the model is what the trainer rendered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..tokenizer import Tokenizer
from .conversation import Conversation, Message

RENDER_VERSION = 1
"""Part of every data fingerprint: raise it whenever the same conversation would render to other ids."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """`ids` and, as long, `mask`: 1 where the assistant is expected to produce the token."""

    ids: list[int]
    mask: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: list[int], mask: int) -> None:
        """Append `ids`, all with the same `mask`."""
        self.ids.extend(ids)
        self.mask.extend([mask] * len(ids))


def render(conversation: Conversation, tokenizer: Tokenizer) -> Rendering:
    """Render a whole conversation: `<|bos|>`, then each message between its start and end token.

    Text that spells a special token stays plain text. Tool calls are the assistant's (mask 1), tool outputs
    are not (mask 0).
    """
    out = Rendering([tokenizer.bos], [0])
    for message in _with_system_joined(conversation):
        if message.role == "user":
            out.add([tokenizer.user_start, *tokenizer.encode(message.text), tokenizer.user_end], 0)
        else:
            out.add([tokenizer.assistant_start], 0)
            _add_parts(out, message, tokenizer)
            out.add([tokenizer.assistant_end], 1)
    return out


def render_prompt(conversation: Conversation, tokenizer: Tokenizer) -> list[int]:
    """Ids up to and including the `<|assistant_start|>` after which the model answers the last user message."""
    assert conversation.messages[-1].role == "user", "a prompt ends with the user's message"
    return [*render(conversation, tokenizer).ids, tokenizer.assistant_start]


@dataclass(frozen=True, slots=True)
class FittedPart:
    """A stretch of a conversation that fits, rendered as a conversation of its own."""

    rendering: Rendering
    before: bool
    """Whether exchanges of the conversation come before this part."""
    after: bool
    """Whether exchanges come after it."""


def split_to_fit(conversation: Conversation, tokenizer: Tokenizer, max_tokens: int) -> tuple[list[FittedPart], int]:
    """Render in as few parts as fit into `max_tokens` each, cut only between turns.

    Every part repeats the system message. A single exchange (a user message and its answer) that does not fit is
    left out. Returns the parts and how many exchanges were left out.
    """
    whole = render(conversation, tokenizer)
    if len(whole) <= max_tokens:
        return [FittedPart(whole, False, False)], 0
    head = conversation.messages[:1] if conversation.messages[0].role == "system" else ()
    turns = conversation.messages[len(head) :]

    def rendered(first: int, end: int) -> Rendering:
        return render(replace(conversation, messages=head + turns[first:end]), tokenizer)

    parts: list[FittedPart] = []
    left_out = 0
    first = 0
    while first < len(turns):
        fitting, end = None, first
        while end < len(turns) and len(longer := rendered(first, end + 2)) <= max_tokens:
            fitting, end = longer, end + 2
        if fitting is None:
            left_out, first = left_out + 1, first + 2
            continue
        parts.append(FittedPart(fitting, first > 0, end < len(turns)))
        first = end
    return parts, left_out


def _add_parts(out: Rendering, message: Message, tokenizer: Tokenizer) -> None:
    for part in message.parts:
        ids = tokenizer.encode(part.text)
        if part.type == "text":
            out.add(ids, 1)
        elif part.type == "python":
            out.add([tokenizer.python_start, *ids, tokenizer.python_end], 1)
        else:
            out.add([tokenizer.output_start, *ids, tokenizer.output_end], 0)


def _with_system_joined(conversation: Conversation) -> tuple[Message, ...]:
    first, *rest = conversation.messages
    if first.role != "system":
        return conversation.messages
    user, *rest = rest
    return (Message("user", f"{first.text}\n\n{user.text}"), *rest)
