"""From a recipe to its data."""

import dataclasses

import pytest

from parrotlet.data import documents
from parrotlet.errors import UserError
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.tasks import TaskSpec
from parrotlet.train import Run, Sources, prepare, recipe_tokenizer, train, train_tokenizer
from parrotlet.train import sources as sources_module
from small_run import write_small_run


@pytest.fixture
def text(tmp_path):
    return write_small_run(tmp_path)


def with_documents(text, documents):
    line = next(line for line in text.splitlines() if line.startswith("documents = "))
    return Recipe.parse(text.replace(line, f"documents = {documents}"), "test")


def write_texts(folder, name, count, field="text"):
    (folder / name).write_text(
        "".join(f'{{"{field}": "{name} says {i} {"words " * (i % 9)}"}}\n' for i in range(count))
    )


def test_sources_by_weight(tmp_path, text):
    write_texts(tmp_path, "other.jsonl", 200, "body")
    recipe = with_documents(
        text,
        f"""[{{ source = "{tmp_path}/texts.jsonl", weight = 3, holdout = 0.2 }},
             {{ source = "{tmp_path}/other.jsonl", text = "body", holdout = 0.3 }}]""",
    )
    sources, tokenizer = Sources(recipe), recipe_tokenizer(recipe)
    order = sources.order(STAGES["base"], tokenizer)
    planned = order.planned(40)
    assert [p.tokens for p in planned] == [40 * 256 * 3 // 4, 40 * 256 // 4]
    validation = sources.validation_batches(STAGES["base"], tokenizer)
    datasets = [source.dataset for batch in validation for row in batch.sources for source in row]
    assert {name.rsplit("/", 1)[1] for name in datasets} == {"texts.jsonl", "other.jsonl"}
    assert set(sources.fingerprints(STAGES["base"], tokenizer)) > {source.source for source in recipe.base.texts}


def test_files_are_opened_and_hashed_once_a_run(tmp_path, text, monkeypatch):
    opened, hashed = [], []
    from parrotlet.data import documents as module
    from parrotlet.tasks import rows

    real_open, real_hash = module.open_texts, rows.sha256
    monkeypatch.setattr(module, "open_texts", lambda path, *more: opened.append(path.name) or real_open(path, *more))
    monkeypatch.setattr(rows, "sha256", lambda path: hashed.append(path.name) or real_hash(path))
    run = Run.begin(tmp_path / "run", Recipe.parse(text, "test"))
    train_tokenizer(run)
    prepare(run, STAGES["base"])
    run.sources.order(STAGES["mid"], run.tokenizer())
    run.sources.fingerprints(STAGES["mid"], run.tokenizer())
    run.sources.validation_batches(STAGES["sft"], run.tokenizer())
    assert opened == ["texts.jsonl"]
    assert hashed == ["talk.jsonl"]


def test_files_that_should_be_there_and_are_not(tmp_path, text):
    for i in (0, 1, 3):
        write_texts(tmp_path, f"shard_{i:05d}.jsonl", 50)
    shards = f'source = "{tmp_path}/shard_*.jsonl"'

    def texts(more=""):
        return Sources(with_documents(text, f"{{ {shards}{more} }}")).training_texts

    with pytest.raises(UserError, match="1 are missing: 2"):
        texts()
    assert len(texts(", max_files = 2")[0].documents) == 100
    assert len(texts(', validation = ["shard_00003.jsonl"]')[0].documents) == 100
    write_texts(tmp_path, "shard_00002.jsonl", 50)
    assert len(texts(', validation = ["shard_00002.jsonl"]')[0].documents) == 150, "named for validation, not missing"
    (tmp_path / "shard_00002.jsonl").unlink()
    for i in (5, 6):
        write_texts(tmp_path, f"shard_{i:05d}.jsonl", 50)
    assert (
        len(texts(', validation = ["shard_00000.jsonl", "shard_00001.jsonl", "shard_00003.jsonl"]')[0].documents) == 100
    )
    for i in (5, 6):
        (tmp_path / f"shard_{i:05d}.jsonl").unlink()
    with pytest.raises(UserError, match="max_files = 7, and there are 3 files for training"):
        texts(", max_files = 7")
    with pytest.raises(UserError, match=r"validation names shard_00009\.jsonl, which is not there"):
        _ = Sources(
            with_documents(text, f'{{ {shards}, max_files = 2, validation = ["shard_00009.jsonl"] }}')
        ).validation_texts
    with pytest.raises(UserError, match="nothing to measure on"):
        _ = Sources(with_documents(text, f"{{ {shards}, max_files = 2, holdout = 0 }}")).validation_texts


def test_duplicated_documents_are_on_one_side_only(tmp_path, text):
    write_texts(tmp_path, "twice.jsonl", 100)
    path = tmp_path / "twice.jsonl"
    path.write_text(path.read_text() * 2)
    sources = Sources(with_documents(text, f'{{ source = "{path}", holdout = 0.2 }}'))
    (training,), (validation,) = sources.training_texts, sources.validation_texts
    sides = [{text for text in source.documents if source.keep(text)} for source in (training, validation)]
    assert not sides[0] & sides[1]
    assert 5 < len(sides[1]) < 40


def test_the_tokenizer_reads_every_source_by_its_weight(tmp_path, text):
    write_texts(tmp_path, "other.jsonl", 400)
    recipe = with_documents(
        text, f'[{{ source = "{tmp_path}/texts.jsonl" }}, {{ source = "{tmp_path}/other.jsonl", weight = 3 }}]'
    )
    recipe = dataclasses.replace(recipe, tokenizer=dataclasses.replace(recipe.tokenizer, max_chars=8000))
    read = list(Sources(recipe).tokenizer_texts())
    other = sum(len(text) for text in read if text.startswith("other"))
    assert sum(map(len, read)) == pytest.approx(8000, abs=400)
    assert other == pytest.approx(6000, abs=200)


def test_a_task_has_words_of_its_own(tmp_path, text):
    """The recipe's list, another file, and the world's common words."""
    (tmp_path / "own.txt").write_text("\n".join(f"word{letter}" for letter in "abcdefgh"))
    sources = Sources(Recipe.parse(text, "test"))
    lists = (None, str(tmp_path / "own.txt"), "world-common")
    tasks = [sources.task(TaskSpec(task="spelling", words=words)) for words in lists]
    for task, expected in zip(tasks, ("one", "wordc", "window"), strict=True):
        assert [expected in other.words for other in tasks] == [other is task for other in tasks]
    with pytest.raises(UserError, match=r"nowhere.txt: no such word list .* english, world, world-common"):
        sources.task(TaskSpec(task="letter-counting", words="nowhere.txt"))


def test_more_documents_of_the_world(tmp_path, text, monkeypatch):
    """As many as a recipe asks for; what they train beside stays."""
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    recipe = with_documents(
        text, '{ source = "hf://datasets/parrotlet/world-text/*", validation = ["shard_val.parquet"] }'
    )
    sources = Sources(dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, world_documents=300)))
    texts = (*sources.training_texts, *sources.validation_texts)
    assert [len(source.documents) for source in texts] == [300, 50]
    assert len(sources.task(TaskSpec(task="identity"))) == 3_200


