"""X-rays as one self-contained page: `page/` holds its HTML, style and script, this module its data."""

from __future__ import annotations

import html
import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from ..tokenizer import Tokenizer
from .pairs import Finder
from .roles import TokenRole
from .segments import Segment, segments_of_row
from .terminal import percent
from .xray import XRay

Language = Literal["", "en", "zh-CN"]
ROLE_LETTERS: dict[TokenRole, str] = {
    "special": "s",
    "text": "t",
    "user": "u",
    "assistant": "a",
    "call": "c",
    "output": "o",
}
"""One letter a token, so that a page of 65,536 tokens stays small."""


def write_page(path: Path, xray: XRay, beside: Finder | None = None) -> int:
    """Write the page to `path`; returns its size in bytes. `beside`: the stage to show each conversation in, too."""
    content = page(page_data(xray, beside)).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path}: the page can't be written there ({error.strerror})") from None
    return len(content)


def page(data: dict[str, Any], language: Language = "") -> str:
    """The page of these data, with its style and script in it, in the browser's language if none is given."""
    folder = resources.files("parrotlet.inspect") / "page"
    parts = {name: (folder / f"xray.{name}").read_text("utf-8") for name in ("html", "css", "words.js", "js")}
    filled = parts["html"].replace("{{title}}", html.escape(data["title"])).replace("{{language}}", language)
    filled = filled.replace("{{style}}", parts["css"]).replace("{{words}}", parts["words.js"])
    filled = filled.replace("{{script}}", parts["js"])
    return filled.replace("{{data}}", embedded(data))


def embedded(data: object) -> str:
    """JSON that can stand inside a `<script>` element, whatever texts are in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def page_data(xray: XRay, beside: Finder | None = None) -> dict[str, Any]:
    """What the page's script draws."""
    summary, tokenizer = xray.summary, xray.material.tokenizer
    rows = {row: segments_of_row(xray.material, xray.stage, xray.batch, row) for row in xray.rows}
    found = {s.where: beside.find(s.where) for segments in rows.values() for s in segments} if beside else {}
    others = {where: pair for where, pair in found.items() if pair}
    drawn = [s for segments in rows.values() for s in segments] + [segment for _, segment in others.values()]
    used = {token for segment in drawn for token in (*segment.ids, *segment.targets) if token >= 0}
    return {
        "title": f"{xray.stage.name} step {xray.step} · {xray.material.name}",
        "stage": xray.stage.name,
        "phrase": xray.stage.phrase,
        "beside": beside.stage.name if beside else None,
        "length": summary.length,
        "facts": [
            [f"{summary.rows} × {summary.length}", "rows × tokens"],
            [percent(summary.total.supervised, summary.positions), "supervised"],
            [percent(summary.padding, summary.positions), "padding"],
            [f"{summary.cut}", "segments cut"],
        ],
        "sources": [[name, *counts] for name, counts in summary.by_source.items()],
        "dropped": [[name, *cuts.values()] for name, cuts in summary.dropped.items()],
        "special": sorted(tokenizer.special_ids),
        "texts": {token: tokenizer.token_text(token) for token in sorted(used)},
        "rows": [
            {"row": row, "segments": [_segment(s, tokenizer) for s in segments]} for row, segments in rows.items()
        ],
        "others": {where: {"step": step, **_segment(segment, tokenizer)} for where, (step, segment) in others.items()},
    }


def _segment(segment: Segment, tokenizer: Tokenizer) -> dict[str, Any]:
    source = segment.source
    pairs = enumerate(zip(segment.ids, segment.texts, strict=True))
    return {
        "stage": segment.stage,
        "row": segment.row,
        "segment": source.segment,
        "name": segment.name,
        "dataset": source.dataset,
        "index": source.index,
        "task": source.task,
        "where": segment.where,
        "cut": source.cut,
        "start": source.start,
        "position": segment.position,
        "ids": segment.ids,
        "targets": segment.targets,
        "taught": int(segment.taught[0]),
        "shown": {i: text for i, (id, text) in pairs if text != tokenizer.token_text(id)},
        "roles": "".join(ROLE_LETTERS[role] for role in segment.roles),
    }
