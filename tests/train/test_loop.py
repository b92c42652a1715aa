"""The loop: what a step's loss is, resuming, stopping, and what ends a training."""

import dataclasses
import functools
import json
import math
import os
import signal

import pytest
import torch
import torch.nn.functional as F

from parrotlet.data import Batch
from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, StoppedByUser, loop, prepare, train, train_stage, train_tokenizer
from parrotlet.train.callbacks import SAMPLE_PROMPTS, Samples
from parrotlet.train.checkpoint import checkpoint_folder, list_checkpoints
from parrotlet.train.loop import Callback, accumulate_gradients
from parrotlet.train.metrics import MetricsFile
from parrotlet.train.setup import horizon
from small_run import write_small_run

CONFIG = ModelConfig(depth=2, vocab_size=400, sequence_len=32, width=32, heads=2, kv_heads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where texts and conversations lie."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def recipe(folder):
    return Recipe.parse(write_small_run(folder), "test")


def new_run(path, recipe):
    run = Run.begin(path, recipe)
    train_tokenizer(run)
    return run


def losses(run, stage):
    return [(m["step"], m["loss"], m["batch_hash"], m["supervised"]) for m in run.metrics(stage).read()]


def random_batch(rows=8, seed=0, masked_rows=()):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 400, (rows, 32), generator=generator)
    targets = torch.where(torch.rand((rows, 32), generator=generator) < 0.4, ids.roll(-1, 1), -1)
    targets[list(masked_rows)] = -1
    segments = torch.arange(32).div(11, rounding_mode="floor").expand(rows, 32)
    return Batch(
        ids,
        targets,
        torch.arange(32).expand(rows, 32) % 11,
        segments.contiguous(),
        sources=((),) * rows,
        attends="segment",
    )


def gradients(batch, micro_rows):
    model = GPT.build(CONFIG, seed=3)
    with torch.no_grad():  # away from the zeros that the model begins with
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())), alpha=0.05)
    loss = accumulate_gradients(model, batch, micro_rows)
    return loss, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("masked_rows", [(), (0,), (0, 1, 2, 3), (7,)])
def test_micro_batch_size_changes_nothing_but_rounding(masked_rows):
    """1×8 = 2×4 = 8×1, also where a whole micro-batch has nothing supervised; the differences have no direction."""
    batch = random_batch(masked_rows=masked_rows)
    loss, gradient = gradients(batch, 8)
    for micro_rows in (1, 2, 4, 3):
        other_loss, other = gradients(batch, micro_rows)
        assert other_loss == pytest.approx(loss, rel=1e-6)
        difference = other - gradient
        assert difference.abs().max() < 1e-6 * gradient.abs().max()
        assert difference.mean().abs() < 3 * difference.std() / math.sqrt(difference.numel()) + 1e-12


def test_a_batch_with_nothing_supervised_has_no_loss_and_no_gradient():
    loss, gradient = gradients(random_batch(masked_rows=range(8)), 2)
    assert loss == 0
    assert not gradient.any()


class Foretells(Callback):
    """Computes the loss of a coming step by hand, with attention over the row and within the segments."""

    def __init__(self, step):
        self.step, self.foretold = step, {}

    def on_step(self, training, line):
        if line["step"] == self.step:
            self.loss = line["loss"]
        if training.step != self.step:
            return
        batch, _ = next(training.order.batches(training.order_state))
        assert int(batch.segments.max()) > 0, "rows hold more than one text"
        for attends, segments in (("row", None), ("segment", batch.segments)):
            logits = training.model.logits(training.model(batch.inputs, batch.positions, segments))
            loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-1)
            self.foretold[attends] = loss.item()


