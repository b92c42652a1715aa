"""The model card: what an exported model is, what it was trained on, and what it reached."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__
from ..model import ModelConfig
from ..recipe import StageSettings
from ..stages import STAGES, StageName
from ..tasks import TaskSpec
from ..train import Run
from ..train.checkpoint import list_checkpoints, read_state

_HEADER = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- parrotlet
---

# {name}

A language model of {parameters:,} parameters, trained with Parrotlet {version} (recipe `{recipe}`, stage {stage},
step {step:,} of {steps:,}): {phrase}.

| depth | width | heads | key/value heads | positions | vocabulary | short conv | ngrams |
|---|---|---|---|---|---|---|---|
| {depth} | {width} | {heads} | {kv_heads} | {sequence_len} | {vocab_size:,} | {conv} | {ngrams:,} |
"""

_USE = """
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("DIR"{trust})
model = AutoModelForCausalLM.from_pretrained("DIR"{trust})
"""
_CHAT = """asked = [{"role": "user", "content": "Who are you?"}]
inputs = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**inputs)[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

Where the model calls its calculator it writes `<|python_start|>`, an expression and `<|python_end|>`, and generation
stops: write the result after it, between `<|output_start|>` and `<|output_end|>`, and go on. As a message, the
assistant's content is then a list of parts of the types `text`, `python` and `python_output`.
"""
_TEXT = """inputs = tokenizer("In the morning", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))
```

This stage has read texts, no conversations; every text began with `<|bos|>`, which the tokenizer puts there.
"""


def model_card(run: Run, stage: StageName, state: dict[str, Any], config: ModelConfig) -> str:
    """Markdown with the metadata that the Hub reads. `state`: that of the checkpoint."""
    header = _HEADER.format(
        name=f"{run.recipe.name}-{stage}",
        parameters=config.num_parameters,
        version=__version__,
        recipe=run.recipe.name,
        stage=stage,
        phrase=STAGES[stage].phrase,
        step=state["step"],
        steps=state["steps"],
        conv="yes" if config.short_conv else "no",
        **{
            name: getattr(config, name)
            for name in ("depth", "width", "heads", "kv_heads", "sequence_len", "vocab_size", "ngrams")
        },
    )
    use = _USE.format(trust="" if config.is_plain else ", trust_remote_code=True")
    chats = STAGES[stage].reads == "conversations"
    return header + use + (_CHAT if chats else _TEXT) + _training(run, stage, state) + _results(run, stage, state)


def _training(run: Run, stage: StageName, state: dict[str, Any]) -> str:
    """A line a stage up to this one: where it began, its tokens, its data."""
    lines = [
        "\n## Training\n",
        "| stage | began from | steps | tokens | supervised | data |",
        "|---|---|---|---|---|---|",
    ]
    for name, at in _lineage(run, stage, state):
        steps = [line for line in run.metrics(name).read() if line["step"] < at["step"]]
        counts = (len(steps), sum(line["tokens"] for line in steps), sum(line["supervised"] for line in steps))
        cells = [name, at["started_from"], *(f"{count:,}" for count in counts)]
        lines.append(f"| {' | '.join(cells)} | {data_of(run.recipe.stage(name))} |")
    return "\n".join(lines) + "\n"


def _lineage(run: Run, stage: StageName, state: dict[str, Any]) -> list[tuple[StageName, dict[str, Any]]]:
    """The stages that the weights went through, the first one first: the step that was taken on, and where it began."""
    before, _, step = state["started_from"].partition("@")
    if before not in run.stages():  # random weights, an import, or a stage that is no longer there
        return [(stage, state)]
    name = STAGES[before].name
    earlier = read_state(run.newest(name)) | {"step": int(step)}
    return [*_lineage(run, name, earlier), (stage, state)]


def data_of(settings: StageSettings) -> str:
    """The sources of a stage, as its recipe names them."""
    if settings.texts:
        return ", ".join(f"`{texts.source}`" for texts in settings.texts)
    return ", ".join(map(_task, settings.train))


def _task(spec: TaskSpec) -> str:
    where = f" (`{spec.dataset}`)" if spec.dataset else ""
    return (spec.name or spec.task) + where + (f" × {spec.repeat}" if spec.repeat > 1 else "")


def _results(run: Run, stage: StageName, state: dict[str, Any]) -> str:
    """What this very checkpoint reached; nothing if it was not measured."""
    if state["step"] != list_checkpoints(run.stage_folder(stage))[-1]:
        return ""
    found = _scores(run, stage) + _core(run, stage)
    return f"\n## Results\n{found}" if found else ""


def _core(run: Run, stage: StageName) -> str:
    """CORE, or the mean over those of its tasks that were asked."""
    path = run.stage_folder(stage) / "core.json"
    measured: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if measured.get("checkpoint") != run.identity(stage):
        return ""
    label = "CORE" if measured["complete"] else f"Mean over {len(measured['tasks'])} of CORE's tasks"
    interval = f"95 % interval {measured['low']:.3f} to {measured['high']:.3f}"
    return f"\n{label}: {measured['core']:.3f} ({interval}; 0 is guessing, 1 all right).\n"


def _scores(run: Run, stage: StageName) -> str:
    entry = run.read_results()["stages"].get(stage)
    if not entry or entry.get("checkpoint") != run.identity(stage):
        return ""
    lines = ["\n| task | accuracy | 95 % interval | problems | chance |", "|---|---|---|---|---|"]
    for name, task in entry["tasks"].items():
        low, high = 100 * task["low"], 100 * task["high"]
        cells = (f"{100 * task['accuracy']:.1f} %", f"{low:.1f}–{high:.1f} %", f"{task['n']:,}")
        lines.append(f"| {name} | {' | '.join(cells)} | {100 * task['chance']:.1f} % |")
    if entry["val_bpb"] is not None:
        lines.append(f"\nValidation: {entry['val_bpb']:.3f} bits per byte.")
    return "\n".join(lines) + "\n"
