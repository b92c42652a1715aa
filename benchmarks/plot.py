"""A picture of what training.py measured.

    python benchmarks/plot.py FILE.json [--to docs/images/training.svg]

Needs the extra `viz`. FILE.json: from `training.py --json`; medians, with the lowest and the highest as a line.
"""

import argparse
import json
import statistics
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

PANELS = {
    "tokens_per_second": "tokens a second (more is better)",
    "first_step": "seconds to the end of the first step",
    "gigabytes": "peak memory, GB",
    "bits_per_byte": "bits per byte of the validation text",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path)
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[1] / "docs" / "images" / "training.svg")
    args = parser.parse_args()
    found = json.loads(args.json.read_text())
    panels = {key: title for key, title in PANELS.items() if any(o[key] for outs in found.values() for o in outs)}
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "parrotlet", "font.size": 9})
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.5, 0.5 + len(panels) * (0.5 + 0.24 * len(found))))
    for axis, (key, title) in zip(axes, panels.items(), strict=True):
        values = {name: [o[key] for o in outs if o[key]] for name, outs in found.items()}
        values = {name: some for name, some in values.items() if some}
        middle = [statistics.median(some) for some in values.values()]
        spread = [
            [m - min(some) for m, some in zip(middle, values.values(), strict=True)],
            [max(some) - m for m, some in zip(middle, values.values(), strict=True)],
        ]
        colours = ["#2f7d4f" if name.startswith("Parrotlet") else "#9aa4ad" for name in values]
        bars = axis.barh(list(values), middle, xerr=spread, color=colours, height=0.62, ecolor="#444")
        form = "{:,.0f}" if key == "tokens_per_second" else "{:.3f}" if key == "bits_per_byte" else "{:.2f}"
        axis.bar_label(bars, [form.format(value) for value in middle], padding=12)
        axis.set_title(title, loc="left", fontsize=9)
        axis.margins(x=0.16)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(args.to, metadata={"Date": None}, facecolor="white")
    print(args.to)


if __name__ == "__main__":
    main()
