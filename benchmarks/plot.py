"""A picture of what training.py measured.

    python benchmarks/plot.py FILE.json… [--to docs/images/training.svg]

Needs the extra `viz`. FILE.json: from `training.py --json`, of either form; medians, with the lowest and the highest as
a line.
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
    "first_step": "seconds to the end of the first step (end of the line: with nothing compiled yet)",
    "gigabytes": "peak memory, GB",
    "bits_per_byte": "bits per byte of the validation text",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, nargs="+")
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[1] / "docs" / "images" / "training.svg")
    args = parser.parse_args()
    found = {name: outs for file in args.json for name, outs in json.loads(file.read_text()).items()}
    panels = {key: values for key in PANELS if (values := shown(found, key))}
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "parrotlet", "font.size": 9})
    heights = [0.5 + 0.24 * len(values) for values in panels.values()]
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.5, 0.5 + sum(heights)), height_ratios=heights, squeeze=False)
    for axis, (key, values) in zip(axes[:, 0], panels.items(), strict=True):
        counted = {name: some[1:] or some if key == "first_step" else some for name, some in values.items()}
        middle = [statistics.median(some) for some in counted.values()]
        spread = [
            [m - min(some) for m, some in zip(middle, values.values(), strict=True)],
            [max(some) - m for m, some in zip(middle, values.values(), strict=True)],
        ]
        colours = ["#2f7d4f" if name.startswith("Parrotlet") else "#9aa4ad" for name in values]
        bars = axis.barh(list(values), middle, xerr=spread, color=colours, height=0.62, ecolor="#444")
        form = "{:,.0f}" if key == "tokens_per_second" else "{:.3f}" if key == "bits_per_byte" else "{:.2f}"
        axis.bar_label(bars, [form.format(value) for value in middle], padding=12)
        axis.set_title(PANELS[key], loc="left", fontsize=9)
        axis.margins(x=0.16)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(args.to, metadata={"Date": None}, facecolor="white")
    print(args.to)


def shown(found: dict[str, list[dict]], key: str) -> dict[str, list[float]]:
    """The values of a panel: pace and memory are compared at the same shape, bits per byte after given minutes."""
    timed = key == "bits_per_byte"
    values = {name: [o[key] for o in outs if (o["bits_per_byte"] is not None) == timed] for name, outs in found.items()}
    return {name: some for name, some in values.items() if some}


if __name__ == "__main__":
    main()
