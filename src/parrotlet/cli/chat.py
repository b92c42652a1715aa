"""`parrotlet chat`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..chat import Conversation, Message
from ..engine import Completion, Engine, Sampling
from ..errors import UserError
from ..stages import StageName
from ..train import Run, load_model
from .options import choose_stage, latest_run

SHOWN = {"text": ("", "", None), "call": ("⟦", "", "cyan"), "result": (" → ", "⟧", "yellow")}
"""What stands before and after an event, and its style."""


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
    engine = Engine(load_model(opened, name), opened.tokenizer(), rows=1)
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=_seed(seed))
    conversation: tuple[Message, ...] = (Message("system", system),) if system else ()
    if prompt is not None:
        answer(engine, (*conversation, Message("user", prompt)), sampling, tools)
        return
    print(f"{opened.folder}, stage {name}. An empty line or Ctrl-D ends; Ctrl-C stops an answer.")
    turn = 0
    while asked := _ask():
        messages = (*conversation, Message("user", asked))
        try:
            conversation = answer(engine, messages, replace(sampling, seed=sampling.seed + turn), tools)
        except UserError as error:
            print(f"[{error}]")
        turn += 1


def answer(engine: Engine, messages: tuple[Message, ...], sampling: Sampling, tools: bool) -> tuple[Message, ...]:
    """Stream an answer to the last message; returns the messages with the answer."""
    console = Console(highlight=False, soft_wrap=True)
    completion = None
    try:
        for event in engine.stream(Conversation(messages), sampling, tools=tools, slide=True):
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
    console.print(_how_it_ended(completion, sampling), style="dim", markup=False)
    return (*messages, Message("assistant", completion.parts))


def _how_it_ended(completion: Completion, sampling: Sampling) -> str:
    said = f" [the context is full: the oldest {n} exchanges are left out]" if (n := completion.left_out) else ""
    if completion.finish != "length":
        return said
    return said + (" [cut at --max-tokens]" if len(completion.ids) >= sampling.max_tokens else " [the context is full]")


def _ask() -> str:
    try:
        return input("\nyou> ").strip()
    except EOFError:
        print()
        return ""


def _seed(seed: int | None) -> int:
    return secrets.randbits(31) if seed is None else seed
