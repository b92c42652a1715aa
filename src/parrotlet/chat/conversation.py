"""A conversation: what people and the assistant say to each other, with the assistant's tool calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from ..errors import UserError

Role = Literal["system", "user", "assistant"]
PartType = Literal["text", "python", "python_output"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of what the assistant writes: text, a tool call, or the output that a tool gave back."""

    type: PartType
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Only the assistant's content may be a sequence of parts."""

    role: Role
    content: str | tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts, whichever way it was given."""
        return (Part("text", self.content),) if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """What a reader would read: the text parts, joined; calls and their outputs left out."""
        return "".join(part.text for part in self.parts if part.type == "text")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order: at most one leading system message, then user and assistant by turns.

    `letters` (the possible answers) and `subject` travel along with multiple-choice questions.
    """

    messages: tuple[Message, ...]
    letters: tuple[str, ...] | None = None
    subject: str | None = None

    @classmethod
    def from_messages(cls, messages: object, where: str, **fields: Any) -> Conversation:
        """Build a conversation from plain `{"role", "content"}` mappings, checking it.

        `where` names the place ("chat.jsonl, line 3") for the message of the `UserError` that bad input raises.
        A conversation that is trained on needs an assistant turn: `check_trainable` asks for that.
        """
        if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
            raise UserError(
                f"{where}: expected a list of messages like "
                f'[{{"role": "user", "content": "…"}}, …], found {_shown(messages)}'
            )
        built = tuple(_message(m, f"{where}, message {i + 1}") for i, m in enumerate(messages))
        conversation = cls(messages=built, **fields)
        conversation._check_order(where)
        return conversation

    def check_trainable(self, where: str) -> None:
        """Raise `UserError` unless there is an assistant turn to learn from, at the end."""
        if not any(m.role == "assistant" for m in self.messages):
            raise UserError(f"{where}: no assistant message, so there is nothing to learn; add one or drop it")
        if self.messages[-1].role != "assistant":
            raise UserError(f"{where}: ends with a {self.messages[-1].role} message; the last must be the assistant's")

    def _check_order(self, where: str) -> None:
        turns = self.messages[1:] if self.messages[0].role == "system" else self.messages
        if not turns:
            raise UserError(f"{where}: only a system message; a user message has to follow it")
        for i, message in enumerate(turns):
            expected = "user" if i % 2 == 0 else "assistant"
            if message.role != expected:
                position = i + 1 + len(self.messages) - len(turns)
                raise UserError(
                    f"{where}: message {position} has the role {message.role!r} where {expected!r} is due "
                    "(one system message at most, in front; then user and assistant by turns)"
                )


def _message(raw: object, where: str) -> Message:
    if not isinstance(raw, Mapping):
        raise UserError(f'{where}: expected {{"role": …, "content": …}}, found {_shown(raw)}')
    role, content = raw.get("role"), raw.get("content")
    if role not in get_args(Role):
        raise UserError(f"{where}: the role must be one of {', '.join(get_args(Role))}; found {_shown(role)}")
    role = cast("Role", role)
    if isinstance(content, str):
        return Message(role, content)
    if role != "assistant" or not isinstance(content, Sequence):
        raise UserError(f"{where}: the content of a {role} message must be a text, found {_shown(content)}")
    parts = tuple(_part(p, f"{where}, part {i + 1}") for i, p in enumerate(content))
    calls = [i for i, part in enumerate(parts) if part.type == "python"]
    if calls != [i - 1 for i, part in enumerate(parts) if part.type == "python_output"]:
        raise UserError(f"{where}: in parts, each python is followed by its python_output")
    return Message(role, parts)


def _part(raw: object, where: str) -> Part:
    if isinstance(raw, Mapping) and raw.get("type") in get_args(PartType) and isinstance(raw.get("text"), str):
        return Part(raw["type"], raw["text"])
    raise UserError(f'{where}: expected {{"type": {"|".join(get_args(PartType))}, "text": "…"}}, found {_shown(raw)}')


def _shown(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