def test_changed_validation_data_are_seen(tmp_path, text):
    """The losses before and after would be of different data: refused, or accepted and noted."""
    (tmp_path / "texts").mkdir()
    write_texts(tmp_path / "texts", "train.jsonl", 400)
    write_texts(tmp_path / "texts", "val.jsonl", 20)
    line = f'{{ source = "{tmp_path}/texts/*.jsonl", validation = ["val.jsonl"] }}'
    run = Run.begin(tmp_path / "run", with_documents(text, line))
    train_tokenizer(run)
    base = STAGES["base"]
    training = prepare(run, base)
    training.total = 4
    train(training)
    before = run.metrics("base").read()
    write_texts(tmp_path / "texts", "val.jsonl", 25)
    again = Run.open(run.folder)
    with pytest.raises(UserError, match=r"the data of base changed since step 4.*\n +validation: .*texts"):
        prepare(again, base)
    accepted = prepare(again, base, accept_data_change=True)
    assert accepted.data_changes[0]["changed"][-1] == "validation losses before and after it are of different data"
    train(accepted)
    lines = again.metrics("base").read()
    assert lines[:4] == before
    assert len(lines) == 12


@pytest.mark.parametrize("version", ["PIECES_VERSION", "IMPORT_VERSION"])
def test_another_way_to_read_the_same_files_is_another_fingerprint(tmp_path, text, monkeypatch, version):
    run = Run.begin(tmp_path / "run", Recipe.parse(text, "test"))
    train_tokenizer(run)
    stage = STAGES["base" if version == "IMPORT_VERSION" else "mid"]
    before = Sources(run.recipe).fingerprints(stage, run.tokenizer())
    monkeypatch.setattr(documents if version == "IMPORT_VERSION" else sources_module, version, 99)
    assert Sources(run.recipe).fingerprints(stage, run.tokenizer()) != before


def test_a_word_list_is_read_only_for_what_is_made_of_words(text):
    """It may have to be downloaded."""
    sources = Sources(Recipe.parse(text, "test", {"data.words": "nowhere.txt"}))
    assert len(sources.task(sources.recipe.mid.train[0]))
    with pytest.raises(UserError, match=r"nowhere\.txt: no such word list"):
        sources.task(TaskSpec(task="spelling"))
