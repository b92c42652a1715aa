"""A bundle of CORE with one task, and one whose file is missing."""

import json
from pathlib import Path

CORE = """icl_tasks:
- {label: a, dataset_uri: a.jsonl, num_fewshot: [1], icl_task_type: multiple_choice}
- {label: gone, dataset_uri: gone.jsonl, num_fewshot: [0], icl_task_type: language_modeling}
"""


def write_small_bundle(folder: Path) -> Path:
    """Write it; returns its folder."""
    (folder / "eval_data").mkdir(parents=True)
    (folder / "core.yaml").write_text(CORE)
    (folder / "eval_meta_data.csv").write_text("Eval Task,Random baseline\na,25\ngone,0\n")
    items = [{"query": f"q{i}", "choices": ["x", "yes", "zip", "w"], "gold": i % 4} for i in range(11)]
    items[3]["choices"] = ["w", "zip", "x", "yes"]
    (folder / "eval_data" / "a.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder
