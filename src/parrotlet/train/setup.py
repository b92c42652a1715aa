"""Gets a stage ready to train: new, from another stage's checkpoint, or where it was stopped."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from .. import ranks
from ..dtypes import multiplies_bfloat16
from ..errors import UserError
from ..files import cache_folder
from ..model import GPT, ModelConfig
from ..optim import Optimizers
from ..progress import ProgressLine, duration
from ..recipe import Recipe, StageSettings
from ..stages import STAGES, Stage, StageName
from ..tokenizer import TOKENIZER_VERSION, Tokenizer
from .checkpoint import RNG, Checkpoint, list_checkpoints, read_state
from .loop import Callback, Training
from .machine import can_compile, machine_here, use_machine
from .micro_batch import most_rows
from .parallel import parallelize
from .run import Run
from .sources import VALIDATION, Sources
from .watch import STAND_STILL_SECONDS


def train_tokenizer(run: Run) -> Tokenizer:
    """The run's tokenizer, trained first if there is none."""
    folder = run.folder / "tokenizer"
    with ranks.first_rank_first():
        if not (folder / "tokenizer.json").exists():
            recipe_tokenizer(run.recipe, run.sources).save(folder)
    return run.tokenizer()


def recipe_tokenizer(recipe: Recipe, sources: Sources | None = None) -> Tokenizer:
    """The tokenizer that a recipe means; trained once, and kept in the cache folder."""
    sources = sources or Sources(recipe)
    texts_from = [source.documents.fingerprint for source in sources.training_texts]
    key = repr((TOKENIZER_VERSION, texts_from, recipe.base.texts, recipe.tokenizer, recipe.seed))
    folder = cache_folder() / "tokenizers" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not (folder / "tokenizer.json").exists():
        began = time.monotonic()
        texts = list(sources.tokenizer_texts())
        characters = sum(map(len, texts))
        line = ProgressLine("tokenizer", 1)
        tokenizer = Tokenizer.train(texts, recipe.tokenizer.vocab_size)
        tokenizer.save(folder)
        line.close(
            f"{tokenizer.vocab_size:,} tokens from {characters:,} characters in {duration(time.monotonic() - began)}"
        )
    return Tokenizer.load(folder)


def prepare(
    run: Run,
    stage: Stage,
    *,
    start: str | None = None,
    callbacks: Sequence[Callback] = (),
    accept_data_change: bool = False,
    timeout: float = STAND_STILL_SECONDS,
) -> Training:
    """Everything a stage needs to train, standing where its last checkpoint does, or at its beginning.

    `start` names the checkpoint to begin with (`base`, `base@5000`); default: the stage's first choice that
    there is. Base begins with random weights, or with those that were imported. Data that changed since the
    checkpoint are refused with a `UserError`, unless they are accepted.
    """
    checkpoint, started_from = _beginning(run, stage, start)
    resumed = checkpoint is not None and checkpoint.state["stage"] == stage.name
    tokenizer, sources = run.tokenizer(), run.sources
    with ranks.first_rank_first():
        data = sources.fingerprints(stage, tokenizer)
    _check_agreed(started_from, checkpoint, data)
    if checkpoint and resumed and not accept_data_change:
        _check_same(run, stage, checkpoint, data)
    machine, settings = run.recipe.machine, run.recipe.stage(stage.name)
    device, dtype = use_machine(machine)
    if dtype == torch.bfloat16 and not multiplies_bfloat16(device.type) and ranks.is_first():
        print("machine.dtype is bfloat16, which is far slower than float32 on this machine", file=sys.stderr)
    model = _model(run, tokenizer, checkpoint, device if ranks.world_size() == 1 else torch.device("cpu"), dtype)
    with ranks.first_rank_first():
        order = sources.order(stage, tokenizer)
        validation = sources.validation_batches(stage, tokenizer)
    compiles = machine.compile and can_compile(device.type)
    compile_rows = min(settings.micro_rows, most_rows(run.recipe, settings)) if compiles else None
    parallelize(model, device, recompute=machine.recompute, compile_rows=compile_rows)
    training = Training(
        run=run,
        stage=stage,
        tokenizer=tokenizer,
        model=model,
        optimizers=Optimizers(model, run.recipe.optim),
        order=order,
        validation=validation,
        total=order.steps or horizon(settings, model.config),
        data=data,
        started_from=started_from,
        order_state=order.start(),
        callbacks=callbacks,
        timeout=timeout,
    )
    if checkpoint and resumed:
        torch.set_rng_state(checkpoint.optimizer.pop(RNG))
        training.optimizers.load_state_dict(checkpoint.optimizer)
        training.step = training.saved = checkpoint.state["step"]
        training.order_state = checkpoint.state["order"]
        training.data_changes = checkpoint.state["data_changes"]
        _accept_changes(training, checkpoint.state)
    else:
        torch.manual_seed(run.recipe.seed)
        run.stage_folder(stage.name).mkdir(parents=True, exist_ok=True)
    return training


