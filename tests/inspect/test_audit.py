"""Recipes broken on purpose, one a class of finding; none is found on what is whole."""

import dataclasses
import json
import re
import shutil
import sys
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet.chat import Rendering, split_to_fit
from parrotlet.cli import main
from parrotlet.data import Documents, SourceFile, TextSource, held_out, plan
from parrotlet.data.documents import FILES_A_GROUP
from parrotlet.errors import UserError
from parrotlet.inspect import Material
from parrotlet.inspect.audit import audit, complaint
from parrotlet.inspect.compare import configured
from parrotlet.inspect.findings import Kind
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, run_pipeline
from weng import WENG


def said(i, answer="It is {}."):
    return [
        {"role": "user", "content": f"What is {i} and {i}?"},
        {"role": "assistant", "content": answer.format(2 * i)},
    ]


TALK = [said(i) for i in range(60)]
ASKED = [{"role": "user", "content": "Nobody answers."}]


def hub(folder, **datasets):
    """A folder with the Hub's layout: rows by name of the dataset and split."""
    for name, splits in datasets.items():
        for split, rows in splits.items():
            path = folder / "hub" / "datasets" / "mine" / name / ("main" if name == "sums" else "data")
            path.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), path / f"{split}-00000-of-00001.parquet")
    return str(folder / "hub")


def talk_from_hub(conversations, folder, stage):
    rows = [{"messages": talk} for talk in conversations]
    task = {"task": "smoltalk", "dataset": "mine/talk"}
    return {"data.hub": hub(folder, talk={"train": rows}), f"{stage}.train": [task]}


def nothing_supervised(folder, monkeypatch):
    return {**talk_from_hub([*TALK, ASKED], folder, "sft"), "model.sequence_len": 48}


def never_a_stop(folder, monkeypatch):
    questions = [[{"role": "user", "content": f"What is {i} and {i}?"}] for i in range(40)]
    return talk_from_hub(questions, folder, "mid")


def damaged_rendering(monkeypatch, damage):
    """A renderer that does something wrong to every part."""

    def split(conversation, tokenizer, max_tokens):
        parts, left_out = split_to_fit(conversation, tokenizer, max_tokens)
        rendered = (damage(tokenizer, part.rendering) for part in parts)
        return [dataclasses.replace(p, rendering=r) for p, r in zip(parts, rendered, strict=True)], left_out

    monkeypatch.setattr(plan, "split_to_fit", split)
    return {}


def cut_off(folder, monkeypatch):
    return damaged_rendering(monkeypatch, lambda tokenizer, r: Rendering(r.ids[:-3], r.mask[:-3]))


def two_bos(folder, monkeypatch):
    return damaged_rendering(monkeypatch, lambda tokenizer, r: Rendering([tokenizer.bos, *r.ids], [0, *r.mask]))


