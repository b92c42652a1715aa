"""The training loop: one, for base, mid and sft."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import ranks
from ..data import Batch, Order, State, count_sources, plan_lines
from ..data.prefetch import prefetch
from ..errors import UserError
from ..evals import Validation, evaluate_loss
from ..model import GPT
from ..optim import Optimizers, clip_gradients, lr_multiplier
from ..recipe import StageSettings
from ..stages import Stage
from ..tokenizer import Tokenizer
from .checkpoint import RNG, Checkpoint, remove_old_checkpoints, save_checkpoint
from .machine import give_back_freed_memory
from .micro_batch import is_out_of_memory
from .parallel import own_parts, own_rows, whole_model, whole_on_first
from .run import Run
from .saver import Saver
from .watch import PATIENCE, STAND_STILL_SECONDS, Watch


class Callback:
    """What is optional in a run hooks in here; every method may stay as it is."""

    def on_start(self, training: Training) -> None:
        """Before the first step."""

    def on_notice(self, training: Training, text: str) -> None:
        """Something that a person should be told."""

    def on_step(self, training: Training, line: dict[str, Any]) -> None:
        """After a step; `line` is its line of `metrics.jsonl`."""

    def on_validation(self, training: Training, line: dict[str, Any]) -> None:
        """After a measurement; `line` is its line of `validation.jsonl`. More can be added to it before it is
        written."""

    def on_sample(self, training: Training) -> None:
        """Every `sample_every` steps, once the checkpoint is on the disk."""

    def on_end(self, training: Training) -> None:
        """After the last step of a stage that came to its end."""


@dataclass
class Training:
    """One stage of a run while it trains."""

    run: Run
    stage: Stage
    tokenizer: Tokenizer
    model: GPT
    optimizers: Optimizers
    order: Order
    validation: Sequence[Batch]
    total: int
    """Steps in all."""
    data: dict[str, str]
    """Fingerprints of what the batches follow from, part by part."""
    started_from: str
    """`random weights`, or the checkpoint that the stage began with: `base@600`."""
    step: int = 0
    """Steps done."""
    order_state: State = field(default_factory=dict)
    callbacks: Sequence[Callback] = ()
    data_changes: list[dict[str, Any]] = field(default_factory=list)
    """Where the data changed on the way and that was accepted: `{"step", "changed"}`."""
    asked_to_stop: bool = False
    """Set from outside (Ctrl-C): save after this step, or the next if other ranks have to hear of it, and end."""
    saved: int | None = None
    """The step of the last checkpoint."""
    saver: Saver = field(default_factory=Saver)
    watch: Watch = field(init=False)
    timeout: float = STAND_STILL_SECONDS
    """How long, in seconds, one of several ranks may stand still before all of them end."""

    def __post_init__(self) -> None:
        self.watch = Watch(self.stage.name, self.timeout)

    @property
    def settings(self) -> StageSettings:
        """The stage's sizes and intervals."""
        return self.run.recipe.stage(self.stage.name)

    def whole_model(self) -> GPT:
        """The model for measuring and generating, with all weights on each of the ranks, which all have to ask."""
        return whole_model(self.model)

    def tell(self, hook: str, *args: Any) -> None:
        """Call a hook of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self, *args)


class StoppedByUser(Exception):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has saved where it was."""


def train(training: Training) -> None:
    """Train from where `training` stands to its last step.

    At every step that is due: first the checkpoint, then the measurement or the samples, so that a crash in them
    loses nothing. Raises `StoppedByUser` after saving when asked to stop, and `UserError` when the loss is not
    a number or a checkpoint can't be saved.
    """
    t = training
    t.run.metrics(t.stage.name).cut_back(t.step)
    t.run.validation(t.stage.name).cut_back(t.step)
    t.tell("on_start")
    for line in _plan(t):
        t.tell("on_notice", line)
    with (
        stop_on_signal(t),  # until the end: torchrun, which ends the rest, must leave `watch` time to say why
        t.saver,
        t.watch,
        closing(prefetch(t.order.batches(t.order_state))) as batches,
    ):
        while t.step < t.total:
            measured = _due(t.step, t.settings.eval_every)
            sampled = t.step > 0 and _due(t.step, t.settings.sample_every)
            if t.step and (measured or sampled or _due(t.step, t.settings.save_every)):
                save(t)
            if measured:
                measure(t)
            if sampled:
                t.watch.at(t.step, "writing samples", PATIENCE)
                t.saver.wait()
                t.tell("on_sample")
            stops = _one_step(t, batches)
            if stops:
                save(t)
                t.saver.wait()
                t.watch.close()
                ranks.gather(None)  # a rank that leaves while another still waits would be taken for lost
                raise StoppedByUser
        save(t)
        measure(t)
        t.tell("on_end")
        if any(ranks.gather(t.asked_to_stop)):
            raise StoppedByUser


