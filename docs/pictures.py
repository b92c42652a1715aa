"""Draws the pictures of the documentation from what the program shows.

python docs/pictures.py     # writes docs/images/stages.svg
"""

from pathlib import Path

from rich.console import Console

from parrotlet.inspect import Finder, Material, shared_conversation
from parrotlet.inspect.terminal import LEGEND, print_segment
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES

IMAGES = Path(__file__).parent / "images"
SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>{styles} .{unique_id}-matrix {{ font: {char_height}px monospace; }}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
<rect fill="#0d1117" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""
"""As rich draws a terminal, without its window and without a font from elsewhere."""


def main() -> None:
    """Draw all of them."""
    material = Material(Recipe.load("tiny"))
    shared = shared_conversation(Finder(material, STAGES["mid"]), Finder(material, STAGES["sft"]))
    assert shared, "tiny teaches some conversations in both stages"
    console = Console(record=True, width=100, highlight=False, force_terminal=True, color_system="truecolor")
    console.print(LEGEND, markup=False)
    for segment in shared:
        console.print()
        print_segment(segment, console)
    IMAGES.mkdir(exist_ok=True)
    console.save_svg(str(IMAGES / "stages.svg"), code_format=SVG, title="")


if __name__ == "__main__":
    main()
