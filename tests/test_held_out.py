"""What the built-in recipes are measured on is in none of what they train on."""

import dataclasses
import re

import pytest

from parrotlet.errors import UserError
from parrotlet.recipe import Recipe, built_in_recipes
from parrotlet.stages import STAGES
from parrotlet.train import Sources


def opened(name, real_data):
    """The recipe's data; of real datasets those that the folder has, whose validation shard has another name."""
    recipe = Recipe.load(name)
    if name == "tiny":
        return recipe, Sources(recipe)
    documents = dataclasses.replace(recipe.base.documents, validation=("shard_00004.parquet",), max_files=4)
    base = dataclasses.replace(recipe.base, documents=documents)
    data = dataclasses.replace(recipe.data, hub=str(real_data / "hub"))
    recipe = dataclasses.replace(recipe, base=base, data=data)
    return recipe, Sources(recipe)


def items(sources, specs):
    """The row of a file that each item stands in; of what is made from words, the word."""
    found = set()
    for spec in specs:
        task = sources.task(spec)
        for index in range(len(task)):
            where = task.where(index)
            made = re.fullmatch(r".* item \d+ \((\w+)\)", where)
            found.add(made[1] if made else (task.dataset, where))
    return found


def trained_on(recipe):
    return [spec for stage in STAGES for spec in recipe.stage(stage).train]


def measured_on_the_way(recipe):
    stages = [recipe.stage(stage) for stage in STAGES]
    return [spec for stage in stages for spec in (*stage.validation, *stage.tasks)]


def there(sources, specs):
    """Those whose files are there: the folder of real data has no test split of MMLU."""
    for spec in specs:
        try:
            sources.task(spec)
        except UserError:
            assert (spec.task, spec.split) == ("mmlu", "test")
            continue
        yield spec


@pytest.mark.parametrize(
    "name", [name if name == "tiny" else pytest.param(name, marks=pytest.mark.real_data) for name in built_in_recipes()]
)
def test_nothing_that_is_measured_on_is_trained_on(name, request):
    recipe, sources = opened(name, None if name == "tiny" else request.getfixturevalue("real_data"))
    trained = items(sources, trained_on(recipe))
    on_the_way = items(sources, measured_on_the_way(recipe))
    at_the_end = items(sources, there(sources, recipe.eval.tasks))
    assert min(map(len, (trained, on_the_way, at_the_end))) > 100
    assert not trained & on_the_way
    assert not trained & at_the_end
    assert not on_the_way & at_the_end
    texts, validation = (
        {(source.documents.name, file.name) for source in some for file in source.documents.sources}
        for some in (sources.training_texts, sources.validation_texts)
    )
    assert texts
    assert validation
    assert not texts & validation


def test_a_recipe_that_trained_on_its_test_would_be_seen():
    recipe, sources = opened("tiny", None)
    leaked = [spec for spec in recipe.eval.tasks if spec.task in ("gsm8k", "spelling")]
    for spec in leaked:
        assert items(sources, [*trained_on(recipe), spec]) & items(sources, recipe.eval.tasks)
