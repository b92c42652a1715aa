"""One answer while it is written: the tool protocol.

The model writes text and calls, `<|python_start|>` expression `<|python_end|>`. Then the engine, and only the
engine, writes `<|output_start|>` result `<|output_end|>`, and the model goes on.
"""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from ..chat import Part
from ..chat.conversation import PartType
from ..tokenizer import Tokenizer
from ..tools import ToolError, calculate
from .sampling import Sampler, Sampling

Finish = Literal["stop", "length", "context"]


class Rules:
    """Which tokens may be sampled: outside of a call, text, the opening of a call, and the end; in a call, text and
    its end. Without tools no call can be opened, so that the model has to do by itself."""

    def __init__(self, tokenizer: Tokenizer, tools: bool, device: torch.device) -> None:
        outside = {tokenizer.assistant_end} | ({tokenizer.python_start} if tools else set())
        self._outside = self._forbidding(tokenizer, outside, device)
        self._in_call = self._forbidding(tokenizer, {tokenizer.python_end}, device)

    def apply(self, logits_BV: Tensor, turns: list[Turn]) -> Tensor:
        """The logits with -inf at what each answer must not go on with."""
        return logits_BV + torch.stack([self._in_call if turn.in_call else self._outside for turn in turns])

    @staticmethod
    def _forbidding(tokenizer: Tokenizer, allowed: set[int], device: torch.device) -> Tensor:
        added = torch.zeros(tokenizer.vocab_size, device=device)
        added[list(tokenizer.special_ids - allowed)] = -torch.inf
        return added


class Turn:
    """An answer: its tokens, what each of them is, and what the engine still has to write into it."""

    def __init__(self, prompt: list[int], sampling: Sampling, tokenizer: Tokenizer, context: int) -> None:
        self.prompt, self.sampler = prompt, Sampler(sampling)
        self.ids: list[int] = []
        self.kinds: list[PartType | None] = []
        """Of each token: the kind of part that it is text of; None: a special token."""
        self.injected: list[bool] = []
        """Of each token: whether the engine wrote it."""
        self.finish: Finish | None = None
        self.in_call = False
        self._tokenizer, self._context = tokenizer, context
        self._call: list[int] = []
        self._to_write: deque[int] = deque()

    @property
    def position(self) -> int:
        """Position of the token that comes next."""
        return len(self.prompt) + len(self.ids)

    def add(self, sampled: int) -> None:
        """Go on with `sampled`, or with what the engine has to write instead."""
        injected = bool(self._to_write)
        token = self._to_write.popleft() if injected else sampled
        if token == self._tokenizer.assistant_end:
            self.finish = "stop"
            return
        self.ids.append(token)
        self.injected.append(injected)
        self.kinds.append(self._follow(token, injected))
        if self.position >= self._context:
            self.finish = "context"
        elif len(self.ids) >= self.sampler.sampling.max_tokens and not self._to_write:
            self.finish = "length"

    def parts(self) -> tuple[Part, ...]:
        """The answer in parts, as a conversation holds it; a call that was cut off, or its output, is left out."""
        end = len(self.ids)
        if self.in_call or self._to_write:
            end -= self.ids[::-1].index(self._tokenizer.python_start) + 1
        whole = zip(self.ids[:end], self._part_numbers()[:end], self.kinds[:end], strict=True)
        spans = groupby(whole, key=lambda t: t[1:])
        return tuple(
            Part(kind, self._tokenizer.decode([token for token, *_ in span]))
            for (_, kind), span in spans
            if kind is not None
        )

    def _part_numbers(self) -> list[int]:
        """Counts up at every special token, so that a call and the text after it are told apart."""
        numbers, number = [], 0
        for kind in self.kinds:
            number += kind is None
            numbers.append(number)
        return numbers

    def _follow(self, token: int, injected: bool) -> PartType | None:
        t = self._tokenizer
        if token == t.python_start:
            self.in_call, self._call = True, []
        elif token == t.python_end:
            self.in_call = False
            self._to_write.extend([t.output_start, *t.encode(self._result()), t.output_end])
        elif self.in_call:
            self._call.append(token)
            return "python"
        elif token not in t.special_ids:
            return "python_output" if injected else "text"
        return None

    def _result(self) -> str:
        try:
            return calculate(self._tokenizer.decode(self._call))
        except ToolError as error:
            return f"error: {error}"
