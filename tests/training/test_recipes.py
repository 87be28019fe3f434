"""Recipes resolve to schedules and settings, and survive JSON."""

import json

import pytest

from npresnet.optim import Constant, Cosine, OneCycle, StepDecay
from npresnet.training import recipes


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_survive_json(name):
    recipe = recipes.get(name)
    assert recipes.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.description
    assert recipe.source


def test_every_data_set_has_its_default_recipe():
    assert recipes.default_for("digits").name == "digits-quick"
    assert recipes.default_for("cifar10").name == "cifar10-short"


def test_schedules_count_steps_of_all_epochs():
    recipe = recipes.get("digits-quick").changed(epochs=10, lr=0.5)
    one_cycle = recipe.make_schedule(20)
    assert one_cycle == OneCycle(0.5, 200, peak_at=0.3)
    steps = recipe.changed(schedule="steps", milestones=(5, 7.5)).make_schedule(20)
    assert steps == StepDecay(0.5, (100, 150))
    cosine = recipe.changed(schedule="cosine", warmup_epochs=0.5).make_schedule(20)
    assert cosine == Cosine(0.5, 200, warmup_steps=10)
    assert recipe.changed(schedule="constant").make_schedule(20) == Constant(0.5)
    assert recipe.changed(epochs=1).make_schedule(1)(0) == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"lr": float("nan")}, "lr"),
        ({"schedule": "zigzag"}, "schedule.*one-cycle.*zigzag"),
        ({"crop_fill": "pink"}, "crop_fill"),
    ],
)
def test_impossible_settings_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        recipes.get("digits-quick").changed(**changes)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"digits-quick.*'nope'"):
        recipes.get("nope")
    with pytest.raises(ValueError, match=r"cifar10, digits.*'mnist'"):
        recipes.default_for("mnist")
    with pytest.raises(ValueError, match="unknown settings colour"):
        recipes.Recipe.from_dict({"colour": 1})
    with pytest.raises(ValueError, match="recipe: "):
        recipes.Recipe.from_dict({"name": "half"})