def _plan(t: Training) -> Iterator[str]:
    """What will be read, how the rows are filled, what does not fit."""
    yield from plan_lines(t.order.planned(t.total))
    yield t.order.filling
    for task, cuts in t.order.cut.items():
        said = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in cuts.items())
        yield f"{task}: {said} (a row has {t.model.config.sequence_len} tokens)"
    for change in t.data_changes:
        yield f"the data changed at step {change['step']}, and that was accepted: {', '.join(change['changed'])}"


def _one_step(t: Training, batches: Iterator[tuple[Batch, State]]) -> bool:
    """Train a step; returns whether all ranks stop after it."""
    started = time.perf_counter()
    t.watch.at(t.step, "reading its rows")
    batch, state = next(batches)
    before = t.order.epochs(t.order_state)
    for name, epoch in t.order.epochs(state).items():
        if epoch > before[name]:
            t.tell("on_notice", f"step {t.step}: {name} begins again (epoch {epoch + 1})")
    lr_mult = learning_rate_multiplier(t.stage, t.settings, t.step, t.total)
    t.watch.at(t.step, "computing")
    try:
        loss, grad_norm = optimize(t.model, t.optimizers, batch, t.settings.micro_rows, t.step, lr_mult)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(_out_of_memory(t)) from error
    losses, stops = zip(*ranks.gather((loss, t.asked_to_stop)), strict=True)
    loss = sum(losses)
    if not math.isfinite(loss) or not math.isfinite(grad_norm):
        raise UserError(_not_a_number(t, batch, losses, grad_norm))
    t.saver.check()
    line = {
        "step": t.step,
        "loss": loss,
        "lr_mult": lr_mult,
        "grad_norm": grad_norm,
        "tokens": batch.tokens,
        "supervised": batch.supervised,
        "rows": len(batch),
        "first_row": state["row"] - len(batch),
        "sources": count_sources(batch),
        "batch_hash": batch.hash,
        "seconds": time.perf_counter() - started,
    }
    t.step, t.order_state = t.step + 1, state
    t.run.metrics(t.stage.name).append(line)
    t.tell("on_step", line)
    return any(stops) or (t.asked_to_stop and ranks.world_size() == 1)


def optimize(
    model: GPT, optimizers: Optimizers, batch: Batch, micro_rows: int, step: int, lr_mult: float
) -> tuple[float, float]:
    """One optimiser step on `batch`; returns its loss and the norm of the gradient before clipping.

    The loss is the sum over all supervised tokens of the step divided by their number, whatever the size of the
    micro-batches. Each of several ranks computes its rows and returns its part of the loss.
    """
    loss = accumulate_gradients(model, batch, micro_rows)
    grad_norm = clip_gradients(model, optimizers.settings.grad_clip)
    optimizers.step(step, lr_mult)
    optimizers.zero_grad()
    return loss, grad_norm


def accumulate_gradients(model: GPT, batch: Batch, micro_rows: int) -> float:
    """Add the gradient of the step's loss to the parameters, `micro_rows` rows at a time; returns the rank's loss."""
    device = next(model.parameters()).device
    count = max(batch.supervised, 1)
    losses: list[Tensor] = []
    for micro in own_rows(batch).micro_batches(micro_rows):
        micro = micro.to(device)
        loss = model.loss_sum(micro.inputs, micro.targets, micro.positions, micro.attention_segments) / count
        loss.backward()
        losses.append(loss.detach())  # a number of it now would wait for a GPU
    return sum(map(float, losses), 0.0)


def learning_rate_multiplier(stage: Stage, settings: StageSettings, step: int, total: int) -> float:
    """The stage's factor times the schedule, at `step` of `total`."""
    scale = stage.lr_scale if settings.lr_scale is None else settings.lr_scale
    warmdown = stage.warmdown_frac if settings.warmdown_frac is None else settings.warmdown_frac
    return scale * lr_multiplier(
        step, total, warmup_frac=settings.warmup_frac, warmdown_frac=warmdown, final_frac=settings.final_lr_frac
    )


