"""The default recipe does what the README says of it."""

import npresnet as nr


def test_the_default_recipe_gets_at_least_98_percent_of_the_digits(tmp_path):
    train, test = nr.data.digits()
    model = nr.models.resnet8(num_classes=10, seed=0)
    run = nr.training.fit(model, train, test, out=tmp_path / "run", quiet=True)
    assert run.recipe.name == "digits-quick"
    assert run.test.total == 360
    assert run.test.correct >= 353
