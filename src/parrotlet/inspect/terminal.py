"""X-rays for the terminal: readable with colour and without it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..tokenizer import Tokenizer, spelled
from .roles import TokenRole
from .segments import Segment
from .xray import Summary, XRay

LEGEND = "[targets: trained to be produced]   · between tokens   ‥ rest of a character"
CUTS: dict[str | None, str] = {
    None: "",
    "before": ", its beginning is in another row",
    "after": ", goes on in another row",
    "both": ", begins and goes on in other rows",
}
STYLES: dict[TokenRole, str] = {
    "special": "magenta",
    "text": "",
    "user": "",
    "assistant": "",
    "call": "cyan",
    "output": "yellow",
}


def print_summary(xray: XRay, console: Console) -> None:
    """What the rows of the x-ray hold, all together and by source."""
    summary = xray.summary
    total, positions = summary.total, summary.positions
    console.print(
        f"{xray.stage.name} step {xray.step} of {xray.material.name}: {summary.rows} rows × {summary.length} tokens\n"
        f"{percent(total.supervised, positions)} supervised, {percent(summary.padding, positions)} padding, "
        f"{summary.cut} segments cut",
        soft_wrap=True,
    )
    for task, cuts in summary.dropped.items():
        said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in cuts.items())
        console.print(f"{task}, in the whole stage: {said}", soft_wrap=True)
    console.print(source_table(summary))


def source_table(summary: Summary) -> Table:
    """A line a task: items, tokens, supervised tokens, and their shares."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("source", overflow="fold")
    for name in ("items", "tokens", "share", "supervised", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    total = summary.total
    for name, counts in sorted(summary.by_source.items(), key=lambda entry: -entry[1].tokens):
        share = percent(counts.tokens, total.tokens)
        of_supervised = percent(counts.supervised, total.supervised)
        table.add_row(name, f"{counts.items:,}", f"{counts.tokens:,}", share, f"{counts.supervised:,}", of_supervised)
    return table


def print_row(segments: Sequence[Segment], padding: int, console: Console) -> None:
    """Each segment under a line that says where it comes from; targets in brackets and in colour."""
    for segment in segments:
        print_segment(segment, console)
    if padding:
        console.print(Text(f"── {padding} tokens of padding", "dim"))


def print_segment(segment: Segment, console: Console) -> None:
    """A segment under a line that says where it comes from."""
    console.print(Text(_title(segment), "dim"))
    console.print(segment_text(segment, console.width))


def _title(segment: Segment) -> str:
    place = f"{segment.stage} row {segment.row}, segment {segment.source.segment}"
    return f"── {place}: {segment.name} ({segment.where}){CUTS[segment.source.cut]}"


def segment_text(segment: Segment, width: int) -> Text:
    """The tokens of a segment: a stretch of targets in brackets and in green, `·` between tokens.

    Lines are broken between tokens only, at `width` columns.
    """
    out, column, taught = Text(), 0, [False, *segment.taught, False]
    for i, text in enumerate(segment.texts):
        before, now, after = taught[i : i + 3]
        separator = "·" if column and now == before else ""
        opens, closes = "[" * (now and not before), "]" * (now and not after)
        shown = spelled(text).replace("\n", "⏎\n")
        size = cell_len(separator + opens + shown.partition("\n")[0] + closes)
        if column and column + size > width:
            out.append("\n")
            separator, column = "", 0
        style = STYLES[segment.roles[i]] or ("green" if now else "")
        for piece, look in ((separator, "dim"), (opens, "green"), (shown, style), (closes, "green")):
            out.append(piece, look)
        column = len(closes) if shown.endswith("\n") else column + size
    return out


def print_token_table(segments: Sequence[Segment], tokenizer: Tokenizer, console: Console) -> None:
    """A line a token: its column in the row, position, id, text, and what is predicted there."""
    for segment in segments:
        console.print(Text(_title(segment), "dim"))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("col", "position", "id"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("token", overflow="fold")
        table.add_column("writer", no_wrap=True)
        table.add_column("taught to predict", overflow="fold")
        for i, token in enumerate(segment.ids):
            target = segment.targets[i]
            shown = Text("–", "dim") if target < 0 else Text(f"{_quoted(target, tokenizer)} {target}", "green")
            column, position = segment.source.start + i, segment.position + i
            table.add_row(str(column), str(position), str(token), _quoted(token, tokenizer), segment.roles[i], shown)
        console.print(table)


def percent(part: float, whole: float) -> str:
    """A share, such as `40.1 %`; `–` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _quoted(token: int, tokenizer: Tokenizer) -> Text:
    text = tokenizer.token_text(token)
    return Text(text, "magenta") if token in tokenizer.special_ids else Text(repr(text)[1:-1].join("''"))
