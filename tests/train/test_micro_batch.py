"""How many rows are computed at a time: what `auto` decides, and going on with another number."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from parrotlet.errors import UserError
from parrotlet.recipe import Recipe, StageSettings
from parrotlet.stages import STAGES
from parrotlet.train import Run, StoppedByUser, loop, micro_batch, prepare, setup, train, train_stage, train_tokenizer
from parrotlet.train.loop import Callback
from parrotlet.train.micro_batch import choose_rows, is_out_of_memory
from small_run import write_small_run

AUTO = {f"{stage}.device_batch_size": "auto" for stage in STAGES}


class Stops(Callback):
    def on_step(self, training, line):
        training.asked_to_stop = True


def settings(tokens):
    return StageSettings(tokens_per_step=tokens, device_batch_size="auto")


@pytest.mark.parametrize(
    ("pace", "tokens", "most", "expected"),
    [
        ({1: 100, 2: 190, 4: 300, 8: 305}, 16 * 32, 16, 4),  # 8 is hardly faster
        ({1: 100, 2: 190, 4: 300, 8: 400}, 12 * 32, 12, 4),  # 12 rows can't be cut into eights
        ({1: 100, 2: 190, 4: 300, 8: 400}, 16 * 32, 2, 2),  # a rank has no more
        ({1: 300, 2: 290}, 16 * 32, 16, 1),
        ({8: 100}, 12 * 32, 12, 1),
    ],
)
def test_the_fewest_rows_near_the_best_pace_win(pace, tokens, most, expected):
    assert choose_rows(pace, settings(tokens), 32, most) == expected


def test_auto_is_decided_once_and_stays(tmp_path, monkeypatch, capfd):
    asked = Recipe.parse(write_small_run(tmp_path), "test", AUTO)
    run = Run.begin(tmp_path / "run", asked)
    decided = {name: run.recipe.stage(name).device_batch_size for name in STAGES}
    assert all(isinstance(rows, int) for rows in decided.values())
    for name in ("base", "mid"):
        stage = run.recipe.stage(name)
        assert stage.tokens_per_step % (decided[name] * run.recipe.model.sequence_len) == 0
    assert "rows at a time: base" in capfd.readouterr().err
    monkeypatch.setattr(micro_batch, "measure_pace", lambda *_: pytest.fail("decided already"))
    assert Run.begin(tmp_path / "run", asked).recipe == Run.open(tmp_path / "run").recipe == run.recipe


def test_more_rows_than_the_memory_holds_are_not_chosen(tmp_path, monkeypatch):
    real = micro_batch._try

    def small(model, rows):
        if rows > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(model, rows)

    monkeypatch.setattr(micro_batch, "_try", small)
    run = Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test", AUTO))
    assert {run.recipe.stage(name).device_batch_size for name in STAGES} == {1}


def test_the_probe_computes_as_training_does(tmp_path, monkeypatch):
    """With recomputation, the blocks keep less, and are slower; of n-grams, only gradients of rows that are used."""
    real_run, real_try, found = micro_batch.run_here, micro_batch._try, []

    def noted(model, device, *, recompute):
        found.append(recompute)
        return real_run(model, device, recompute=recompute)

    def tried(model, rows):
        outcome = real_try(model, rows)
        assert model.ngram.weight.grad.is_sparse
        return outcome

    monkeypatch.setattr(micro_batch, "run_here", noted)
    monkeypatch.setattr(micro_batch, "_try", tried)
    for recompute in (True, False):
        changes = AUTO | {"machine.recompute": recompute, "model.ngrams": 100}
        Run.begin(tmp_path / str(recompute), Recipe.parse(write_small_run(tmp_path), "test", changes))
    assert found == [True, False]


@pytest.mark.parametrize(("world", "rows"), [(1, 4), (2, 2), (3, 2), (8, 1)])
def test_blocks_are_compiled_for_the_rows_that_a_rank_computes(tmp_path, monkeypatch, world, rows):
    """A rank may have fewer rows in a step than `device_batch_size`."""
    asked = []
    changes = {"machine.compile": True, "base.device_batch_size": 4}  # of the 4 rows of a step
    run = Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test", changes))
    train_tokenizer(run)
    monkeypatch.setattr(setup, "can_compile", lambda device: True)
    monkeypatch.setattr(setup, "parallelize", lambda *_, **options: asked.append(options["compile_rows"]))
    monkeypatch.setattr(micro_batch, "ranks", SimpleNamespace(world_size=lambda: world))
    prepare(run, STAGES["base"])
    assert asked == [rows]


def test_a_full_memory_of_a_cpu_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("no kernel"))


def test_any_other_error_of_the_probe_is_not_taken_for_a_full_memory(tmp_path, monkeypatch):
    def broken(model, rows):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(micro_batch, "_try", broken)
    with pytest.raises(RuntimeError, match="no kernel"):
        Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test", AUTO))


def test_a_full_memory_is_told_and_the_run_goes_on_with_fewer_rows(tmp_path, monkeypatch, capfd):
    """The step that did not fit is computed again; the rows are those of a run that was never stopped."""
    recipe = Recipe.parse(write_small_run(tmp_path), "test")
    whole = Run.begin(tmp_path / "whole", recipe)
    train_tokenizer(whole)
    train_stage(whole, "base")
    run = Run.begin(tmp_path / "run", recipe)
    train_tokenizer(run)
    with pytest.raises(StoppedByUser):
        train(prepare(run, STAGES["base"], callbacks=[Stops()]))

    def full(*_):
        torch.empty(2**60, dtype=torch.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "accumulate_gradients", full)
        with pytest.raises(UserError, match=r"step 1: .*does not hold 2 rows.*--set base.device_batch_size=1"):
            train_stage(run, "base")
    fewer = dataclasses.replace(recipe, base=dataclasses.replace(recipe.base, device_batch_size=1))
    run = Run.begin(tmp_path / "run", fewer)
    assert "base.device_batch_size: 2 → 1" in capfd.readouterr().err
    assert Run.open(tmp_path / "run").recipe.base.device_batch_size == 1
    train_stage(run, "base")
    ours, theirs = (list(r.metrics("base").read()) for r in (run, whole))
    assert [line["batch_hash"] for line in ours] == [line["batch_hash"] for line in theirs]
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], rel=1e-3)