def load_model(run: Run, stage: StageName, step: int | None = None) -> GPT:
    """The model of a stage's checkpoint, ready to be asked, on a machine that may not be the one it was trained on."""
    there, here = run.recipe.machine, machine_here(run.recipe.machine)
    if (there.device, there.dtype) != (here.device, here.dtype) and ranks.is_first():
        print(f"trained on {there.device} in {there.dtype}, asked on {here.device} in {here.dtype}", file=sys.stderr)
    return _model(run, run.tokenizer(), run.load(stage, step), *use_machine(here)).eval()


def horizon(settings: StageSettings, config: ModelConfig) -> int:
    """Steps of base training: as given, else from the operations to spend, else from tokens per parameter."""
    assert settings.tokens_per_step is not None
    if settings.num_iterations is not None:
        return settings.num_iterations
    if settings.target_flops is not None:
        return max(1, round(settings.target_flops / (config.flops_per_token * settings.tokens_per_step)))
    if settings.target_param_data_ratio is not None:
        tokens = settings.target_param_data_ratio * (config.num_parameters - config.ngrams * config.width)
        return max(1, round(tokens / settings.tokens_per_step))
    raise UserError("[base] needs num_iterations, target_flops or target_param_data_ratio")


def _model(
    run: Run, tokenizer: Tokenizer, checkpoint: Checkpoint | None, device: torch.device, dtype: torch.dtype
) -> GPT:
    """The model of a checkpoint; without one, the recipe's, with random weights."""
    if checkpoint is None:
        config = run.recipe.model.config(tokenizer.vocab_size)
        return GPT.build(config, seed=run.recipe.seed, device=device, dtype=dtype)
    with torch.device("meta"):
        model = GPT(ModelConfig.from_dict(checkpoint.state["model"]), dtype)
    model.load_state_dict(checkpoint.model, assign=True)
    return model.to(device)


def check_start(run: Run, stage: Stage, start: str | None) -> None:
    """Raise `UserError` if the stage, which has checkpoints, did not begin from `start`."""
    if start is None:
        return
    began = read_state(run.newest(stage.name))["started_from"]
    if start not in (began, began.partition("@")[0]):
        raise UserError(
            f"{run.folder}: {stage.name} began from {began}, not from {start}; "
            f"remove {run.stage_folder(stage.name)} to train it again"
        )


