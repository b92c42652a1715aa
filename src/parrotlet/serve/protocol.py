"""What clients send: OpenAI's fields, and Parrotlet's own.

Fields that would change an answer and are not known are refused, never passed over.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..chat import Conversation
from ..engine import Sampling
from ..errors import UserError

MAX_STOPS = 16
Zero = Annotated[float, Field(ge=0, le=0)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]
Ids = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    """A piece of a message's text."""

    type: Literal["text"]
    text: str


class ToolPart(Strict):
    """A piece of an assistant's message: text, the expression of a call, or the result that was written after it."""

    type: Literal["text", "python", "python_output"]
    text: str


class ChatMessage(Strict):
    """A message. `parts` is Parrotlet's own: what the assistant wrote with its tool calls, in order, as it came with
    the answer. A conversation that is sent back with it renders to the very ids that were generated, and to those that
    training would see. `content` is the text alone; where both are given, they must agree."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    parts: list[ToolPart] | None = None
    name: str | None = Field(None, description="Passed over.")
    refusal: None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.parts is None:
            if self.content is None:
                raise ValueError("a message needs content")
            return self
        if self.role != "assistant":
            raise ValueError("only an assistant's message has parts")
        if self.content is not None and self.text != "".join(p.text for p in self.parts if p.type == "text"):
            raise ValueError(
                "content and the text in parts differ: leave out content, or parts if the text was changed"
            )
        return self

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())

    @property
    def plain(self) -> dict[str, object]:
        """As it stands in training data."""
        content = self.text if self.parts is None else [part.model_dump() for part in self.parts]
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class StreamOptions(Strict):
    """How to stream."""

    include_usage: bool = False
    include_obfuscation: bool = Field(False, description="Passed over.")


class Request(Strict):
    """What a chat and a completion have in common. The defaults of `temperature` and `top_k` are those of
    `parrotlet chat`."""

    model: str
    n: int = Field(1, ge=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(
        None, ge=0, le=1000, description="0 takes the likeliest token; else at least 1e-30. Default: 0.6"
    )
    top_k: int | None = Field(None, ge=0, lt=2**31, description="Among the k likeliest; 0: all. Default: 50")
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float = Field(1.0, ge=0.01, le=1000)
    seed: Seed | None = Field(None, description="The same seed gives the same answer. Default: another one each time")
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    max_tokens: int | None = Field(
        None, ge=1, lt=2**31, description="Of an answer, with calls and results. Default: 256"
    )
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = Field(None, description="Passed over.")
    metadata: dict[str, str] | None = Field(None, description="Passed over.")
    store: bool | None = Field(None, description="Passed over.")

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens to tell beside each one; None: no log-probabilities."""
        raise NotImplementedError

    def sampling(self) -> Sampling:
        """For the first choice; the others have the seeds that follow."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=0.6 if self.temperature is None else self.temperature,
            top_k=50 if self.top_k is None else self.top_k or None,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            seed=secrets.randbits(31) if self.seed is None else self.seed,
            stop=stop,
            max_tokens=self.max_tokens or 256,
            logprobs=self.alternatives,
        )


class ChatRequest(Request):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, lt=2**31, description="The same as max_tokens.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    calculator: bool = Field(True, description="Whether the model may call its tool.")
    slide: bool = Field(
        False, description="Where the context is full, leave out the oldest exchanges instead of ending or refusing."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_completion_tokens is not None and self.max_tokens not in (None, self.max_completion_tokens):
            raise ValueError("max_tokens and max_completion_tokens differ")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        return self

    @property
    def alternatives(self) -> int | None:
        """As OpenAI's two fields say it for chats."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def conversation(self) -> Conversation:
        """The messages, checked to be in order and to end with the user's; raises `UserError`."""
        if self.messages[-1].role != "user":
            raise UserError(
                f"messages: the last is the {self.messages[-1].role}'s; it must be the user's, to be answered"
            )
        return Conversation.from_messages([message.plain for message in self.messages], "messages")


class CompletionRequest(Request):
    """`POST /v1/completions`: a text (after `<|bos|>`) or token ids, as they are; several of them are answered each."""

    prompt: str | Annotated[list[str], Field(min_length=1)] | Ids | Annotated[list[Ids], Field(min_length=1)]
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None

    @property
    def alternatives(self) -> int | None:
        """As OpenAI's one field says it for completions."""
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        return [self.prompt] if isinstance(self.prompt[0], int) else list(self.prompt)  # type: ignore[list-item]
