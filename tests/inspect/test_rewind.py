"""From a spike to its row, in two commands; provenance in the metrics."""

import json
import random
import re
import shutil
import sys

import pytest

from parrotlet.cli import main
from parrotlet.cli.rewind import _excerpt
from parrotlet.data import PlanOrder, Source, count_sources
from parrotlet.inspect import Material, Segment
from parrotlet.inspect.rewind import Scored, hardest, model_before, rewind, spikes
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, load_model, train_stage, train_tokenizer
from small_run import write_small_run


@pytest.fixture
def parrotlet(monkeypatch, capsys):
    def command(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, args)])
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    return command


@pytest.mark.parametrize("name", STAGES)
def test_the_metrics_say_which_rows_a_step_used(trained, name):
    """Numbered through the stage without a gap, also over the checkpoints; what each source gave adds up."""
    material, following = Material.of_run(trained), 0
    for line in trained.metrics(name).read():
        assert line["first_row"] == following
        following += line["rows"]
        assert line["sources"] == {
            k: list(v) for k, v in count_sources(material.batch(STAGES[name], line["step"])).items()
        }
        assert sum(counts[1] for counts in line["sources"].values()) == line["tokens"]
        assert sum(counts[2] for counts in line["sources"].values()) == line["supervised"]
    order = material.order(STAGES[name])
    if isinstance(order, PlanOrder):
        assert following == len(order.plan.rows)


def test_the_losses_of_the_segments_are_the_loss_of_the_step(trained):
    """At a step that has a checkpoint, weighted by their tokens: the loss that training wrote down."""
    for name, step in (("base", 4), ("base", 8), ("mid", 2), ("sft", 3)):
        scored, checkpoint = rewind(trained, STAGES[name], step)
        assert checkpoint == f"{name}@{step}"
        tokens = sum(one.segment.supervised for one in scored)
        loss = sum(one.loss * one.segment.supervised for one in scored) / tokens
        assert loss == pytest.approx(trained.metrics(name).read()[step]["loss"], rel=1e-4)


def test_before_its_first_checkpoint_a_stage_is_measured_with_what_it_began_from(trained):
    model, name = model_before(trained, STAGES["mid"], 1)
    assert name == "base@12"
    assert all(
        (a == b).all() for a, b in zip(model.parameters(), load_model(trained, "base").parameters(), strict=True)
    )
    assert model_before(trained, STAGES["base"], 2)[1] == "base@4 (none earlier is kept)"


def test_a_spike_is_what_stands_out_from_the_steps_before():
    losses = [9.0, 8.0, 7.0, 6.5, 6.2, 6.0, 7.5, 5.9, 5.8]
    found = spikes([{"step": i, "loss": loss} for i, loss in enumerate(losses)], 3)
    assert found[0].step == 6
    assert found[0].above == pytest.approx(7.5 - 6.75)


def test_what_fell_is_no_spike():
    """Neither while the loss falls, nor on the way down from a spike."""

    def steps(*losses):
        return [spike.step for spike in spikes([{"step": i, "loss": loss} for i, loss in enumerate(losses)], 9)]

    assert steps(9.0, 8.0, 7.0, 6.5, 6.2) == []
    assert steps(9.0, 5.0, 4.0, 4.1, 3.9) == [], "up from the step before, and still below the others"
    assert steps(2.0, 2.0, 9.0, 6.0, 4.0, 2.0, 3.5) == [2, 6]


def test_a_stage_whose_loss_only_fell(trained, parrotlet, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "run")
    metrics = tmp_path / "run" / "sft" / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    falling = (json.dumps(line | {"loss": 9.0 / (1 + line["step"])}) + "\n" for line in lines)
    metrics.write_text("".join(falling))
    out = parrotlet("rewind", "--run", tmp_path / "run", "--stage", "sft")
    assert out.strip().endswith("at no step did the loss rise above the steps before")