def _beginning(run: Run, stage: Stage, start: str | None) -> tuple[Checkpoint | None, str]:
    """The checkpoint to go on with, and what the stage began from: its own last one (or what was imported in its
    place), `start`, or its first choice."""
    if list_checkpoints(run.stage_folder(stage.name)):
        check_start(run, stage, start)
        checkpoint = run.load(stage.name, optimizer=True)
        return checkpoint, checkpoint.state["started_from"]
    if start is None and not stage.starts_from:
        return None, "random weights"
    there = [name for name in stage.starts_from if name in run.stages()]
    if start is None and not there:
        raise UserError(
            f"{stage.name} starts from {' or '.join(stage.starts_from)}, and {run.folder} has no such checkpoint: "
            f"parrotlet train {stage.starts_from[0]} --run {run.folder}"
        )
    name, _, step = (start or there[0]).partition("@")
    if name not in stage.starts_from or (step and not step.isdigit()):
        known = " or ".join(f"{s}, {s}@STEP" for s in stage.starts_from) or "nothing: it begins with random weights"
        raise UserError(f"--from {start}: {stage.name} starts from {known}")
    checkpoint = run.load(STAGES[name].name, int(step) if step else None)
    at, of = checkpoint.state["step"], checkpoint.state["steps"]
    if not step and at < of:
        raise UserError(
            f"{run.folder}: {name} is at step {at} of {of}: parrotlet train {name} --run {run.folder} goes on with it; "
            f"--from {name}@{at} takes it as it is"
        )
    return checkpoint, f"{name}@{at}"


def _check_agreed(started_from: str, checkpoint: Checkpoint | None, data: dict[str, str]) -> None:
    """Raise `UserError` unless all ranks begin at the same step, with the same data: each has looked for itself."""
    step = f"step {checkpoint.state['step'] if checkpoint else 0}, from {started_from}"
    first, *others = ranks.gather({"begins at": step} | data)
    for rank, other in enumerate(others, start=1):
        if parts := [part for part in first | other if first.get(part) != other.get(part)]:
            found = ((part, *(each.get(part, "not there")[:32] for each in (first, other))) for part in parts)
            raise UserError(
                f"rank {rank} finds something else than rank 0:\n  "
                + "\n  ".join(f"{part}: {there} on rank 0, {here} on rank {rank}" for part, there, here in found)
                + "\nAll machines must see the same run folder and the same data; a shared folder may lag: try again"
            )


def _changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs between two sets of fingerprints, each with both."""
    return [
        f"{part} ({before.get(part, 'not there')[:16]} then, {now.get(part, 'not there')[:16]} now)"
        for part in {**before, **now}
        if before.get(part) != now.get(part)
    ]


def data_changes(run: Run, stage: Stage) -> list[str]:
    """What differs between the data of today and those of the stage's last checkpoint; nothing if it has none."""
    if not list_checkpoints(run.stage_folder(stage.name)):
        return []
    before = read_state(run.newest(stage.name))["data"]  # of an imported model: nothing
    return _changes(before, run.sources.fingerprints(stage, run.tokenizer())) if before else []


def _check_same(run: Run, stage: Stage, checkpoint: Checkpoint, data: dict[str, str]) -> None:
    state = checkpoint.state
    if changed := _changes(state["data"], data):
        raise UserError(
            f"{run.folder}: the data of {stage.name} changed since step {state['step']}, by fingerprint:\n  "
            + "\n  ".join(changed)
            + f"\nPut the data back, or go on with them by --accept-data-change, or remove "
            f"{run.stage_folder(stage.name)} to train the stage again"
        )


def _accept_changes(training: Training, state: dict[str, Any]) -> None:
    """Note what changed in the data since the checkpoint that the training goes on from, and what that means for it."""
    t = training
    changed = _changes(state["data"], t.data)
    if not changed:
        return
    if t.total <= t.step:
        raise UserError(
            f"{t.run.folder}: {t.stage.name} is at step {t.step}, and its changed data last for {t.total} steps only. "
            f"Put the data back, or remove {t.run.stage_folder(t.stage.name)} to train the stage again"
        )
    if all(line.startswith(VALIDATION) for line in changed):
        meaning = "validation losses before and after it are of different data"
    elif t.stage.reads == "documents":
        meaning = "the documents are numbered anew: some may come twice, some not at all"
    else:
        meaning = f"the rows are planned anew, {state['steps']} steps then and {t.total} now: some may come twice"
    t.data_changes = [*t.data_changes, {"step": t.step, "changed": [*changed, meaning]}]
