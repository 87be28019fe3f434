"""Settings are read as they are written, and what cannot be read is named."""

import pytest

from npresnet.training import recipes
from npresnet.training.setting_text import describe_value, read_setting


@pytest.mark.parametrize("name", recipes.names())
def test_settings_are_read_as_they_are_written(name):
    recipe = recipes.get(name)
    for setting, value in recipe.settings().items():
        if value not in (None, ()):
            text = f"{setting} = {describe_value(value)}"
            assert read_setting(text) == (setting, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "expected SETTING=VALUE with one of .*lr.*; got 'lr'"),
        ("colour=blue", "cutout.*; got 'colour=blue'"),
        ("sources=x", "got 'sources=x'"),
        ("lr=fast", "lr: expected a number, got 'fast'"),
        ("cutout=2.5", "cutout: expected a whole number, got '2.5'"),
        ("flip=perhaps", "flip: expected yes or no, got 'perhaps'"),
        ("milestones=1;2", "milestones: expected numbers and commas"),
        ("max_steps=none", "max_steps: expected a whole number"),
    ],
)
def test_settings_that_cannot_be_read_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_setting(text)
