"""`parrotlet chat`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..chat import Conversation, Message, render_prompt
from ..engine import Engine, Sampling
from ..errors import UserError
from ..stages import StageName
from ..tokenizer import Tokenizer
from ..train import Run, load_model
from .options import choose_stage, latest_run

SHOWN = {"text": ("", "", None), "call": ("⟦", "", "cyan"), "result": (" → ", "⟧", "yellow")}
"""What stands before and after an event, and its style."""
ENDED = {"stop": "", "length": " [cut at --max-tokens]", "context": " [the context is full]"}
"""What is said after an answer, by how it ended."""
ROOM_TO_ANSWER = 32
"""Tokens of the context that are kept free for an answer."""


def chat(
    run: Path | None = None,
    stage: StageName | None = None,
    prompt: Annotated[str | None, tyro.conf.arg(aliases=["-p"])] = None,
    system: str | None = None,
    temperature: float = 0.6,
    top_k: int | None = 50,
    top_p: float | None = None,
    max_tokens: int = 256,
    seed: int | None = None,
    tools: bool = True,
) -> None:
    """Talk to a trained stage. Tool calls are shown as ⟦expression → result⟧.

    Args:
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: the last one trained.
        prompt: Ask this, print the answer, and end.
        system: A system prompt.
        temperature: 0 always takes the likeliest token; higher is more varied.
        top_k: Choose among the k likeliest tokens.
        top_p: Choose among the likeliest tokens that make up this probability.
        max_tokens: Length of an answer, in tokens.
        seed: The same seed gives the same answers. Default: another one each time.
        tools: Let the model use the calculator.
    """
    opened = Run.open(run or latest_run())
    name = choose_stage(opened, stage)
    tokenizer = opened.tokenizer()
    engine = Engine(load_model(opened, name), tokenizer, tools=tools)
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=_seed(seed))
    conversation: tuple[Message, ...] = (Message("system", system),) if system else ()
    if prompt is not None:
        answer(engine, tokenizer, (*conversation, Message("user", prompt)), sampling)
        return
    print(f"{opened.folder}, stage {name}. An empty line or Ctrl-D ends; Ctrl-C stops an answer.")
    turn = 0
    while asked := _ask():
        messages = (*conversation, Message("user", asked))
        try:
            conversation = answer(engine, tokenizer, messages, replace(sampling, seed=sampling.seed + turn))
        except UserError as error:
            print(f"[{error}]")
        turn += 1


def answer(
    engine: Engine, tokenizer: Tokenizer, messages: tuple[Message, ...], sampling: Sampling
) -> tuple[Message, ...]:
    """Stream an answer to the last message; returns the messages with the answer."""
    console = Console(highlight=False, soft_wrap=True)
    prompt, messages = _fit(engine, tokenizer, messages, console)
    completion = None
    try:
        for event in engine.stream(prompt, sampling):
            if event.kind == "end":
                completion = event.completion
            else:
                before, after, style = SHOWN[event.kind]
                console.print(f"{before}{event.text}{after}", end="", style=style, markup=False)
    except KeyboardInterrupt:
        pass
    if completion is None:
        console.print(" [interrupted]", style="dim", markup=False)
        return messages[:-1]
    console.print(ENDED[completion.finish], style="dim", markup=False)
    return (*messages, Message("assistant", completion.parts))


def _fit(
    engine: Engine, tokenizer: Tokenizer, messages: tuple[Message, ...], console: Console
) -> tuple[list[int], tuple[Message, ...]]:
    """The prompt; when the context is full, the oldest exchanges are left out, and that is said."""
    room = engine.model.config.sequence_len - ROOM_TO_ANSWER
    prompt = render_prompt(Conversation(messages), tokenizer)
    first = 1 if messages[0].role == "system" else 0
    left_out = 0
    while len(prompt) > room and len(messages) > first + 1:
        messages = messages[:first] + messages[first + 2 :]
        prompt = render_prompt(Conversation(messages), tokenizer)
        left_out += 1
    if left_out:
        console.print(f"[the context is full: the oldest {left_out} exchanges are left out]", style="dim", markup=False)
    return prompt, messages


def _ask() -> str:
    try:
        return input("\nyou> ").strip()
    except EOFError:
        print()
        return ""


def _seed(seed: int | None) -> int:
    return secrets.randbits(31) if seed is None else seed
