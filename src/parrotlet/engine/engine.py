"""The engine: requests join and leave between steps, and each step writes a token of every answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from ..chat import Conversation, render_prompt
from ..errors import UserError
from ..model import GPT
from ..tokenizer import Tokenizer
from ..tools import calculate
from .calls import Tool, ToolCall
from .decoder import Decoder
from .events import Completion, Event
from .rows import Rows
from .sampling import Sampling, next_tokens
from .transcript import Piece
from .turn import Rules, Turn
from .window import Window

FED_A_STEP = 1024
"""Tokens of new prompts that a step feeds, at most (and the rest of a piece): the answers that are being written wait
no longer than that."""
TOOL_SECONDS = 5.0
GRACE = 0.002
"""Seconds that a step gives the calls that it made: most are answered by then, and no row has to be set aside."""

Prompt = Sequence[int] | Conversation


class Engine:
    """Answers prompts with a model; a copy of its weights, as they are now. (The embedding of n-grams, which may be
    large, is not copied: it must not change.)

    `rows`: answers that are written at a time; more requests wait. Each row has memory for a whole context, allocated
    once, `memory_bytes`; raises `UserError` if there is none. `tool`: what calls are answered with, within
    `tool_seconds` each.

    `generate` and `stream` do everything by themselves, one after the other. A server calls `step` in a loop from one
    thread, and `submit` and `cancel` from any other.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        rows: int = 32,
        tool: Tool = calculate,
        tool_seconds: float = TOOL_SECONDS,
    ) -> None:
        self.config, self.tokenizer = model.config, tokenizer
        self._decoder = Decoder(model, rows)
        self._rows = Rows(self._decoder, rows)
        self._rules = Rules(tokenizer, model.config.vocab_size, next(model.parameters()).device)
        self._tool, self._tool_seconds = tool, tool_seconds
        self._numbers = count()
        self._waiting: deque[Turn] = deque()
        self._cancelled: set[int] = set()
        self._running = False
        self._news = threading.Condition()
        """Held while `_waiting` or `_cancelled` change; notified when there is something to do."""

    @property
    def memory_bytes(self) -> int:
        """What all rows take: keys, values and what short convolutions look back at; it never grows."""
        return self._decoder.memory.nbytes

    def submit(self, prompt: Prompt, sampling: Sampling, *, tools: bool = True, slide: bool = False) -> int:
        """Ask for an answer; returns the number that its events carry. Safe from any thread.

        `tools`: whether the model may call the tool; if not, it can't open a call. `slide`: when the context is full,
        leave out the oldest exchanges of the prompt, which must be a conversation then; else the answer ends. Raises
        `UserError` if the prompt leaves no room in the context.
        """
        turn = self._turn(prompt, sampling, tools=tools, slide=slide)
        with self._news:
            self._waiting.append(turn)
            self._news.notify_all()
        return turn.request

    def cancel(self, request: int) -> None:
        """End an answer where it is, if it isn't over; the next step tells its end. Safe from any thread."""
        with self._news:
            self._cancelled.add(request)
            self._news.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep until a step has something to do, or so many seconds have passed; returns whether it has."""
        end = None if seconds is None else time.monotonic() + seconds
        with self._news:
            while not self._has_work():
                now = time.monotonic()
                if end is not None and now >= end:
                    return False
                ends = [turn.call.deadline for turn in self._rows.turns if turn.call] + ([end] if end else [])
                self._news.wait(max(0.0, min(ends) - now) if ends else None)
            return True

    def step(self) -> list[Event]:
        """Write a token of every answer; returns what there is to tell. From one thread only."""
        events = [*self._cancel(), *self._take_results()]
        self._feed()
        self._rows.arrange()
        turns = self._rows.decoding
        if turns:
            events += self._write(turns)
        return events

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling | Sequence[Sampling],
        *,
        tools: bool = True,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Completion]:
        """Answer every prompt.

        `sampling`: one for all (each prompt then draws with a seed of its own), or one a prompt. An answer does not
        depend on its neighbours. Raises `UserError` if a prompt leaves no room in the context.
        """
        if isinstance(sampling, Sampling):
            sampling = [replace(sampling, seed=sampling.seed + i) for i in range(len(prompts))]
        turns = [self._turn(p, s, tools=tools) for p, s in zip(prompts, sampling, strict=True)]
        done: dict[int, Completion] = {}
        for event in self._run(sorted(turns, key=lambda turn: len(turn.prompt))):  # rows of like lengths together
            if event.completion:
                done[event.request] = event.completion
                on_progress(len(done), len(turns))
        return [done[turn.request] for turn in turns]

    def stream(self, prompt: Prompt, sampling: Sampling, *, tools: bool = True, slide: bool = False) -> Iterator[Event]:
        """Answer one prompt, telling what is written as soon as it is whole."""
        return self._run([self._turn(prompt, sampling, tools=tools, slide=slide)])

    def _run(self, turns: list[Turn]) -> Iterator[Event]:
        """Answer `turns` to their ends; what is left when the caller goes away is cancelled."""
        if self._running:
            raise RuntimeError("another answer of this engine isn't over: end it, or use `submit` and `step`")
        pending, self._running = {turn.request for turn in turns}, bool(turns)
        self._waiting.extend(turns)
        try:
            while pending:
                self.wait()
                events = self.step()
                pending -= {event.request for event in events if event.kind == "end"}
                self._running = bool(pending)
                yield from events
        finally:
            if pending:
                for request in pending:
                    self.cancel(request)
                self._cancel()
                self._running = False

    def _turn(self, prompt: Prompt, sampling: Sampling, *, tools: bool, slide: bool = False) -> Turn:
        context, window = self.config.sequence_len, None
        if isinstance(prompt, Conversation) and slide:
            window = Window(prompt, self.tokenizer)
            window.slide(context - min(sampling.max_tokens, context // 4))
            ids = window.prompt
        else:
            assert not slide, "only a conversation can slide"
            ids = render_prompt(prompt, self.tokenizer) if isinstance(prompt, Conversation) else list(prompt)
        if not ids or min(ids) < 0 or max(ids) >= self.config.vocab_size:
            raise UserError(f"a prompt needs tokens, each from 0 to {self.config.vocab_size - 1}")
        if len(ids) >= context:
            raise UserError(
                f"the prompt has {len(ids)} tokens and the model's context {context}; shorten the conversation"
            )
        return Turn(next(self._numbers), ids, sampling, self.tokenizer, context, tools=tools, window=window)

    def _has_work(self) -> bool:
        working = any(turn.call is None or turn.call.done for turn in self._rows.turns)
        return bool(working or self._cancelled or (self._waiting and self._rows.free))

    def _cancel(self) -> list[Event]:
        with self._news:
            cancelled, self._cancelled = self._cancelled, set()
            over = [turn for turn in (*self._waiting, *self._rows.turns) if turn.request in cancelled]
            self._waiting = deque(turn for turn in self._waiting if turn.request not in cancelled)
        return [event for turn in over for event in self._told(turn, turn.end("cancelled"))]

    def _feed(self) -> None:
        """Feed what comes before the last token of each answer; a row is given only then, so that a prompt finds what
        the one before it has just fed."""
        fed, turns = 0, self._rows.turns
        while fed < FED_A_STEP and (turns or (turns := self._admit())):
            turn = turns[0]
            if turn.call is None and len(turn) - turn.fed > 1:
                fed += self._rows.feed(turn)
            else:
                turns = turns[1:]

    def _admit(self) -> list[Turn]:
        """Give the next request a row, if there are both."""
        with self._news:
            admitted = [self._waiting.popleft()] if self._waiting and self._rows.free else []
        for turn in admitted:
            self._rows.give(turn)
        return admitted

    def _write(self, turns: list[Turn]) -> list[Event]:
        """A token more for each of the first rows' turns."""
        last = [turn.fed for turn in turns]
        scores_BV = self._decoder.decode([turn.last for turn in turns], last)
        samplers = [turn.sampler for turn in turns]
        chosen = next_tokens(scores_BV, self.config.softcap, self._rules.of(turns), samplers)
        for turn in turns:
            turn.fed += 1
        pieces = [turn.take(token, logprob) for turn, token, logprob in zip(turns, *chosen, strict=True)]
        self._call_tools([turn for turn in turns if turn.called is not None])
        return [event for turn, told in zip(turns, pieces, strict=True) for event in self._told(turn, told)]

    def _call_tools(self, turns: list[Turn]) -> None:
        patience = time.monotonic() + GRACE
        for turn in turns:
            turn.call = ToolCall(self._tool, turn.called or "", self._tool_seconds, self._wake)
        for turn in turns:
            assert turn.call is not None
            turn.call.wait(max(0.0, patience - time.monotonic()))

    def _take_results(self) -> list[Event]:
        answered = [(turn, turn.call) for turn in self._rows.turns if turn.call and turn.call.done]
        for turn, call in answered:
            if call.error is not None:
                self.cancel(turn.request)  # one request's, and told once
                raise call.error
        return [event for turn, call in answered for event in self._told(turn, turn.take_result(call.result))]

    def _told(self, turn: Turn, pieces: list[Piece]) -> list[Event]:
        events = [turn.event(piece) for piece in pieces]
        if turn.finish is not None:
            if turn in self._rows.turns:
                self._rows.take_back(turn)
            events.append(Event(request=turn.request, kind="end", completion=turn.completion()))
        return events

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()
