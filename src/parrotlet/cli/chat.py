"""`parrotlet chat`."""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, cast

import tyro
from rich.table import Table
from rich.text import Text

from ..chat import Conversation, Message
from ..engine import Completion, Engine, Sampling
from ..errors import UserError
from ..inspect.terminal import percent
from ..stages import StageName
from ..tokenizer import ShownAnswer, spelled
from ..train import Run, load_model
from ..train.sources import cache_folder
from .console import plain_console
from .options import choose_stage, latest_run
from .typed import history, read_message

SHOWN = {"text": ("", "", None), "call": ("⟦", "", "cyan"), "result": (" → ", "⟧", "yellow")}
"""What stands before and after an event, and its style."""
DONE = {
    "/stage": "this stage answers from now on",
    "/system": "a new conversation",
    "/reset": "a new conversation",
}
CHAT_KEEPS = "\n\t"
ALTERNATIVES = 3
"""Likeliest tokens that /tokens shows beside each one."""
HELP = """\
/stage NAME     go on with another stage: base, mid, sft
/system TEXT    another system prompt, and a new conversation; without TEXT: none
/reset          a new conversation
/tokens         the tokens of the last answer: id, probability, sampled or injected
/save FILE      add the conversation to a file of JSON lines, as the task custom-json reads it
A line that ends with \\ goes on in the next one; \"\"\" begins and ends a message of several lines.
An empty line or Ctrl-D ends the chat; Ctrl-C stops an answer."""


def chat(
    run: Path | None = None,
    stage: StageName | None = None,
    prompt: Annotated[str | None, tyro.conf.arg(aliases=["-p"])] = None,
    system: str | None = None,
    temperature: float = 0.6,
    top_k: int = 50,
    top_p: float | None = None,
    max_tokens: int = 256,
    seed: int | None = None,
    tools: bool = True,
) -> None:
    """Talk to a trained stage. Tool calls are shown as ⟦expression → result⟧. /help tells what else can be typed.

    Args:
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: the last one trained.
        prompt: Ask this, print the answer, and end.
        system: A system prompt.
        temperature: 0 always takes the likeliest token; higher is more varied.
        top_k: Choose among the k likeliest tokens; 0: all.
        top_p: Choose among the likeliest tokens that make up this probability.
        max_tokens: Length of an answer, in tokens.
        seed: The same seed gives the same answers. Default: another one each time.
        tools: Let the model use the calculator.
    """
    opened = Run.open(run or latest_run())
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k or None,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=secrets.randbits(31) if seed is None else seed,
        logprobs=ALTERNATIVES,
    )
    talk = Talk(opened, choose_stage(opened, stage), system, sampling, tools=tools)
    if prompt is not None:
        if not talk.ask(prompt):
            raise KeyboardInterrupt
        return
    print(f"{opened.folder}, stage {talk.stage}. /help tells what can be typed; an empty line or Ctrl-D ends.")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # half a character, or another encoding, ends no conversation
    with history(cache_folder() / "chat_history"):
        while typed := read_message("\nyou> "):
            try:
                talk.take(typed)
            except UserError as error:
                print(f"[{error}]")


