"""Gets a stage ready to train: new, from another stage's checkpoint, or where it was stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import torch

from ..errors import UserError
from ..model import GPT, ModelConfig
from ..optim import Optimizers
from ..recipe import ModelSettings, Recipe, StageSettings
from ..stages import STAGES, Stage, StageName
from ..tokenizer import Tokenizer
from .checkpoint import RNG, Checkpoint, list_checkpoints
from .loop import Callback, Training
from .machine import use_machine
from .progress import ProgressLine, duration
from .run import Run
from .sources import Sources, cache_folder


def train_tokenizer(run: Run) -> Tokenizer:
    """The run's tokenizer, trained first if there is none."""
    folder = run.folder / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        recipe_tokenizer(run.recipe).save(folder)
    return run.tokenizer()


def recipe_tokenizer(recipe: Recipe) -> Tokenizer:
    """The tokenizer that a recipe means; trained once, and kept in the cache folder."""
    sources = Sources(recipe)
    texts_from = sources.documents(validation=False)[0].fingerprint
    key = repr((texts_from, recipe.base.documents, recipe.tokenizer, recipe.seed))
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


def model_config(settings: ModelSettings, vocab_size: int) -> ModelConfig:
    """The model that a recipe's few figures mean."""
    given = {name: getattr(settings, name) for name in ("width", "heads", "kv_heads")}
    overrides = {name: value for name, value in given.items() if value is not None}
    return ModelConfig.from_depth(
        settings.depth, vocab_size=vocab_size, sequence_len=settings.sequence_len, **overrides
    )


def prepare(run: Run, stage: Stage, *, start: str | None = None, callbacks: Sequence[Callback] = ()) -> Training:
    """Everything a stage needs to train, standing where its last checkpoint does, or at its beginning.

    `start` names the checkpoint to begin with (`base`, `base@5000`); default: the stage's first choice that
    there is.
    """
    device, dtype = use_machine(run.recipe.machine)
    tokenizer = run.tokenizer()
    sources = Sources(run.recipe)
    fingerprint = sources.fingerprint(stage, tokenizer)
    resumed = list_checkpoints(run.stage_folder(stage.name))
    if resumed:
        checkpoint = run.load(stage.name, optimizer=True)
        started_from = checkpoint.state["started_from"]
        _check_same(run, stage, checkpoint, fingerprint, start)
    else:
        started_from, checkpoint = _start(run, stage, start)
    if checkpoint:
        config = ModelConfig.from_dict(checkpoint.state["model"])
    else:
        config = model_config(run.recipe.model, tokenizer.vocab_size)
    model = GPT.build(config, seed=run.recipe.seed, device=device, dtype=dtype)
    if checkpoint:
        model.load_state_dict(checkpoint.model)
    optimizers = Optimizers(model, run.recipe.optim)
    order = sources.order(stage, tokenizer)
    training = Training(
        run=run,
        stage=stage,
        tokenizer=tokenizer,
        model=model,
        optimizers=optimizers,
        order=order,
        validation=sources.validation_batches(stage, tokenizer),
        total=order.steps or horizon(run.recipe.stage(stage.name), config),
        data_fingerprint=fingerprint,
        started_from=started_from,
        order_state=order.start(),
        callbacks=callbacks,
    )
    if resumed and checkpoint:
        torch.set_rng_state(checkpoint.optimizer.pop(RNG))
        optimizers.load_state_dict(checkpoint.optimizer)
        training.step, training.order_state = checkpoint.state["step"], checkpoint.state["order"]
    else:
        torch.manual_seed(run.recipe.seed)
        run.stage_folder(stage.name).mkdir(parents=True, exist_ok=True)
    if run.recipe.machine.compile and training.step < training.total:
        model.compile_blocks()
    return training


def load_model(run: Run, stage: StageName, step: int | None = None) -> GPT:
    """The model of a stage's checkpoint, ready to be asked."""
    device, dtype = use_machine(run.recipe.machine)
    checkpoint = run.load(stage, step)
    model = GPT.build(ModelConfig.from_dict(checkpoint.state["model"]), seed=0, device=device, dtype=dtype)
    model.load_state_dict(checkpoint.model)
    return model.eval()


def horizon(settings: StageSettings, config: ModelConfig) -> int:
    """Steps of base training: as given, else from the operations to spend, else from tokens per parameter."""
    assert settings.tokens_per_step is not None
    if settings.num_iterations is not None:
        return settings.num_iterations
    if settings.target_flops is not None:
        return max(1, round(settings.target_flops / (config.flops_per_token * settings.tokens_per_step)))
    if settings.target_param_data_ratio is not None:
        tokens = settings.target_param_data_ratio * config.num_parameters
        return max(1, round(tokens / settings.tokens_per_step))
    raise UserError("[base] needs num_iterations, target_flops or target_param_data_ratio")


def _start(run: Run, stage: Stage, start: str | None) -> tuple[str, Checkpoint | None]:
    if start is None:
        if not stage.starts_from:
            return "random weights", None
        there = [name for name in stage.starts_from if name in run.stages()]
        if not there:
            raise UserError(
                f"{stage.name} starts from {' or '.join(stage.starts_from)}, and {run.folder} has neither: "
                f"parrotlet train {stage.starts_from[0]} --run {run.folder}"
            )
        start = there[0]
    name, _, step = start.partition("@")
    if name not in STAGES or (step and not step.isdigit()):
        raise UserError(f"--from {start}: expected a stage, or a stage and a step: base, base@5000")
    checkpoint = run.load(STAGES[name].name, int(step) if step else None)
    return f"{name}@{checkpoint.state['step']}", checkpoint


def _check_same(run: Run, stage: Stage, checkpoint: Checkpoint, fingerprint: str, start: str | None) -> None:
    state = checkpoint.state
    if state["data"] != fingerprint:
        raise UserError(
            f"{run.folder}: the data of {stage.name} changed since step {state['step']} "
            f"(fingerprint {state['data'][:16]} then, {fingerprint[:16]} now). "
            f"Put the data back, or remove {run.stage_folder(stage.name)} to train the stage again"
        )
    if start is not None and start.partition("@")[0] != state["started_from"].partition("@")[0]:
        raise UserError(
            f"{run.folder}: {stage.name} began from {state['started_from']}, not from {start}; "
            f"remove {run.stage_folder(stage.name)} to train it again"
        )
