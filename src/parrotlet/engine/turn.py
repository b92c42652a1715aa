"""One answer while it is written: the tool protocol.

The model writes text and calls, `<|python_start|>` expression `<|python_end|>`. Then the engine, and only the
engine, writes `<|output_start|>` result `<|output_end|>`, and the model goes on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..tokenizer import Tokenizer
from .calls import ToolCall
from .events import Completion, Event, Finish
from .sampling import Logprob, Sampler, Sampling
from .transcript import Piece, Transcript
from .window import Window


class Rules:
    """Which special tokens may be sampled: outside of a call, the opening of a call and the end; in a call, its end.
    Without tools no call can be opened, so that the model has to do by itself."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, device: torch.device) -> None:
        self._first = min(tokenizer.special_ids)
        t, end = tokenizer, tokenizer.assistant_end
        allowed = [{end}, {end, t.python_start}, {t.python_end}]
        ruled = t.special_ids.union(range(t.vocab_size, vocab_size))
        self._table = torch.zeros((len(allowed), vocab_size - self._first), device=device)
        for state, tokens in enumerate(allowed):
            self._table[state, [token - self._first for token in ruled - tokens]] = -torch.inf

    def of(self, turns: list[Turn]) -> Tensor:
        """What is added to the logits from the first special token's on, (B, S)."""
        states = [2 if turn.transcript.in_call else int(turn.tools) for turn in turns]
        alike = states.count(states[0]) == len(states)
        return self._table[states[0]].expand(len(states), -1) if alike else self._table[states]


class Turn:
    """An answer: its tokens, and how many of them and of the prompt's have their keys and values in memory.

    `window`: the conversation that `prompt` is, if it may slide.
    """

    def __init__(
        self,
        request: int,
        prompt: list[int],
        sampling: Sampling,
        tokenizer: Tokenizer,
        context: int,
        *,
        tools: bool,
        window: Window | None,
    ) -> None:
        self.request, self.prompt, self.sampling, self.tools = request, prompt, sampling, tools
        self.sampler = Sampler(sampling, prompt)
        self.transcript = Transcript(tokenizer, sampling.stop)
        self.ids: list[int] = []
        self.injected: list[bool] = []
        self.logprobs: list[Logprob | None] = []
        self.fed = 0
        """Tokens, from the first of the prompt on, whose keys and values are in memory."""
        self.reused = 0
        self.finish: Finish | None = None
        self.call: ToolCall | None = None
        self._tokenizer, self._context, self._window = tokenizer, context, window

    def __len__(self) -> int:
        return len(self.prompt) + len(self.ids)

    @property
    def ready(self) -> bool:
        """Whether only the last token has to be fed to know what comes next."""
        return self.call is None and len(self) - self.fed == 1

    @property
    def last(self) -> int:
        """The last token of prompt and answer."""
        return self.ids[-1] if self.ids else self.prompt[-1]

    def tokens(self, start: int, end: int) -> list[int]:
        """Of prompt and answer, those from `start` up to `end`."""
        n = len(self.prompt)
        return self.prompt[start:end] + self.ids[max(0, start - n) : max(0, end - n)]

    def take(self, token: int, logprob: Logprob | None) -> list[Piece]:
        """Go on with a sampled token. After `<|python_end|>` a result has to follow: `called` is set."""
        if token == self._tokenizer.assistant_end:
            return self.end("stop")
        self._append([token], logprob, injected=False)
        pieces = list(self.transcript.add(token))
        if self.transcript.stopped:
            return pieces + self.end("stop")
        return pieces if self.called is not None else pieces + self._check_room()

    @property
    def called(self) -> str | None:
        """The expression of a call that has no result yet."""
        return self.transcript.call if self.ids and self.ids[-1] == self._tokenizer.python_end else None

    def take_result(self, text: str) -> list[Piece]:
        """Go on with the result of the call."""
        t, tokens = self._tokenizer, self._tokenizer.encode(text)
        self.call = None
        if not self._make_room(len(tokens) + 2):
            return self.end("length")
        self._append([t.output_start, *tokens, t.output_end], None, injected=True)
        return [*self.transcript.add_result(tokens), *self._check_room()]

    def end(self, finish: Finish) -> list[Piece]:
        """The answer is over."""
        self.finish, self.call = finish, None
        return list(self.transcript.close())

    def event(self, piece: Piece) -> Event:
        """A piece of this answer as an event."""
        return Event(request=self.request, kind=piece[0], text=piece[1])

    def completion(self) -> Completion:
        """The answer, once it is over."""
        assert self.finish is not None
        return Completion(
            ids=tuple(self.ids),
            injected=tuple(self.injected),
            logprobs=None if self.sampling.logprobs is None else tuple(self.logprobs),
            finish=self.finish,
            parts=self.transcript.parts,
            prompt_tokens=len(self.prompt),
            left_out=self._window.left_out if self._window else 0,
            reused=self.reused,
        )

    def _append(self, tokens: list[int], logprob: Logprob | None, *, injected: bool) -> None:
        self.ids += tokens
        self.injected += [injected] * len(tokens)
        self.logprobs += [logprob] * len(tokens)
        self.sampler.add(tokens)

    def _check_room(self) -> list[Piece]:
        if len(self.ids) >= self.sampling.max_tokens or not self._make_room(1):
            return self.end("length")
        return []

    def _make_room(self, tokens: int) -> bool:
        """Whether so many more tokens fit into the context, if need be without the oldest exchanges."""
        room = self._context - tokens
        if len(self) > room and self._window is not None and self._window.slide(room - len(self.ids)):
            self.prompt, self.fed, self.reused = self._window.prompt, 0, 0
            self.sampler.start_from([*self.prompt, *self.ids])
        return len(self) <= room