@pytest.mark.parametrize("seed", range(2))
def test_a_poisoned_document_is_found_in_two_commands(tmp_path, parrotlet, seed):
    """Garbage, repeated, planted at a random place: the first command names the step, the second the document."""
    draw = random.Random(seed)
    recipe = write_small_run(tmp_path, documents=400)
    texts = (tmp_path / "texts.jsonl").read_text().splitlines()
    place = draw.randrange(len(texts))
    garbage = "".join(draw.choice("@#%^&~|{}<>_=+QZXJ") for _ in range(40)) * 5
    texts[place] = json.dumps({"text": garbage})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "texts.jsonl").write_text("\n".join(texts) + "\n")
    (tmp_path / "docs" / "validation.jsonl").write_text("\n".join(texts[:9]) + "\n")
    changes = {
        "base.documents": {"source": str(tmp_path / "docs" / "*.jsonl"), "validation": ["validation.jsonl"]},
        "base.num_iterations": 80,
        "base.save_every": 5,
        "base.keep_checkpoints": 0,
    }
    run = Run.begin(tmp_path / "run", Recipe.parse(recipe, "test", changes))
    train_tokenizer(run)
    train_stage(run, "base")
    first = parrotlet("rewind", "--run", run.folder, "--stage", "base")
    step = re.search(r"--stage base --step (\d+)", first)[1]
    second = parrotlet("rewind", "--run", run.folder, "--stage", "base", "--step", step)
    found = next(line for line in second.splitlines() if line.startswith("loss"))
    assert found.endswith(f"texts.jsonl, line {place + 1}")


def test_the_hardest_segments_of_a_stage(trained, parrotlet):
    """All segments are ranked; every Nth step looks at those steps only."""
    last = len(trained.metrics("sft").read()) - 1
    all_scored, name = hardest(trained, STAGES["sft"], 1000, 1, lambda done, total: None)
    assert name == f"sft@{last + 1}"
    material = Material.of_run(trained)
    segments = sum(len(row) for batch in material.batches(STAGES["sft"], 0) for row in batch.sources)
    assert len(all_scored) == segments
    few, _ = hardest(trained, STAGES["sft"], 3, 1, lambda done, total: None)
    assert [one.segment for one in few] == [one.segment for one in all_scored[:3]]
    sampled, _ = hardest(trained, STAGES["sft"], 1000, 4, lambda done, total: None)
    assert {one.step for one in sampled} == set(range(0, last + 1, 4))
    out = parrotlet("rewind", "--run", trained.folder, "--stage", "sft", "--worst", 3)
    shown = [line for line in out.splitlines() if line.startswith("loss")]
    assert [line.split(": ")[1] for line in shown] == [one.segment.where for one in all_scored[:3]]


def test_an_excerpt_holds_whole_characters():
    """Though the token that was predicted worst is the first byte of three."""
    texts = ["<|bos|>", "小", "‥", "‥", "鸟\n", "飞"]
    source = Source(0, "some", 0, None, 0, len(texts))
    segment = Segment("base", 0, source, "here", 0, [0] * 6, [1] * 6, texts, [True] * 6, ["text"] * 6)
    shown = [_excerpt(Scored(0, segment, 1.0, hardest, 2.5)).plain.strip() for hardest in (0, 2, 5)]
    assert shown == ["<|bos|>▸小◂鸟⏎飞 2.5", "<|bos|>小▸‥◂鸟⏎飞 2.5", "<|bos|>小鸟⏎飞▸(the next document)◂ 2.5"]


def test_long_surprises_count_for_more_than_short_ones(trained):
    scored, _ = rewind(trained, STAGES["base"], 5)
    average = sum(one.loss * one.segment.supervised for one in scored) / sum(one.segment.supervised for one in scored)
    assert [one.surprise(average) for one in scored] == sorted((one.surprise(average) for one in scored), reverse=True)
    assert scored[0].loss > average
