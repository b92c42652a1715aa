"""Draws the pictures of the documentation from what the program shows.

python docs/pictures.py     # writes docs/images/stages.svg
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from parrotlet.cli.xray import print_row
from parrotlet.inspect import rows_as_json
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES, StageName
from parrotlet.train import Sources, recipe_tokenizer

IMAGES = Path(__file__).parent / "images"
TASK, STEPS = "word-problems", 12
SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>{styles} .{unique_id}-matrix {{ font: {char_height}px monospace; }}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
<rect fill="#0d1117" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""
"""As rich draws a terminal, without its window and without a font from elsewhere."""


def segments(recipe: Recipe, name: StageName) -> dict[int, dict[str, Any]]:
    """The conversations of the task in the first steps of a stage, by their index: rows with one source."""
    tokenizer, order, found = (
        recipe_tokenizer(recipe),
        Sources(recipe).order(STAGES[name], recipe_tokenizer(recipe)),
        {},
    )
    batches = order.batches(order.start())
    for step in range(STEPS):
        batch, _ = next(batches)
        for row in rows_as_json(batch, tokenizer, STAGES[name], step):
            for source in row["sources"]:
                if source["task"] == TASK:
                    found[source["index"]] = row | {"sources": [source], "tokens": row["tokens"][: source["end"]]}
    return found


def main() -> None:
    """Draw all of them."""
    recipe = Recipe.load("tiny")
    mid, sft = segments(recipe, "mid"), segments(recipe, "sft")
    shared = sorted(mid.keys() & sft.keys(), key=lambda i: mid[i]["sources"][0]["end"] - mid[i]["sources"][0]["start"])
    console = Console(record=True, width=100, highlight=False, force_terminal=True, color_system="truecolor")
    for name, found in (("mid", mid), ("sft", sft)):
        console.print(f"[bold]{name}[/]: a token is \\[bracketed] where the model is trained to produce it")
        print_row(found[shared[0]], console)
        console.print()
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(str(IMAGES / "stages.svg"), code_format=SVG, title="")


if __name__ == "__main__":
    main()
