"""Prints the size of src/: lines, modules and functions."""

import ast
import statistics
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"


def main() -> None:
    modules, functions = [], []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        modules.append((text.count("\n"), str(path.relative_to(SOURCE))))
        functions += [
            (node.end_lineno - node.lineno + 1, f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}")
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    print(f"src: {sum(n for n, _ in modules)} lines")
    for name, sizes in (("modules", modules), ("functions", functions)):
        lines = sorted(n for n, _ in sizes)
        p90 = lines[int(0.9 * (len(lines) - 1))]
        longest = ", ".join(f"{where} ({n})" for n, where in sorted(sizes, reverse=True)[:2])
        print(f"{len(sizes)} {name}: median {statistics.median(lines):g}, 90 % up to {p90}; longest {longest}")


if __name__ == "__main__":
    main()
