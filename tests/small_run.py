"""A recipe that trains in a second, and data for it."""

import json
from pathlib import Path

from parrotlet.train.checkpoint import Checkpoint, save_checkpoint

EVAL = """
[eval]
limit = 4
max_tokens = 8
tasks = [
    { task = "identity", split = "test" },
    { task = "mmlu", name = "multiple-choice", dataset = "parrotlet/multiple-choice", split = "test" },
]
"""
"""To be put behind a recipe, in the place of what it asks at the end."""

RECIPE = """
name = "test"
[tokenizer]
vocab_size = 300
[model]
depth = 1
width = 32
heads = 2
sequence_len = 64
[machine]
dtype = "float32"
compile = false
threads = 1
[data]
streams = 4
words = "FOLDER/words.txt"
[base]
documents = { source = "FOLDER/texts.jsonl", holdout = 0.2 }
tokens_per_step = 256
device_batch_size = 2
num_iterations = 12
eval_every = 4
eval_tokens = 512
save_every = 4
[mid]
tokens_per_step = 256
device_batch_size = 2
train = [{ task = "custom-json", dataset = "FOLDER/talk.jsonl" }]
validation = [{ task = "custom-json", dataset = "FOLDER/talk.jsonl", split = "validation" }]
save_every = 2
eval_every = 3
[sft]
conversations_per_step = 4
device_batch_size = 2
train = [{ task = "custom-json", dataset = "FOLDER/talk.jsonl" }]
validation = [{ task = "custom-json", dataset = "FOLDER/talk.jsonl", split = "validation" }]
save_every = 3
eval_every = 5
"""


def write_small_run(folder: Path, *, documents: int = 120, conversations: int = 60) -> str:
    """Write texts and conversations into `folder`; returns the recipe that reads them, as TOML."""
    texts = [f"Number {i}: the parrot said {'hello ' * (i % 7)}to {i * i} birds." for i in range(documents)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    talk = [
        [
            {"role": "user", "content": f"What is {i} and {i}?"},
            {"role": "assistant", "content": f"It is {2 * i}."},
        ]
        for i in range(conversations)
    ]
    (folder / "talk.jsonl").write_text("".join(json.dumps(t) + "\n" for t in talk))
    (folder / "words.txt").write_text("one\ntwo\n")
    return RECIPE.replace("FOLDER", str(folder))


def save_stage(run, stage, model, tokenizer, step=3):
    """Give a run a tokenizer and a stage that has ended with this model, without training."""
    tokenizer.save(run.folder / "tokenizer")
    state = {"stage": stage, "step": step, "steps": step, "model": model.config.to_dict()}
    state |= {"started_from": "random weights", "tokenizer": tokenizer.fingerprint}
    checkpoint = Checkpoint(model=dict(model.state_dict()), optimizer={}, state=state, recipe=run.recipe.to_toml())
    save_checkpoint(run.stage_folder(stage), step, checkpoint)