def a_lost_mask(folder, monkeypatch):
    """Everything after <|assistant_start|> is the assistant's."""
    (folder / "talk.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in [WENG, *TALK]))

    def damage(tokenizer, r):
        start = r.ids.index(tokenizer.assistant_start)
        return Rendering(r.ids, [int(i > start) for i in range(len(r))])

    return damaged_rendering(monkeypatch, damage) | {"mid.train": [said_in(folder, TALK)], "model.sequence_len": 256}


def said_in(folder, conversations, file="more.jsonl", name="more"):
    (folder / file).write_text("".join(json.dumps(talk) + "\n" for talk in conversations))
    return {"task": "custom-json", "dataset": str(folder / file), "name": name}


def spelled_specials(folder, monkeypatch):
    pasted = [{"role": "user", "content": "hello<|user_end|><|assistant_start|>hi"}, *said(1)[1:]]
    return {"sft.train": [said_in(folder, [*TALK, pasted])]}


def two_users(folder, monkeypatch):
    return talk_from_hub([*TALK, ASKED * 2], folder, "mid")


def mostly_padding(folder, monkeypatch):
    return {"sft.conversations_per_step": 1, "model.sequence_len": 256}


def twice(folder, monkeypatch):
    return {"mid.train": [said_in(folder, [*TALK, *TALK[:20]])]}


def a_leak(folder, monkeypatch):
    rows = [
        {"question": f"How many are {i} + {i}?", "answer": f"<<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"}
        for i in range(60)
    ]
    other = [{"question": f"How many are {i} and 1?", "answer": f"#### {i + 1}"} for i in range(30)]
    task = {"task": "gsm8k", "dataset": "mine/sums"}
    return {
        "data.hub": hub(folder, sums={"train": rows, "test": [*rows[7:10], *other]}),
        "sft.train": [task],
        "eval.tasks": [{**task, "split": "test"}],
    }


def hardly_learned(folder, monkeypatch):
    """Long to read, with an empty answer, beside talk with long answers."""
    long = [[{"role": "user", "content": f"{i} " * 60}, {"role": "assistant", "content": ""}] for i in range(10, 20)]
    wordy = [said(i, "It is {}, and " + "so on and on, " * 20) for i in range(60)]
    tasks = [said_in(folder, long, "long.jsonl", "long"), said_in(folder, wordy, "wordy.jsonl", "wordy")]
    return {"sft.train": tasks, "model.sequence_len": 512, "sft.conversations_per_step": 16}


def mojibake(folder, monkeypatch):
    with (folder / "texts.jsonl").open("a") as file:
        for i in range(3):
            text = f"Die Vögel flogen über die Bäume. Größe {i}. " * 3
            file.write(json.dumps({"text": text.encode().decode("latin-1")}) + "\n")
    return {}


def torn_lines(folder, monkeypatch):
    with (folder / "texts.jsonl").open("ab") as file:
        file.write(b'{"text": "torn\n{"text": "caf\xe9"}\n{"body": 1}\n')
    return {}


BROKEN: dict[Kind, tuple] = {
    "nothing supervised": (nothing_supervised, "sft", "mine/talk/data/train-00000-of-00001.parquet, row 60"),
    "stop token never supervised": (never_a_stop, "mid", None),
    "answer cut": (cut_off, "mid", "talk.jsonl, line "),
    "double bos": (two_bos, "sft", "talk.jsonl, line "),
    "tool output supervised": (a_lost_mask, "sft", "talk.jsonl, line 1"),
    "special-token text": (spelled_specials, "sft", "more.jsonl, line 61, message 1 (user): <|user_end|>"),
    "malformed conversation": (two_users, "mid", "mine/talk/data/train-00000-of-00001.parquet, row 60"),
    "too much padding": (mostly_padding, "sft", None),
    "duplicated conversations": (twice, "mid", "more.jsonl, line "),
    "held-out items in training": (a_leak, "sft", "test-00000-of-00001.parquet, row "),
    "supervised share far from plan": (hardly_learned, "sft", None),
    "malformed document": (torn_lines, "base", "texts.jsonl, line 122: not JSON ('utf-8' codec can't decode"),
    "unexpected encoding": (mojibake, "base", "texts.jsonl, line 12"),
}


def lengths(changes):
    length = changes.get("model.sequence_len", 64)
    return {"base.tokens_per_step": 4 * length, "mid.tokens_per_step": 4 * length} | changes


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_recipe_broken_on_purpose(kind, material_of, tmp_path, monkeypatch):
    """It is found in its stage, and the file and row are named; found alone but for what follows from it."""
    breaking, stage, place = BROKEN[kind]
    whole = material_of(None, length=64)
    assert audit(whole, full=True) == []
    changes = lengths(breaking(tmp_path, monkeypatch))
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))  # no plan of a whole renderer
    monkeypatch.setattr("parrotlet.train.sources.world_folder", lambda documents: tmp_path)
    broken = Material(Recipe.parse(whole.recipe.to_toml(), "broken", changes))
    found = audit(broken, full=True)
    ours = [finding for finding in found if (finding.kind, finding.stage) == (kind, stage)]
    assert ours, found
    if place:
        assert any(place in shown for shown in ours[0].places), ours
    elsewhere = {finding.kind for finding in found if finding.stage not in (stage, "mid", "sft")}
    assert elsewhere <= {kind}
    message = str(complaint(found))
    assert ours[0].what in message
    assert f"→ {ours[0].remedy}" in message


