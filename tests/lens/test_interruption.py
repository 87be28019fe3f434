"""Ctrl-C at any moment: a model and the package are put together again."""

import gc

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.shared.preserve_state import preserve_state
from tests.interrupts import ctrl_c, moments
from tests.lens.state import fingerprint


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


def test_a_model_is_left_as_it_was(rng):
    model = nr.nn.Sequential(nr.nn.BatchNorm2d(2), nr.nn.ReLU())
    x = rng.standard_normal((2, 2, 3, 3), dtype=np.float32)
    model(x)
    before, interrupts = fingerprint(model), 0

    def change_everything():
        with preserve_state(model):
            model(x + 1)
            model[0].weight.data += 1
            model[1].forward = np.abs

    for caught in moments(
        change_everything, ctrl_c, "preserve_state.py", "contextlib.py"
    ):
        interrupts += caught is not None
        del caught
        if fingerprint(model) != before:
            gc.collect()  # a block that was cut off as it began to end, ends now
        assert fingerprint(model) == before
    assert interrupts > 100


@pytest.mark.parametrize("name", ["cache_is_a_queue", "batch_norm_drops_variance_term"])
def test_no_bug_survives(name):
    from npresnet.lens.bugs.patching import original, places
    from npresnet.lens.bugs.registry import replacements

    right = {where: original(where) for where in replacements(name)}

    def let_it_live():
        with nr.lens.bugs.inject(name):
            pass

    def is_right():
        return all(
            vars(owner)[attribute] is function
            for where, function in right.items()
            for owner, attribute in places(where)
        )

    # Not at all moments: some are in a loop through all modules that are loaded.
    for _ in moments(let_it_live, ctrl_c, "contextlib.py"):
        if not is_right():
            gc.collect()
        assert is_right()
