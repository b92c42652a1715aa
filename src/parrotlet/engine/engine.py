"""Generation: many prompts at a time, or one as a stream."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ..chat import Part
from ..errors import UserError
from ..model import GPT
from ..tokenizer import Tokenizer
from .kv_cache import SlotCache
from .sampling import Sampling, next_tokens
from .turn import Finish, Rules, Turn


@dataclass(frozen=True, kw_only=True)
class Completion:
    """An answer."""

    ids: tuple[int, ...]
    """All tokens after the prompt, without the final `<|assistant_end|>`."""
    injected: tuple[bool, ...]
    """Which of them the engine wrote: tool outputs."""
    finish: Finish
    """`stop`: the model ended it. `length`: max_tokens. `context`: no room left."""
    parts: tuple[Part, ...]
    """As a message's content: rendered again it gives the same ids, unless the model spelled a text in other tokens
    than the tokenizer would."""

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if part.type == "text")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a stream has to tell: a piece of text (whole characters only), a whole call, its result, the
    end."""

    kind: Literal["text", "call", "result", "end"]
    text: str = ""
    completion: Completion | None = None
    """With the end: the whole answer."""


class Engine:
    """Answers prompts with a model.

    `tools`: whether the model may call the calculator; if not, it can't open a call.
    """

    def __init__(self, model: GPT, tokenizer: Tokenizer, *, tools: bool = True) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._rules = Rules(tokenizer, tools, next(model.parameters()).device)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling | Sequence[Sampling],
        *,
        batch_size: int = 32,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Completion]:
        """Answer every prompt; at most `batch_size` at a time, those of like lengths together.

        `sampling`: one for all (each prompt then draws with a seed of its own), or one a prompt. An answer does not
        depend on its neighbours. Raises `UserError` if a prompt leaves no room in the context.
        """
        if isinstance(sampling, Sampling):
            sampling = [replace(sampling, seed=sampling.seed + i) for i in range(len(prompts))]
        turns = [self._turn(prompt, s) for prompt, s in zip(prompts, sampling, strict=True)]
        by_length = sorted(turns, key=lambda turn: len(turn.prompt))
        for start in range(0, len(turns), batch_size):
            for _ in self._write(by_length[start : start + batch_size]):
                pass
            on_progress(min(start + batch_size, len(turns)), len(turns))
        return [_completion(turn) for turn in turns]

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[Event]:
        """Answer one prompt, telling what is written as soon as it is whole."""
        turn = self._turn(prompt, sampling)
        teller = _Teller(turn, self.tokenizer)
        for _ in self._write([turn]):
            yield from teller.news()
        yield from teller.rest()
        yield Event(kind="end", completion=_completion(turn))

    def _turn(self, prompt: Sequence[int], sampling: Sampling) -> Turn:
        context = self.model.config.sequence_len
        if len(prompt) >= context:
            raise UserError(
                f"the prompt has {len(prompt)} tokens and the model's context {context}; shorten the conversation"
            )
        return Turn(list(prompt), sampling, self.tokenizer, context)

    @torch.inference_mode()
    def _write(self, turns: list[Turn]) -> Iterator[None]:
        """Write the answers of `turns` to their ends, a token of each at a time."""
        longest = max(len(turn.prompt) + turn.sampler.sampling.max_tokens for turn in turns)
        cache = SlotCache(self.model, len(turns), min(longest, self.model.config.sequence_len))
        logits_BV = self._prefill(turns, cache)
        alive = list(turns)
        while True:
            tokens = next_tokens(self._rules.apply(logits_BV, alive), [turn.sampler for turn in alive])
            for turn, token in zip(alive, tokens, strict=True):
                turn.add(token)
            yield
            if any(turn.finish for turn in alive):
                rows = [row for row, turn in enumerate(alive) if turn.finish is None]
                if not rows:
                    return
                alive = [alive[row] for row in rows]
                cache.keep(rows)
            logits_BV = self._decode(alive, cache)

    def _prefill(self, turns: list[Turn], cache: SlotCache) -> torch.Tensor:
        """Logits after each prompt. Short prompts are filled up on the right; the filling lies in later slots than
        any that are attended to before they are written over."""
        lengths = [len(turn.prompt) for turn in turns]
        cache.used = max(lengths)
        filled = [turn.prompt + [0] * (cache.used - len(turn.prompt)) for turn in turns]
        positions = torch.arange(cache.used).expand(len(turns), -1)
        hidden_BTC = self.model(self._tensor(filled), positions.to(self._device), cache=cache)
        last = self._tensor(lengths) - 1
        return self.model.logits(hidden_BTC[torch.arange(len(turns)), last])

    def _decode(self, turns: list[Turn], cache: SlotCache) -> torch.Tensor:
        """Logits after the last token of each answer."""
        tokens = self._tensor([[turn.ids[-1]] for turn in turns])
        positions = self._tensor([[turn.position - 1] for turn in turns])
        cache.used = max(turn.position for turn in turns)
        return self.model.logits(self.model(tokens, positions, cache=cache)[:, 0])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _tensor(self, values: Sequence[object]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


class _Teller:
    """Turns the tokens of an answer into events; bytes wait until they are whole characters."""

    def __init__(self, turn: Turn, tokenizer: Tokenizer) -> None:
        self._turn, self._tokenizer = turn, tokenizer
        self._told = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held: list[int] = []

    def news(self) -> Iterator[Event]:
        for i in range(self._told, len(self._turn.ids)):
            token, kind = self._turn.ids[i], self._turn.kinds[i]
            if kind == "text":
                yield from _text(self._decoder.decode(self._tokenizer.token_bytes(token)))
            elif kind is not None:
                self._held.append(token)
            else:
                yield from self._special(token)
        self._told = len(self._turn.ids)

    def rest(self) -> Iterator[Event]:
        yield from _text(self._decoder.decode(b"", final=True))
        if self._held:
            kind = "call" if self._turn.in_call else "result"
            yield Event(kind=kind, text=self._tokenizer.decode(self._held))

    def _special(self, token: int) -> Iterator[Event]:
        if token == self._tokenizer.python_start:
            yield from _text(self._decoder.decode(b"", final=True))
        kinds = {self._tokenizer.python_end: "call", self._tokenizer.output_end: "result"}
        if token in kinds:
            held, self._held = self._tokenizer.decode(self._held), []
            yield Event(kind="call" if kinds[token] == "call" else "result", text=held)


def _text(text: str) -> Iterator[Event]:
    if text:
        yield Event(kind="text", text=text)


def _completion(turn: Turn) -> Completion:
    assert turn.finish is not None
    return Completion(ids=tuple(turn.ids), injected=tuple(turn.injected), finish=turn.finish, parts=turn.parts())