def test_a_validation_document_that_is_trained_on(material_of, tmp_path):
    whole = material_of(None, length=64)
    texts = (tmp_path / "texts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "train.jsonl").write_text("".join(texts[:100]))
    (tmp_path / "docs" / "validation.jsonl").write_text("".join(texts[100:] + texts[7:8]))
    documents = {"source": str(tmp_path / "docs" / "*.jsonl"), "validation": ["validation.jsonl"]}
    leaky = Material(Recipe.parse(whole.recipe.to_toml(), "leaky", {"base.documents": documents}))
    (found,) = audit(leaky, full=True)
    assert (found.stage, found.kind, found.count) == ("base", "held-out items in training", 1)
    assert found.places == ["validation.jsonl, line 21"]


def test_all_that_cannot_be_read_is_listed_in_every_file(material_of, tmp_path, capsys, monkeypatch):
    """Of texts and of conversations, with what is wrong with each row; `run` says so before anything else."""
    texts, talk = tmp_path / "texts.jsonl", tmp_path / "talk.jsonl"
    recipe = material_of(None, length=64).recipe
    lines = texts.read_bytes().splitlines(keepends=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.jsonl").write_bytes(b"".join([b"{}\n", *lines, b"[\n"]))
    (tmp_path / "docs" / "b.txt").write_bytes("Größe\n\nfine\n\nViele Vögel".encode("latin-1"))
    pq.write_table(
        pa.table({"text": ["whole", None, "whole", None]}), tmp_path / "docs" / "c.parquet", row_group_size=2
    )
    talk.write_bytes(b"no\n" + talk.read_bytes() + json.dumps(ASKED).encode() + b"\n")
    changes = {"base.documents": {"source": str(tmp_path / "docs" / "*"), "holdout": 0.1}}
    (tmp_path / "broken.toml").write_text(Recipe.parse(recipe.to_toml(), "broken", lengths(changes)).to_toml())
    monkeypatch.setattr(sys, "argv", ["parrotlet", "run", "--recipe", str(tmp_path / "broken.toml"), "--run", "r"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    err = capsys.readouterr().err
    places = re.findall(r"^    .*?([a-z.]+, (?:line|row) \d+): (.*)$", err, re.MULTILINE)
    expected = ["a.jsonl, line 1", f"a.jsonl, line {len(lines) + 2}", "b.txt, line 1", "b.txt, line 5"]
    expected += ["c.parquet, row 1", "c.parquet, row 3"]
    talked = ["talk.jsonl, line 1", f"talk.jsonl, line {talk.read_bytes().count(10)}"]
    assert [place for place, _ in places] == expected + 2 * talked
    assert 'expected {"text": "…"}, found b\'{}\\n\'' in places[0][1]
    assert "byte 0xf6 is not UTF-8" in places[2][1]
    assert "base: malformed document: rows that can't be read: 6\n" in err


def test_more_bad_rows_than_anybody_would_mend(material_of, tmp_path):
    """Looking for them ends early; the first are named, and that there are more is said."""
    (tmp_path / "texts.jsonl").write_text("{}\n" * 5000)
    broken = material_of(None, length=64)
    (tmp_path / "texts.jsonl").write_text("{}\n" * 5000)
    (found,) = audit(broken)
    assert (found.kind, found.what) == ("malformed document", "rows that can't be read: 1,000 or more")
    assert len(found.places) == 20
    assert "and 980 more" in str(complaint([found]))


def test_a_sample_finds_it_too(material_of, tmp_path, monkeypatch):
    changes = lengths(spelled_specials(tmp_path, monkeypatch))
    broken = Material(Recipe.parse(material_of(None, length=64).recipe.to_toml(), "broken", changes))
    assert [finding.kind for finding in audit(broken)] == ["special-token text"]


def test_a_look_at_remote_texts_fetches_no_more_than_the_first(material_of, tmp_path):
    """A source of hundreds of files: neither the audit before training nor a comparison brings them all here."""
    fetched = []

    def remote(number):
        path = tmp_path / f"{number:03d}.parquet"
        pq.write_table(pa.table({"text": [f"Document {i} of {number}." for i in range(9)]}), path)

        def fetch():
            fetched.append(path.name)
            return path

        return SourceFile(name=path.name, fetch=fetch, identity=lambda: path.name, remote=True)

    material = material_of(None, length=64)
    documents = Documents("far", [remote(number) for number in range(4 * FILES_A_GROUP)])
    material.sources.training_texts = [TextSource(documents=documents, keep=lambda text: not held_out(text, 0.2))]
    assert audit(material) == []
    assert len(set(fetched)) <= 2 * FILES_A_GROUP, "those that are open, and the next group, fetched ahead"
    reads = dict(configured(material, STAGES["base"]))["reads"]
    assert reads == f"{9 * len(documents.files)} or more documents of far"
    assert audit(material, full=True) == []
    assert len(set(fetched)) == 4 * FILES_A_GROUP


def test_a_rare_task_that_a_sample_misses_is_no_finding(material_of, tmp_path):
    """One long conversation among hundreds has a planned share, and may be in none of the steps of a sample."""
    rare = [[*said(1)[:1], {"role": "assistant", "content": "so " * 200}]]
    often = [said(i, "It is {}, " + "and so on " * 3) for i in range(400)]
    tasks = [said_in(tmp_path, rare * 2, "rare.jsonl", "rare"), said_in(tmp_path, often, "often.jsonl", "often")]
    text = material_of(None, length=64).recipe.to_toml()
    for seed in range(8):
        changes = lengths({"sft.train": tasks, "seed": seed, "model.sequence_len": 1024})
        found = audit(Material(Recipe.parse(text, "rare", changes)))
        assert "supervised share far from plan" not in {finding.kind for finding in found}


def test_the_built_in_default_is_whole():
    assert audit(Material(Recipe.load("tiny"))) == []


def test_on_the_command_line(material_of, tmp_path, monkeypatch, capsys):
    """Exit code 2 with the list; `run` stops before base, and trains all the same when told to."""
    recipe = material_of(None, length=64).recipe
    (tmp_path / "whole.toml").write_text(recipe.to_toml())
    changes = lengths(spelled_specials(tmp_path, monkeypatch))
    (tmp_path / "broken.toml").write_text(Recipe.parse(recipe.to_toml(), "broken", changes).to_toml())

    def parrotlet(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, args)])
        main()

    parrotlet("audit", "--recipe", tmp_path / "whole.toml")
    assert "test: nothing found (a sample, " in capsys.readouterr().out
    run = ("run", "--recipe", tmp_path / "broken.toml", "--run", tmp_path / "run")
    for command in (("audit", "--recipe", tmp_path / "broken.toml"), run):
        with pytest.raises(SystemExit) as end:
            parrotlet(*command)
        assert end.value.code == 2
        err = capsys.readouterr().err
        assert "error: the audit found 1 problem:\n" in err
        assert "\nsft: special-token text: messages with text that spells a special token: 1\n" in err
    assert "--no-audit" in err
    assert not (tmp_path / "run" / "base").exists()
    parrotlet(*run, "--no-audit")
    assert (tmp_path / "run" / "sft" / "checkpoints").exists()


def test_a_run_that_has_begun_is_not_looked_at_again(trained, tmp_path):
    def check(run):
        raise UserError("looked at")

    shutil.copytree(trained.folder, tmp_path / "run")
    run_pipeline(Run.open(tmp_path / "run"), check)
    shutil.rmtree(tmp_path / "run" / "base")
    shutil.rmtree(tmp_path / "run" / "mid")
    shutil.rmtree(tmp_path / "run" / "sft")
    with pytest.raises(UserError, match="looked at"):
        run_pipeline(Run.open(tmp_path / "run"), check)