def test_base_attends_over_the_row_and_conversations_only_to_themselves(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    for stage in STAGES.values():
        callback = Foretells(5)
        train(prepare(run, stage, callbacks=[callback]))
        assert callback.loss == pytest.approx(callback.foretold[stage.attends], rel=3e-6)
        other = "segment" if stage.attends == "row" else "row"
        assert callback.loss != pytest.approx(callback.foretold[other], rel=1e-5)


def test_the_whole_way_and_its_files(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    for stage in STAGES:
        train_stage(run, stage)
    assert run.stages() == ["base", "mid", "sft"]
    assert run.load("mid").state["started_from"] == "base@12"
    assert run.load("sft").state["started_from"].startswith("mid@")
    base = run.metrics("base").read()
    assert [m["step"] for m in base] == list(range(12))
    assert base[-1]["loss"] < base[0]["loss"]
    assert base[0]["tokens"] == 256
    assert [v["step"] for v in run.validation("base").read()] == [0, 4, 8, 12]
    assert list_checkpoints(run.stage_folder("base")) == [8, 12]
    sft = run.metrics("sft").read()
    assert all(m["supervised"] < m["tokens"] for m in sft)
    assert sft[-1]["lr_mult"] < sft[0]["lr_mult"] <= 0.02


def test_same_seed_same_metrics(tmp_path, recipe):
    runs = [new_run(tmp_path / name, recipe) for name in "ab"]
    for run in runs:
        train_stage(run, "base")
        train_stage(run, "mid")
    assert losses(runs[0], "base") == losses(runs[1], "base")
    assert losses(runs[0], "mid") == losses(runs[1], "mid")


class Stops(Callback):
    """Sends a signal at a step."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_step(self, training, line):
        if training.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_sigterm_is_the_first_and_ctrl_c_does_not_wait(tmp_path, recipe, second):
    """torchrun hands on what a scheduler has sent to all processes."""
    run, ways = new_run(tmp_path / "run", recipe), [Stops(5, signal.SIGTERM), Stops(5, second)]
    with pytest.raises(StoppedByUser if second == signal.SIGTERM else KeyboardInterrupt):
        train(prepare(run, STAGES["base"], callbacks=ways))
    assert (5 in list_checkpoints(run.stage_folder("base"))) == (second == signal.SIGTERM)


@pytest.mark.parametrize("stage", ["base", "mid", "sft"])
def test_stopped_and_resumed_is_the_same_as_not_stopped(tmp_path, recipe, stage):
    whole, stopped = new_run(tmp_path / "whole", recipe), new_run(tmp_path / "stopped", recipe)
    for earlier in list(STAGES)[: list(STAGES).index(stage)]:
        train_stage(whole, earlier)
        train_stage(stopped, earlier)
    train_stage(whole, stage)
    with pytest.raises(StoppedByUser):
        train(prepare(stopped, STAGES[stage], callbacks=[Stops(5, signal.SIGINT)]))
    assert list_checkpoints(stopped.stage_folder(stage))[-1] == 5
    train_stage(stopped, stage)
    assert losses(stopped, stage) == losses(whole, stage)
    ours, theirs = stopped.load(stage, optimizer=True), whole.load(stage, optimizer=True)
    assert all(torch.equal(ours.model[n], theirs.model[n]) for n in theirs.model)
    assert all(torch.equal(ours.optimizer[n], theirs.optimizer[n]) for n in theirs.optimizer)


def test_not_a_number_stops_with_step_and_rows(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)

    class Poisons(Callback):
        def on_step(self, training, line):
            if training.step == 6:
                with torch.no_grad():
                    training.model.head.weight[3] = math.nan

    with pytest.raises(UserError, match=r"base step 6: the loss is nan.*texts\.jsonl\["):
        train(prepare(run, STAGES["base"], callbacks=[Poisons()]))
    assert list_checkpoints(run.stage_folder("base")) == [4]
    assert all(math.isfinite(m["loss"]) for m in run.metrics("base").read())


def test_a_gradient_that_is_no_number_stops_too(tmp_path, recipe, monkeypatch):
    """Though the loss is one: the weights would be lost in that very step."""
    run = new_run(tmp_path / "run", recipe)
    norms = iter([1.0, 1.0, math.inf])
    monkeypatch.setattr("parrotlet.train.loop.clip_gradients", lambda model, most: next(norms))
    with pytest.raises(UserError, match=r"base step 2: .*gradient.* inf"):
        train(prepare(run, STAGES["base"]))
    assert len(run.metrics("base").read()) == 2


def test_steps_of_base_follow_from_the_first_horizon_that_is_given(recipe):
    """Steps, else operations, else tokens a parameter (Hoffmann et al. 2022)."""
    given = {"num_iterations": None, "target_flops": None, "target_param_data_ratio": None}
    settings = functools.partial(dataclasses.replace, recipe.base, **given | {"tokens_per_step": 64})
    flops = CONFIG.flops_per_token
    assert horizon(settings(num_iterations=7, target_flops=1e9, target_param_data_ratio=9.0), CONFIG) == 7
    assert horizon(settings(target_flops=64.0 * 30 * flops, target_param_data_ratio=9.0), CONFIG) == 30
    assert horizon(settings(target_param_data_ratio=10.0), CONFIG) == round(10 * CONFIG.num_parameters / 64)
    ngrams = dataclasses.replace(CONFIG, ngrams=10_000)
    assert horizon(settings(target_param_data_ratio=10.0), ngrams) == round(10 * CONFIG.num_parameters / 64)
    assert horizon(settings(target_flops=1.0), CONFIG) == 1
    with pytest.raises(UserError, match=r"base.* needs num_iterations, target_flops or target_param_data_ratio"):
        horizon(settings(), CONFIG)


def test_samples_on_the_way(tmp_path, recipe):
    """Every so many steps, and at the end, each text that it goes on with."""
    told = []

    class Listens(Callback):
        def on_notice(self, training, text):
            told.append((training.step, text))

    base = dataclasses.replace(recipe.base, sample_every=5)
    run = new_run(tmp_path / "run", dataclasses.replace(recipe, base=base))
    train(prepare(run, STAGES["base"], callbacks=[Listens(), Samples()]))
    written = [(step, text.partition("▸")[0]) for step, text in told if "writes" in text]
    assert written == [(s, f"step {s} writes: {p}") for s in (5, 10, 12) for p in SAMPLE_PROMPTS]


def test_what_is_saved_while_the_training_goes_on_is_a_copy(tmp_path, recipe, monkeypatch):
    """What is saved at the end need not be: a large model would lie in memory twice."""
    saved, save = {}, loop.save_checkpoint

    def keep(folder, step, checkpoint):
        saved[step] = {**checkpoint.model, **checkpoint.optimizer}
        save(folder, step, checkpoint)

    monkeypatch.setattr(loop, "save_checkpoint", keep)
    base = dataclasses.replace(recipe.base, save_every=1)
    training = prepare(new_run(tmp_path / "run", dataclasses.replace(recipe, base=base)), STAGES["base"])
    train(training)
    alive = {**training.model.state_dict(), **training.optimizers.state_dict()}
    for step, tensors in saved.items():
        shared = {name for name, tensor in alive.items() if tensors[name].data_ptr() == tensor.data_ptr()}
        assert shared == (set(alive) if step == training.total else set()), step
    assert len(saved) == training.total > 1


def test_the_checkpoint_comes_before_the_measurement(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)

    class Crashes(Callback):
        def on_validation(self, training, line):
            if training.step == 8:
                raise RuntimeError("out of memory in the evaluation")

    with pytest.raises(RuntimeError):
        train(prepare(run, STAGES["base"], callbacks=[Crashes()]))
    assert list_checkpoints(run.stage_folder("base"))[-1] == 8
    base = dataclasses.replace(recipe.base, save_every=100)
    rarely_saved = new_run(tmp_path / "rarely", dataclasses.replace(recipe, base=base))
    with pytest.raises(RuntimeError):
        train(prepare(rarely_saved, STAGES["base"], callbacks=[Crashes()]))
    assert list_checkpoints(rarely_saved.stage_folder("base"))[-1] == 8


def test_the_checkpoint_comes_before_the_samples(tmp_path, recipe):
    class Crashes(Callback):
        def on_sample(self, training):
            raise RuntimeError("out of memory while it writes")

    run = new_run(tmp_path / "run", dataclasses.replace(recipe, base=dataclasses.replace(recipe.base, sample_every=5)))
    with pytest.raises(RuntimeError):
        train(prepare(run, STAGES["base"], callbacks=[Crashes()]))
    assert list_checkpoints(run.stage_folder("base"))[-1] == 5


def test_what_a_measurement_freed_is_given_back(tmp_path, recipe, monkeypatch):
    """Its tensors have other sizes than a step's."""
    given_back = []
    monkeypatch.setattr(loop, "give_back_freed_memory", lambda: given_back.append(True))
    run = new_run(tmp_path / "run", recipe)
    train(prepare(run, STAGES["base"]))
    assert len(given_back) == len(run.validation("base").read()) > 1


def test_a_second_epoch_is_announced(tmp_path, recipe):
    run = new_run(
        tmp_path / "run",
        dataclasses.replace(recipe, base=dataclasses.replace(recipe.base, num_iterations=40)),
    )
    told = []

    class Listens(Callback):
        def on_notice(self, training, text):
            told.append(text)

    train(prepare(run, STAGES["base"], callbacks=[Listens()]))
    assert any("texts.jsonl begins again (epoch 2)" in text for text in told)


def test_a_changed_recipe_is_refused_by_its_keys(tmp_path, recipe):
    new_run(tmp_path / "run", recipe)
    with pytest.raises(UserError, match="seed: 42 → 7"):
        Run.begin(tmp_path / "run", dataclasses.replace(recipe, seed=7))
    assert Run.begin(tmp_path / "run", recipe).recipe == Run.open(tmp_path / "run").recipe


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"begins at": "step 4, from base@9"}, "begins at: step 0, from random weights on rank 0, step 4, from base@9"),
        ({"a.txt": "f" * 64}, "a.txt: not there on rank 0, ffff"),
    ],
)
def test_ranks_that_find_different_things_are_refused(tmp_path, recipe, monkeypatch, differs, said):
    """A rank whose machine sees another folder, or an older state of it, would train on batches of its own."""
    run = new_run(tmp_path / "run", recipe)
    monkeypatch.setattr(
        "parrotlet.train.setup.ranks.gather",
        lambda value: [value, value | differs] if isinstance(value, dict) and "begins at" in value else [value],
    )
    with pytest.raises(UserError, match=rf"rank 1 finds something else than rank 0:\n  {said}"):
        prepare(run, STAGES["base"])


