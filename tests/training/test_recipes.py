"""The recipes that have a name: complete, sourced, and the paper's to the letter."""

import json

import pytest

import npresnet as nr
from npresnet.training import recipes


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_survive_json(name):
    recipe = recipes.get(name)
    assert recipes.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.description
    assert recipe.source


@pytest.mark.parametrize("name", recipes.names())
def test_sources_are_those_of_settings_in_use(name):
    recipe = recipes.get(name)
    named = [setting for names in recipe.sources for setting in names.split()]
    assert len(named) == len(set(named))
    assert set(named) <= set(recipe.settings()) - set(recipe.unused())


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_name_networks_and_data_that_exist(name):
    recipe = recipes.get(name)
    assert recipe.dataset in nr.data.names()
    assert recipe.model in nr.models.names()


def test_every_data_set_has_its_default_recipe():
    assert recipes.default_for("digits").name == "digits-quick"
    assert recipes.default_for("cifar10").name == "cifar10-quick"


def test_the_papers_recipe_is_the_papers():
    """He et al. 2016, arXiv 1512.03385, section 4.2."""
    paper = recipes.get("cifar10-paper")
    images = 50_000 - paper.validation
    assert images == 45_000
    steps = paper.steps_per_epoch(images)
    assert paper.batch_size == 128
    assert paper.total_steps(steps) == 64_000
    assert paper.fitted_to(images) == paper
    schedule = paper.make_schedule(steps)
    wanted = {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001}
    assert {step: schedule(step) for step in wanted} == pytest.approx(wanted)
    model = nr.models.create(paper.model, shortcut=paper.shortcut)
    optimizer = paper.make_optimizer(model)
    (group,) = optimizer.groups  # everything decays alike
    assert group["weight_decay"] == 1e-4
    assert group["momentum"] == 0.9
    assert not group["nesterov"]
    augment = paper.make_augmentation(3)
    assert (augment.padding, augment.flip) == (4, True)
    assert paper.normalization == "pixel"
    assert not (paper.label_smoothing or paper.ema_decay or paper.test_flip)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"digits-quick.*'nope'"):
        recipes.get("nope")
    with pytest.raises(ValueError, match=r"cifar10, digits.*'mnist'"):
        recipes.default_for("mnist")