class Talk:
    """A conversation at the terminal."""

    def __init__(self, run: Run, stage: StageName, system: str | None, sampling: Sampling, *, tools: bool) -> None:
        self._run, self._system, self._sampling, self._tools = run, system, sampling, tools
        self._console = plain_console(soft_wrap=True)
        self._last: Completion | None = None
        self._whole = 0
        """How many messages there are before the first answer that was cut off."""
        self.use_stage(stage)
        self.reset()

    def take(self, typed: str) -> None:
        """A command, or else a message. Raises `UserError`."""
        name, _, rest = typed.partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "/stage": self.use_stage,
            "/system": self.set_system,
            "/reset": self.reset,
            "/tokens": self.show_tokens,
            "/save": self.save,
            "/help": lambda _: print(HELP),
        }
        if name in commands:
            commands[name](rest.strip())
            if name in DONE:
                print(f"[{DONE[name]}]")
        elif name.startswith("/") and name[1:].isalpha():
            raise UserError(f"there is no {name}; there are {', '.join(commands)}")
        else:
            self.ask(typed)

    def use_stage(self, name: str) -> None:
        """Answer with another stage from now on; the conversation stays."""
        self.stage = choose_stage(self._run, cast("StageName", name))
        self._tokenizer = self._run.tokenizer()
        self._engine = Engine(load_model(self._run, self.stage), self._tokenizer, rows=1)

    def set_system(self, text: str) -> None:
        """Another system prompt; what was said under the one before is forgotten."""
        self._system = text or None
        self.reset()

    def reset(self, _: str = "") -> None:
        """Forget what was said."""
        self._messages = (Message("system", self._system),) if self._system else ()
        self._whole = len(self._messages)
        self._last = None

    def ask(self, text: str) -> bool:
        """Stream an answer; it is kept with the question, unless it is interrupted: then this is False."""
        messages = (*self._messages, Message("user", text))
        completion = self._stream(Conversation(messages))
        self._sampling = replace(self._sampling, seed=self._sampling.seed + 1)
        if completion is None:
            self._console.print(" [interrupted]", style="dim")
            return False
        self._console.print(_how_it_ended(completion, self._sampling), style="dim")
        whole = len(self._messages) == self._whole and completion.finish != "length"
        self._last, self._messages = completion, (*messages, Message("assistant", completion.parts))
        self._whole = len(self._messages) if whole else self._whole
        return True

    def show_tokens(self, _: str = "") -> None:
        """The tokens of the last answer."""
        if self._last is None or self._last.logprobs is None:
            raise UserError("no answer yet")
        table = Table("id", "token", "probability", "", "likeliest there", box=None, pad_edge=False)
        shown = ShownAnswer(self._last.ids, self._tokenizer)
        for place, (id, logprob) in enumerate(zip(self._last.ids, self._last.logprobs, strict=True)):
            facts = ("", "injected", "")
            if logprob is not None:
                top = (f"{_quoted(shown.instead(place, other))} {_likely(value)}" for other, value in logprob.top)
                facts = (_likely(logprob.value), "sampled", Text("  ".join(top)))
            table.add_row(str(id), Text(_quoted(shown.texts[place])), *facts)
        self._console.print(table)

    def save(self, name: str) -> None:
        """Add the conversation to a file, a line of JSON."""
        if not name:
            raise UserError("say where to: /save FILE")
        saved, left_out = self._messages[: self._whole], len(self._messages) - self._whole
        if not any(message.role == "assistant" for message in saved):
            raise UserError("there is no whole answer to save yet")
        line = json.dumps([dataclasses.asdict(message) for message in saved], ensure_ascii=False)
        try:
            with Path(name).expanduser().open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise UserError(f"{name}: can't be written ({error.strerror})") from None
        more = f"; {left_out} are left out, from the first answer on that was cut off" if left_out else ""
        print(f"[{len(saved)} messages added to {name}{more}]")

    def _stream(self, conversation: Conversation) -> Completion | None:
        completion = None
        try:
            for event in self._engine.stream(conversation, self._sampling, tools=self._tools, slide=True):
                if event.kind == "end":
                    completion = event.completion
                else:
                    before, after, style = SHOWN[event.kind]
                    self._console.print(f"{before}{spelled(event.text, but=CHAT_KEEPS)}{after}", end="", style=style)
        except KeyboardInterrupt:
            return None
        return completion


def _quoted(text: str) -> str:
    r"""With line breaks as `\n`."""
    return '"' + text.replace("\n", "\\n") + '"'


def _likely(logprob: float) -> str:
    return percent(math.exp(logprob), 1)


def _how_it_ended(completion: Completion, sampling: Sampling) -> str:
    said = f" [the context is full: the oldest {n} exchanges are left out]" if (n := completion.left_out) else ""
    if completion.finish != "length":
        return said
    return said + (" [cut at --max-tokens]" if len(completion.ids) >= sampling.max_tokens else " [the context is full]")
