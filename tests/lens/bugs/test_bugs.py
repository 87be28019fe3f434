"""Injecting: one thing changes, everywhere, and nothing stays changed."""

import inspect
import sys
from types import ModuleType

import numpy as np
import pytest

import npresnet as nr
from npresnet.functional import relu_backward, relu_forward
from npresnet.lens import bugs
from npresnet.lens.bugs.patching import places
from npresnet.lens.bugs.registry import replacements

NAMES = bugs.names()


def package_state():
    """List every function that a module or a class of the package holds, by id."""
    state = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] not in ("npresnet", "tests"):
            continue
        for name, value in list(vars(module).items()):
            state[module_name, name] = id(value)
            if inspect.isclass(value) and value.__module__.startswith("npresnet"):
                for attribute, member in list(vars(value).items()):
                    state[value.__qualname__, attribute] = id(member)
    return state


def relu_gradient_at_zero():
    x = np.zeros((2, 3))
    _, cache = relu_forward(x)
    return relu_backward(np.ones_like(x), cache).max()


def test_there_are_at_least_forty_bugs_and_no_two_alike():
    assert len(NAMES) >= 40
    assert len(set(NAMES)) == len(NAMES)
    described = [bugs.describe(name) for name in NAMES]
    assert len({bug.wrong for bug in described}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_bug_is_described_in_full(name):
    bug = bugs.describe(name)
    assert bug.name == name
    assert bug.wrong.endswith(".")
    for text in (bug.wrong, bug.seen_in, bug.symptom):
        assert len(text) > 10 or text in ("RESNET_NUMPY", "labml", "ASGDLO")
    with pytest.raises(AttributeError):
        bug.name = "another"


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_version_can_be_called_like_the_right_one(name):
    # Otherwise tests would catch a wrong signature instead of the mistake.
    for where, wrong in replacements(name).items():
        for owner, attribute in places(where):
            right = inspect.signature(vars(owner)[attribute]).parameters
            mine = inspect.signature(wrong).parameters
            open_ended = any(p.kind is p.VAR_KEYWORD for p in mine.values())
            named = [n for n, p in mine.items() if p.kind is not p.VAR_KEYWORD]
            if open_ended:
                assert named == list(right)[: len(named)]
            else:
                assert named == list(right)
            for parameter in named:
                assert mine[parameter].default == right[parameter].default
                assert mine[parameter].kind == right[parameter].kind


@pytest.mark.parametrize("name", NAMES)
def test_a_bug_is_there_within_its_block(name):
    with bugs.inject(name):
        for where, wrong in replacements(name).items():
            for owner, attribute in places(where):
                assert vars(owner)[attribute] is wrong


def test_every_bug_is_gone_behind_its_block():
    for name in NAMES:
        for where in replacements(name):
            places(where)  # loads what will be changed
    before = package_state()
    for name in NAMES:
        with bugs.inject(name):
            pass
        after = package_state()
        assert {key for key in before if before[key] != after[key]} == set(), name


@pytest.mark.parametrize("name", ["numba", "reference"])
def test_a_bug_in_an_operation_is_in_both_backends(name):
    with nr.using_backend(name):
        assert relu_gradient_at_zero() == 0
        with bugs.inject("relu_gradient_one_at_zero"):
            assert relu_gradient_at_zero() == 1
        assert relu_gradient_at_zero() == 0


def test_a_function_is_replaced_under_every_name_it_was_imported_by():
    from npresnet import functional, nn
    from npresnet.functional import norm

    right = norm.batch_norm_backward
    with bugs.inject("batch_norm_drops_variance_term"):
        wrong = norm.batch_norm_backward
        assert wrong is not right
        assert functional.batch_norm_backward is wrong
        assert nn.norm.batch_norm_backward is wrong
    assert functional.batch_norm_backward is nn.norm.batch_norm_backward is right


def test_a_module_first_imported_within_the_block_is_right_behind_it(monkeypatch):
    right = nr.functional.batch_norm_backward
    late = ModuleType("late")
    with bugs.inject("batch_norm_drops_mean_term"):
        monkeypatch.setitem(sys.modules, "late", late)
        exec("from npresnet.functional import batch_norm_backward", vars(late))
        assert late.batch_norm_backward is not right
    assert late.batch_norm_backward is right


def test_an_exception_takes_the_bug_away_too():
    before = package_state()
    with pytest.raises(ZeroDivisionError), bugs.inject("relu_gradient_one_at_zero"):
        raise ZeroDivisionError
    assert package_state() == before


def test_bugs_nest():
    assert relu_gradient_at_zero() == 0  # kernels are loaded with the first call
    before = package_state()
    with bugs.inject("relu_gradient_one_at_zero"):
        with bugs.inject("fork_gradient_averaged"):
            assert relu_gradient_at_zero() == 1
            assert nr.models.blocks.ResidualBlock.backward.__name__ == (
                "fork_gradient_averaged"
            )
        assert relu_gradient_at_zero() == 1
        with bugs.inject("relu_masked_by_gradient"):  # the same place: inner one holds
            x = np.ones(3)
            _, cache = relu_forward(x)
            assert relu_backward(-x, cache).tolist() == [0, 0, 0]
        assert relu_gradient_at_zero() == 1
    assert package_state() == before


def test_the_same_bug_twice_is_gone_when_both_blocks_are_left():
    before = package_state()
    with bugs.inject("eval_mode_forgotten"), bugs.inject("eval_mode_forgotten"):
        pass
    with bugs.inject("fork_gradient_averaged"), bugs.inject("fork_gradient_averaged"):
        pass
    assert package_state() == before


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ValueError, match="col2im_overwrites"):
        bugs.describe("col2im_overwrite")
    with pytest.raises(ValueError, match=f"there are {len(NAMES)}"), bugs.inject("?"):
        pass