def save(t: Training) -> None:
    """Begin to save a checkpoint of this step, unless that was done; the last one of a stage is whole, in one file."""
    if t.step == t.saved:
        return
    t.watch.at(t.step, "saving", PATIENCE)
    t.saver.wait()
    folder, step, settings, checkpoint = t.run.stage_folder(t.stage.name), t.step, t.settings, _checkpoint(t)

    def write() -> None:
        t.run.metrics(t.stage.name).sync()  # of every step before it
        save_checkpoint(folder, step, checkpoint)
        if ranks.is_first():
            remove_old_checkpoints(folder, settings.keep_checkpoints, settings.keep_every)

    t.saver.start(write)
    t.saved = t.step


def _checkpoint(t: Training) -> Checkpoint:
    """What has to be saved; a copy, if the training goes on."""
    model, optimizer = dict(t.model.state_dict()), {**t.optimizers.state_dict(), RNG: torch.get_rng_state()}
    first_rows, goes_on = None, t.step < t.total
    if ranks.world_size() > 1 and not goes_on:
        model, optimizer = whole_on_first(model), whole_on_first(optimizer)
    else:
        (model, rows), (optimizer, more) = own_parts(model, copy=goes_on), own_parts(optimizer, copy=goes_on)
        first_rows = rows | more if ranks.world_size() > 1 else None
    return Checkpoint(
        model=model,
        optimizer=optimizer,
        state={
            "stage": t.stage.name,
            "step": t.step,
            "steps": t.total,
            "started_from": t.started_from,
            "order": t.order_state,
            "model": t.model.config.to_dict(),
            "tokenizer": t.tokenizer.fingerprint,
            "data": t.data,
            "data_changes": t.data_changes,
            "cut": t.order.cut,
        },
        recipe=t.run.recipe.to_toml(),
        first_rows=first_rows,
    )


def measure(t: Training) -> None:
    """Measure the validation loss, and whatever the callbacks add, once the checkpoint is on the disk."""
    t.watch.at(t.step, "measuring", PATIENCE)
    t.saver.wait()
    line: dict[str, Any] = {"step": t.step}
    if t.validation:
        validation: Validation = evaluate_loss(t.whole_model(), t.validation, t.tokenizer.bytes_per_token)
        line |= {
            "val_loss": validation.loss,
            "val_bpb": validation.bits_per_byte,
            "tokens": validation.tokens,
        }
    t.tell("on_validation", line)
    t.run.validation(t.stage.name).append(line)
    give_back_freed_memory()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


@contextmanager
def stop_on_signal(t: Training) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the training after the step that is under way; Ctrl-C after that at once.

    (A second SIGTERM is the first one again: a scheduler may signal every process, and torchrun hands on what it gets.)
    """

    def ask(number: int, frame: object) -> None:
        if not t.asked_to_stop:
            t.asked_to_stop = True
            t.tell("on_notice", "stopping after this step (Ctrl-C then stops at once, without saving)")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    try:
        before: dict[int, Callable[..., Any] | int | None] = {
            number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _not_a_number(t: Training, batch: Batch, losses: Sequence[float], grad_norm: float) -> str:
    sources = [s for row in batch.sources for s in row]
    named = ", ".join(f"{s.task or s.dataset}[{s.index}]" for s in sources[:8])
    more = f" and {len(sources) - 8} more" if len(sources) > 8 else ""
    bad = [rank for rank, loss in enumerate(losses) if not math.isfinite(loss)]
    where = f"rank {', '.join(map(str, bad))}, " if bad and len(losses) > 1 else ""
    return (
        f"{where}{t.stage.name} step {t.step}: the loss is {sum(losses)} (gradient norm {grad_norm}), so training "
        "stops; "
        f"the rows of this step hold {named}{more}. "
        f"`parrotlet xray {t.stage.name} --run {t.run.folder} --step {t.step}` shows them. "
        f"The last checkpoint is intact, but a run keeps its recipe: begin another (--run) with --set "
        f"{t.stage.name}.lr_scale=… lower, or machine.dtype=float32"
    )


def _out_of_memory(t: Training) -> str:
    rows, key = t.settings.micro_rows, f"{t.stage.name}.device_batch_size"
    fewer = max((n for n in range(1, rows) if rows % n == 0), default=None)
    ways = [f"--set {key}={fewer}"] if fewer else []
    ways += [] if t.run.recipe.machine.recompute else ["--set machine.recompute=true (slower, far less memory)"]
    return (
        f"{t.stage.name} step {t.step}: the device's memory does not hold {rows} rows at a time; "
        + (f"go on from the last checkpoint with {', or '.join(ways)}. " if ways else "")
        + f'A new run can have a smaller model or sequence_len, and {key} = "auto", which finds how many rows fit'
    )
