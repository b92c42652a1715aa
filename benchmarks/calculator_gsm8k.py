"""How many of GSM8K's annotations the calculator reproduces to the letter, and how the others differ.

    python benchmarks/calculator_gsm8k.py FOLDER

FOLDER holds the parquet files of the dataset `openai/gsm8k`, configuration `main`.
"""

import re
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq

from parrotlet.tools import ToolError, calculate


def annotations(folder: Path) -> list[tuple[str, str]]:
    answers = [a for path in sorted(folder.glob("*.parquet")) for a in pq.read_table(path)["answer"].to_pylist()]
    return re.findall(r"<<(.*?)=(.*?)>>", "\n".join(answers))


def kind(expression: str, theirs: str) -> str:
    try:
        ours = calculate(expression)
    except ToolError as error:
        return f"error: {error}"
    if ours == theirs:
        return "to the letter"
    if Fraction(ours) != Fraction(theirs):
        return "another value"
    if theirs.lstrip("-").startswith("."):
        return "same value, no zero before the point"
    return "same value, zeros at the end"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = annotations(Path(sys.argv[1]))
    if not found:
        sys.exit(f"{sys.argv[1]}: no annotations; name the folder that holds the parquet files of GSM8K")
    kinds: dict[str, list[str]] = defaultdict(list)
    for expression, theirs in found:
        kinds[kind(expression, theirs)].append(f"{expression}={theirs}")
    print(f"{len(found)} annotations")
    for name, cases in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(cases):6} {len(cases) / len(found):7.2%}  {name:38} {'  '.join(cases[:4])}")


if __name__ == "__main__":
    main()
