"""The verdicts of docs/claims.md, on networks and batches small enough for a test."""

import doctest
from pathlib import Path

import numpy as np
import pytest

import npresnet as nr
from benchmarks import claims
from benchmarks.claims import Batch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "claims.md"


@pytest.fixture(scope="module")
def batch():
    train, _ = nr.data.digits()
    x = nr.data.normalize(train.images[:8], train.mean, train.std)
    return Batch(x, train.labels[:8])


def fresh(depth, kind, **options):
    return nr.models.cifar_resnet(depth, shortcut=claims.KINDS[kind], **options)


def growth(model, batch):
    return claims.from_the_last_block(model, batch, claims.through_both)[-1]


def test_the_session_runs_as_shown():
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted > 5
    assert result.failed == 0


@pytest.mark.parametrize("kind", claims.KINDS)
def test_with_batch_norm_gradients_do_not_vanish(kind, batch):
    assert growth(fresh(32, kind), batch) > 1


def test_without_it_they_vanish_where_weights_are_small_and_no_shortcut_is(batch):
    bare = {
        kind: growth(claims.without_batch_norm(fresh(32, kind), "PyTorch"), batch)
        for kind in claims.KINDS
    }
    assert bare["plain"] < 1e-8
    assert bare["residual"] > 0.1


def test_without_it_large_weights_make_gradients_explode_along_shortcuts(batch):
    bare = {
        kind: growth(claims.without_batch_norm(fresh(32, kind), "He"), batch)
        for kind in claims.KINDS
    }
    assert bare["residual"] > 10 * bare["plain"]


def test_batch_norm_is_taken_out_everywhere():
    bare = claims.without_batch_norm(nr.models.resnet8(shortcut="B"))
    assert not any(isinstance(part, nr.nn.BatchNorm2d) for part in bare.modules())
    names = {name.split(".")[-2] for name, _ in bare.named_parameters()}
    assert names == {"conv1", "conv2", "fc", "0"}


def test_shortcuts_alone_hand_on_less_than_they_get(batch):
    norms = claims.from_the_last_block(
        fresh(20, "residual"), batch, claims.through_the_shortcut
    )
    assert norms[0] == 1
    assert all(np.diff(norms) < 0)


def test_an_average_would_halve_the_gradient_at_every_block(batch):
    model = fresh(14, "residual")
    right = nr.lens.ledger(model, *batch)
    assert max(row.identity_error for row in right.rows) < 1e-6
    with nr.lens.bugs.inject("fork_gradient_averaged"):
        wrong = nr.lens.ledger(model, *batch)
    assert wrong.grad_images_norm / right.grad_images_norm == pytest.approx(2**-6)


def test_the_gradient_of_a_deep_fresh_network_takes_short_paths(batch):
    found = nr.lens.spectrum(fresh(56, "residual"), *batch)
    assert found.mean_branches < found.mean_branches_of_paths - 2
    assert found.shortcut_share < 0.05


def test_with_zero_gammas_the_branches_wait_for_their_last_batch_norm(batch):
    model = claims.zero_last_gammas(fresh(14, "residual"))
    blocks = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]
    waiting = ["conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight"]
    assert sorted(claims.without_gradient(model, batch)) == sorted(
        f"{block}.{name}" for block in blocks for name in waiting
    )
    assert nr.lens.spectrum(model, *batch).shortcut_share == pytest.approx(1)
