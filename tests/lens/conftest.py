"""A network that has learned something, for what only such a one can show."""

from dataclasses import replace

import pytest

import npresnet as nr
from npresnet.training import recipes
from tests.training.pictures import not_drawn


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A resnet8 that knows the digits, in evaluation mode, and test images."""
    train, test = nr.data.digits()
    model = nr.models.resnet8()
    recipe = replace(recipes.get("digits-quick"), epochs=3)
    out = tmp_path_factory.mktemp("lens") / "run"
    with not_drawn():
        nr.training.fit(model, train, test, recipe=recipe, out=out, quiet=True)
    x = nr.data.normalize(test.images[:32], train.mean, train.std)
    return model.eval(), x, test.labels[:32]
