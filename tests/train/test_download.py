"""Getting what a recipe reads, and no more."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from hub_server import serving
from parrotlet.errors import UserError
from parrotlet.evals import core_bundle
from parrotlet.hub.pinned import CORE_BUNDLE
from parrotlet.recipe import Recipe
from parrotlet.train import Sources, download_recipe
from parrotlet.train.download import check_data
from small_bundle import write_small_bundle
from small_run import write_small_run

SHARDS = 20


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A recipe whose texts are on a Hub; its address is that of a local server."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    dataset = tmp_path / "hub" / "datasets" / "org" / "name"
    dataset.mkdir(parents=True)
    for i in range(SHARDS):
        lines = (f'{{"text": "shard {i} says {j} words and some more of them"}}\n' for j in range(100))
        (dataset / f"shard_{i:05d}.jsonl").write_text("".join(lines))
    recipe = write_small_run(tmp_path).replace("vocab_size = 300", "vocab_size = 300\nmax_chars = 9000")
    line = next(line for line in recipe.splitlines() if line.startswith("documents = "))
    validation = f"shard_{SHARDS - 1:05d}.jsonl"
    hub = f'documents = {{ source = "hf://datasets/org/name/*.jsonl", validation = ["{validation}"] }}'
    with serving(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield recipe.replace(line, hub)


@pytest.fixture
def with_core(tmp_path, monkeypatch):
    """A recipe that measures CORE, and says no more about it; what is fetched for it."""
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "parrotlet"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    bundle, archive = write_small_bundle(tmp_path / "published" / "eval_bundle"), tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in filter(Path.is_file, bundle.rglob("*")):
            file.write(path, path.relative_to(bundle.parent))
    return Recipe.parse(write_small_run(tmp_path), "test", {"base.core_every": 8}), archive


@pytest.mark.parametrize("get", [download_recipe, check_data])
@pytest.mark.parametrize("chosen", [None, "published"])
def test_the_bundle_of_core_is_fetched_where_it_is_measured(with_core, monkeypatch, get, chosen):
    recipe, archive = with_core
    if chosen:
        recipe = replace(recipe, data=replace(recipe.data, core=chosen))
    fetched = []
    monkeypatch.setattr(core_bundle, "fetch_pinned", lambda file: fetched.append(file) or archive)
    get(Sources(recipe))
    assert fetched == [CORE_BUNDLE]
    assert [task.name for task in Sources(recipe).core_tasks()[0]] == ["a"]
    get(Sources(replace(recipe, base=replace(recipe.base, core_every=0))))
    assert fetched == [CORE_BUNDLE]


def test_without_core_a_download_fails_and_a_training_goes_on(with_core, capsys):
    recipe, _ = with_core
    check_data(Sources(recipe))
    told = capsys.readouterr().err
    assert "core       is not measured: eval_bundle.zip is not in the cache, and HF_HUB_OFFLINE is set" in told
    with pytest.raises(UserError, match=r"eval_bundle\.zip is not in the cache"):
        download_recipe(Sources(recipe))


def fetched(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("snapshots/*/*.jsonl"))


def test_only_what_the_horizon_needs_is_fetched(tmp_path, text):
    download_recipe(Sources(Recipe.parse(text, "test")))
    names = [f"shard_{i:05d}.jsonl" for i in range(SHARDS)]
    assert fetched(tmp_path) == [*names[:8], names[-1]]
    longer = Recipe.parse(text.replace("num_iterations = 12", "num_iterations = 50"), "test")
    download_recipe(Sources(longer))
    assert fetched(tmp_path) == [*names[:16], names[-1]]


def test_training_begins_when_the_first_files_are_there(tmp_path, text):
    sources = Sources(Recipe.parse(text, "test"))
    (source,) = sources.training_texts
    assert source.documents[0] == "shard 0 says 0 words and some more of them"
    assert len(fetched(tmp_path)) == 8


def test_what_cannot_be_had_is_said(tmp_path, text):
    with pytest.raises(UserError, match=r"no file matches 'none\*'"):
        download_recipe(Sources(Recipe.parse(text.replace("name/*.jsonl", "name/none*"), "test")))
