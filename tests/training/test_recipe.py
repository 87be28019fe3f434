"""A recipe resolves to schedules, augmentation and names for its settings."""

import json

import pytest

from npresnet.optim import Constant, Cosine, OneCycle, StepDecay
from npresnet.training import recipe as recipe_module
from npresnet.training import recipes
from npresnet.training.recipe import Recipe

QUICK = recipes.get("digits-quick")


def test_schedules_count_steps_of_all_epochs():
    recipe = QUICK.changed(epochs=10, lr=0.5)
    one_cycle = recipe.make_schedule(20)
    assert one_cycle == OneCycle(0.5, 200, peak_at=0.3)
    steps = recipe.changed(schedule="steps", milestones=(5, 7.5)).make_schedule(20)
    assert steps == StepDecay(0.5, (100, 150))
    cosine = recipe.changed(schedule="cosine", warmup_epochs=0.5).make_schedule(20)
    assert cosine == Cosine(0.5, 200, warmup_steps=10)
    assert recipe.changed(schedule="constant").make_schedule(20) == Constant(0.5)
    assert recipe.changed(epochs=1).make_schedule(1)(0) == 0.5


def test_milestones_may_be_counted_in_steps():
    recipe = QUICK.changed(schedule="steps", milestone_steps=(7, 13), lr=0.5)
    assert recipe.make_schedule(20) == StepDecay(0.5, (7, 13))
    assert recipe.make_schedule(999) == StepDecay(0.5, (7, 13))


def test_schedules_end_with_the_last_step_where_steps_are_limited():
    recipe = QUICK.changed(epochs=10, max_steps=150)
    assert recipe.total_steps(20) == 150
    assert recipe.total_steps(10) == 100
    assert recipe.make_schedule(20) == OneCycle(0.1, 150)
    assert recipe.changed(schedule="cosine").make_schedule(20) == Cosine(0.1, 150)


def test_a_warm_up_is_cut_to_the_length_of_the_run():
    recipe = QUICK.changed(schedule="cosine", warmup_epochs=5.0, epochs=1)
    assert recipe.make_schedule(20) == Cosine(0.1, 20, warmup_steps=19)


def test_epochs_without_a_step_are_dropped():
    recipe = QUICK.changed(batch_size=128, max_steps=64_000, epochs=300)
    assert recipe.fitted_to(45_000).epochs == 182  # 181 * 352 < 64,000 <= 182 * 352
    assert recipe.fitted_to(50_000).epochs == 164
    assert recipe.changed(epochs=5).fitted_to(45_000).epochs == 5
    assert QUICK.fitted_to(100) == QUICK


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"lr": float("nan")}, "lr: expected a finite number above 0, got nan"),
        ({"lr": "0.1"}, "lr"),
        ({"momentum": 1.0}, "momentum: expected a number from 0 to below 1"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"max_steps": 0}, "max_steps: .*, or None"),
        ({"schedule": "zigzag"}, "schedule.*one-cycle.*zigzag"),
        ({"peak_at": 1}, "peak_at"),
        ({"start_lr": float("inf")}, "start_lr"),
        ({"milestones": (3, 2)}, "milestones: expected ascending numbers"),
        ({"milestone_steps": (1.5,)}, "milestone_steps"),
        ({"gamma": 0}, "gamma"),
        ({"normalization": "none"}, "normalization: expected one of channel, pixel"),
        ({"last_batch": "maybe"}, "last_batch: expected one of join, drop, keep"),
        ({"crop_padding": -1}, "crop_padding"),
        ({"crop_fill": "pink"}, "crop_fill"),
        ({"flip": 1}, "flip: expected True or False, got 1"),
        ({"cutout": -8}, "cutout"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"average_epochs": -1}, "average_epochs"),
        ({"validation": 0.1}, "validation"),
        ({"milestones": (1,), "milestone_steps": (9,)}, "milestones: .* got both"),
        ({"ema_decay": 0.9, "average_epochs": 2}, "ema_decay: .* got both"),
        ({"momentum": 0}, "nesterov: expected a momentum above 0"),
    ],
)
def test_impossible_settings_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        QUICK.changed(**changes)


def test_augmentation_is_what_the_settings_say(monkeypatch):
    made = []
    monkeypatch.setattr(
        recipe_module, "RandomCropFlip", lambda *args, **options: made.append(options)
    )
    recipe = QUICK.changed(crop_padding=2, flip=True)
    recipe.make_augmentation(3)
    # Cutout alone is a reason to augment, and is passed on where there is any.
    QUICK.changed(crop_padding=0, cutout=5).make_augmentation(3)
    assert made == [{}, {"cutout": 5}]
    assert QUICK.changed(crop_padding=0).make_augmentation(3) is None


def test_crops_are_filled_with_black_or_with_the_mean_of_the_data():
    assert QUICK.make_augmentation(3).fill == (0, 0, 0)
    assert QUICK.changed(crop_fill="mean").make_augmentation(3).fill is None


def test_what_was_changed_does_not_keep_the_source():
    recipe = QUICK.changed(lr=0.3, momentum=0.8, epochs=QUICK.epochs)
    assert recipe.source_of("lr") == "set for this run"
    assert recipe.source_of("momentum") == "set for this run"
    # Those that stand beside it keep theirs, and so does what stayed the same.
    for name in ("model", "weight_decay", "peak_at", "epochs"):
        assert recipe.source_of(name) == QUICK.source_of(name)
    rebuilt = Recipe.from_dict(recipe.to_dict()).sourced_from(QUICK)
    for name in recipe.settings():
        assert rebuilt.source_of(name) == recipe.source_of(name)


def test_settings_that_change_nothing_are_known():
    unused = set(QUICK.unused())
    assert {"milestones", "gamma", "warmup_epochs", "cutout", "validation"} <= unused
    assert not {"lr", "peak_at", "start_lr", "final_lr", "flip", "crop_fill"} & unused
    steps = QUICK.changed(schedule="steps", milestones=(3,), crop_padding=0)
    assert {"peak_at", "final_lr", "milestone_steps", "crop_fill"} <= set(
        steps.unused()
    )
    assert not {"gamma", "milestones"} & set(steps.unused())


def test_a_recipe_survives_json():
    recipe = QUICK.changed(schedule="steps", milestone_steps=(1, 2), max_steps=9)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_dicts_that_are_no_recipe_are_refused():
    with pytest.raises(ValueError, match="unknown settings colour"):
        Recipe.from_dict({"colour": 1})
    with pytest.raises(ValueError, match="recipe: "):
        Recipe.from_dict({"name": "half"})