def test_a_line_of_metrics_that_was_cut_inside_a_character_is_dropped(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(3):
        metrics.append({"step": step, "sources": {"语料/x.jsonl": 5}})
    whole = metrics.path.read_bytes()
    metrics.path.write_bytes(whole[: whole.rindex("料".encode()) + 1])
    metrics.cut_back(9)
    assert [line["step"] for line in metrics.read()] == [0, 1]


def test_changed_data_are_refused_with_both_fingerprints(tmp_path, recipe, folder):
    run = new_run(tmp_path / "run", recipe)
    with pytest.raises(StoppedByUser):
        train(prepare(run, STAGES["base"], callbacks=[Stops(2, signal.SIGTERM)]))
    source = f"{folder / 'texts.jsonl'}"
    fingerprint = run.load("base").state["data"][source]
    texts = (folder / "texts.jsonl").read_text()
    try:
        (folder / "texts.jsonl").write_text(texts + '{"text": "one more"}\n')
        with pytest.raises(UserError, match=rf"(?s)texts\.jsonl \({fingerprint[:16]} then.*--accept-data-change"):
            prepare(Run.open(run.folder), STAGES["base"])
    finally:
        (folder / "texts.jsonl").write_text(texts)


@pytest.mark.parametrize(("stage", "file", "step"), [("base", "texts.jsonl", 2), ("mid", "talk.jsonl", 3)])
def test_accepted_changes_of_the_data_are_told_and_saved(tmp_path, stage, file, step):
    run = new_run(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test"))
    if stage == "mid":
        train_stage(run, "base")
    with pytest.raises(StoppedByUser):
        train(prepare(run, STAGES[stage], callbacks=[Stops(step, signal.SIGTERM)]))
    lines = (tmp_path / file).read_text().splitlines(keepends=True)
    (tmp_path / file).write_text("".join(lines[::-1]))
    with pytest.raises(UserError, match="--accept-data-change"):
        prepare(Run.open(run.folder), STAGES[stage])
    train(prepare(Run.open(run.folder), STAGES[stage], accept_data_change=True))
    (change,) = run.load(stage).state["data_changes"]
    assert change["step"] == step
    assert "then" in change["changed"][0]
    assert [line["step"] for line in run.metrics(stage).read()] == [*range(len(run.metrics(stage).read()))]
    train(prepare(Run.open(run.folder), STAGES[stage]))  # nothing changed since: no need to accept it again


def test_a_checkpoint_of_another_tokenizer_is_refused(tmp_path, recipe, tokenizer):
    run = new_run(tmp_path / "run", recipe)
    train_stage(run, "base")
    tokenizer.save(run.folder / "tokenizer")
    with pytest.raises(UserError, match="trained with another tokenizer"):
        prepare(run, STAGES["mid"])


def test_a_torn_checkpoint_is_refused_and_the_one_before_still_serves(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    train_stage(run, "base")
    torn = checkpoint_folder(run.stage_folder("base"), 12)
    (torn / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"damaged: model\.safetensors"):
        train_stage(run, "mid")
    assert run.load("base", 8).state["step"] == 8


def test_a_stage_says_what_has_to_come_before_it(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    with pytest.raises(UserError, match=r"sft starts from mid or base, and .* has no such checkpoint"):
        train_stage(run, "sft")
    train_stage(run, "base")
    with pytest.raises(UserError, match="no checkpoint base@7; there are 8, 12"):
        train_stage(run, "mid", "base@7")
    for start in ("bass", "sft", "base@x"):
        with pytest.raises(UserError, match="mid starts from base, base@STEP"):
            train_stage(run, "mid", start)
    train_stage(run, "sft", "base@8")
    assert run.load("sft").state["started_from"] == "base@8"
    train_stage(run, "sft", "base@8")
    with pytest.raises(UserError, match="sft began from base@8, not from base@12"):
        train_stage(run, "sft", "base@12")


def test_a_stage_does_not_begin_with_one_that_is_unfinished(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    with pytest.raises(StoppedByUser):
        train(prepare(run, STAGES["base"], callbacks=[Stops(5, signal.SIGINT)]))
    with pytest.raises(UserError, match=r"base is at step 5 of 12: .* --from base@5 takes it as it is"):
        train_stage(run, "mid")
    train_stage(run, "mid", "base@5")
    assert run.load("mid").state["started_from"] == "base@5"


def test_ctrl_c_in_the_last_step_saves_and_stops(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    with pytest.raises(StoppedByUser):
        train(prepare(run, STAGES["base"], callbacks=[Stops(12, signal.SIGINT)]))
    assert list_checkpoints(run.stage_folder("base"))[-1] == 12
    train_stage(run, "base")
    assert run.validation("base").read()[-1]["step"] == 12


def test_ctrl_c_in_the_last_measurement_stops_the_pipeline(tmp_path, recipe):
    """The stage is done, and the next one does not begin."""

    class StopsAtTheEnd(Callback):
        def on_validation(self, training, line):
            if training.step == training.total:
                os.kill(os.getpid(), signal.SIGINT)

    run = new_run(tmp_path / "run", recipe)
    with pytest.raises(StoppedByUser):
        train(prepare(run, STAGES["base"], callbacks=[StopsAtTheEnd()]))
    assert run.validation("base").read()[-1]["step"] == 12
    lines = run.metrics("base").read()
    train_stage(run, "base")
    assert run.metrics("base").read() == lines


def test_what_does_not_fit_into_a_row_is_told_and_saved(tmp_path, recipe, folder):
    """One conversation of two exchanges is split between them; an exchange longer than a row is left out."""
    user, assistant = {"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It is 7. " * 5}
    long = {"role": "assistant", "content": "It is 7. " * 50}
    extra = [[user, assistant, user, assistant], [user, assistant, user, long]]
    talk = (folder / "talk.jsonl").read_text()
    told = []

    class Listens(Callback):
        def on_notice(self, training, text):
            told.append(text)

    try:
        (folder / "talk.jsonl").write_text(talk + "".join(json.dumps(c) + "\n" for c in extra))
        run = new_run(tmp_path / "run", recipe)
        train_stage(run, "base")
        train(prepare(run, STAGES["mid"], callbacks=[Listens()]))
    finally:
        (folder / "talk.jsonl").write_text(talk)
    assert told[-1] == "custom-json: 1 conversations split, 1 exchanges left out (a row has 64 tokens)"
    assert run.load("mid").state["cut"] == {"custom-json": {"conversations_split": 1, "exchanges_left_out": 1}}


def test_one_process_at_a_time(tmp_path, recipe):
    run = new_run(tmp_path / "run", recipe)
    with run.lock(), pytest.raises(UserError, match="another process"), Run.open(run.folder).lock():
        pass


def test_another_recipe_leaves_a_run_alone_that_has_just_begun(tmp_path, recipe):
    """Though nothing came of it yet: its process may still train the tokenizer."""
    run = Run.begin(tmp_path / "run", recipe)
    before = (run.folder / "recipe.toml").read_bytes()
    other = dataclasses.replace(recipe, seed=7)
    with run.lock(), pytest.raises(UserError, match="another process"):
        Run.begin(run.folder, other)
    assert (run.folder / "recipe.toml").read_bytes() == before
    assert Run.begin(run.folder, other).recipe.seed == 7
