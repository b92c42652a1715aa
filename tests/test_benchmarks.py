"""The benchmarks that take seconds in their smallest form still run, and write what they found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALLEST = {
    "decode": ("--rows", "1", "--rounds", "1", "--threads", "1", "--dtype", "float32"),
    "evaluation": ("--problems", "3", "--max-tokens", "8", "--rounds", "1", "--dtype", "float32"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_it_runs(name, tmp_path):
    if name == "decode":
        pytest.importorskip("transformers", reason="what decode.py compares with")
    command = [sys.executable, FOLDER / f"{name}.py", *SMALLEST[name], "--json", tmp_path / "found.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "found.json").read_text())
