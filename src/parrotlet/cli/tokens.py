"""`parrotlet tokens`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ..errors import UserError
from ..inspect import Material
from ..inspect.tokens import Passage, Splitter, any_splitter, our_splitter, rank_splitter, read_passages
from ..recipe import Recipe
from ..tokenizer import spelled
from ..train import Run
from .console import plain_console
from .options import RecipeOptions

SHADES = ("", "reverse")
"""Two tokens side by side look different."""


def tokens(
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    text: tyro.conf.Positional[str | None] = None,
    file: Path | None = None,
    beside: str | None = None,
    ids: bool = False,
) -> None:
    """Show how the tokenizer of a recipe or run splits a text or a conversation, and how another one does.

    Args:
        text: The text.
        file: A conversation (.json), conversations (.jsonl, one a line), or a text file.
        beside: Another tokenizer: a recipe, the folder of a run, any tokenizer.json, or a published vocabulary's rank
            file (cl100k_base.tiktoken).
        ids: Show the ids, too.
    """
    if (text is None) == (file is None):
        raise UserError("name a text or a file: parrotlet tokens 'Hello', or parrotlet tokens --file chat.jsonl")
    passages = read_passages(file) if file else [Passage("", text or "")]
    material = options.material()
    splitters = [our_splitter(material.tokenizer, material.name)]
    splitters += [_other(beside)] if beside else []
    console = plain_console()
    for splitter in splitters:
        _show(splitter, passages, ids, console)


def _other(name: str) -> Splitter:
    path = Path(name)
    if (path / "recipe.toml").is_file():
        return our_splitter(Run.open(path).tokenizer(), name)
    if path.suffix == ".tiktoken":
        return rank_splitter(path)
    if path.suffix == ".json" or path.is_dir():
        return any_splitter(path / "tokenizer.json" if path.is_dir() else path)
    return our_splitter(Material(Recipe.load(name)).tokenizer, name)


def _show(splitter: Splitter, passages: Sequence[Passage], ids: bool, console: Console) -> None:
    split = [(passage, splitter.split(passage.text)) for passage in passages]
    count, size = sum(len(pieces) for _, pieces in split), sum(len(p.text.encode(errors="replace")) for p in passages)
    ratio = f", {size / count:.2f} bytes a token" if count else ""
    head = f"{splitter.name}, vocabulary of {splitter.vocab_size:,}: {count:,} tokens for {size:,} bytes{ratio}"
    console.print(Text(head, "bold"), soft_wrap=True)
    for passage, pieces in split:
        console.print(_pieces(passage, pieces, console.width), soft_wrap=True)
        if ids:
            console.print(Text(" ".join(str(id) for id, _ in pieces), "dim"))
    console.print()


def _pieces(passage: Passage, pieces: Sequence[tuple[int, str]], width: int) -> Text:
    """With `·` between tokens. Lines are broken at `width` columns, between tokens only: rich drops blanks there."""
    out = Text(f"{passage.label}: " if passage.label else "", "bold")
    column = cell_len(out.plain)
    for i, (_, text) in enumerate(pieces):
        shown = spelled(text).replace("\n", "⏎\n")
        separator = "·" if i and column else ""
        size = cell_len(separator + shown.partition("\n")[0])
        if column and column + size > width:
            out.append("\n")
            separator, column, size = "", 0, size - cell_len(separator)
        out.append(separator, "dim")
        out.append(shown, style=SHADES[i % 2])
        column = cell_len(shown.rpartition("\n")[2]) if "\n" in shown else column + size
    return out
