"""Lesions against networks that were built without the block, or in that order."""

import math
from itertools import combinations

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.lesion.chain import taken_apart
from npresnet.lens.lesion.measure import lesion
from npresnet.models import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    ResNet,
    Stem,
    cifar_resnet,
)
from tests.lens.state import left_as_it_was
from tests.oracle.compare import normal
from tests.oracle.networks import random_state

L14 = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]


def awake(model, rng, training=False):
    """Give a model a state in which every number counts."""
    model.load_state_dict(random_state(model, rng))
    return model.train(training)


def make(name, rng, *, training=False, **options):
    return awake(nr.models.create(name, **options), rng, training)


def images(rng, N=5, H=9, W=8, classes=10):
    x = rng.standard_normal((N, 3, H, W), dtype=np.float32)
    return x, rng.integers(0, classes, N)


def renamed(state, rename):
    """Rename ``layerS.B`` in a state dict; entries renamed to None are left out."""
    result = {}
    for name, value in state.items():
        stage, _, rest = name.partition(".")
        block, _, tail = rest.partition(".")
        path = f"{stage}.{block}"
        if path in rename:
            if rename[path] is None:
                continue
            name = f"{rename[path]}.{tail}"
        result[name] = value
    return result


def shorter(model, stage, place):
    """Rename a stage's blocks to what they are called with one of them missing."""
    blocks = len(getattr(model, stage))
    numbers = [i for i in range(blocks) if i != place]
    return {f"{stage}.{place}": None} | {
        f"{stage}.{old}": f"{stage}.{new}" for new, old in enumerate(numbers)
    }


def logits_of(model, x, plan):
    with taken_apart(model, x) as network:
        return network.head(network.run(plan, network.stem(x)))


def mean_loss(logits, y):
    loss, _ = nr.functional.cross_entropy_forward(logits.astype(np.float64), y)
    return loss


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_a_network_with_a_block_deleted_is_the_one_built_without(rng, training):
    model = awake(ResNet(Bottleneck, (1, 3, 1, 1), 7), rng, training)
    x, y = images(rng, N=3, H=12, W=14, classes=7)
    other = ResNet(Bottleneck, (1, 2, 1, 1), 7)
    other.load_state_dict(renamed(model.state_dict(), shorter(model, "layer2", 1)))
    with nr.no_grad():
        expected = other.train(training)(x)

    np.testing.assert_array_equal(logits_of(model, x, [0, 1, ~2, 3, 4, 5]), expected)
    result = lesion(model, x, y, draws=0)
    row = result.rows[2]
    assert (row.name, row.stays) == ("layer2.1", "identity")
    assert row.loss == mean_loss(expected, y)
    assert row.accuracy == np.mean(expected.argmax(1) == y)
    assert row.change == row.accuracy - result.accuracy
    assert not result.removals
    assert not result.reorderings


def uneven(blocks, shortcut):
    """Make a network of the CIFAR family whose stages differ in length."""
    return ResNet(
        PlainBlock if shortcut is None else BasicBlock,
        blocks,
        10,
        widths=(16, 32, 64),
        stem=Stem(16, kernel_size=3, stride=1, pool=False),
        shortcut=shortcut or "A",
    )


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("shortcut", ["A", "B", None], ids=["A", "B", "plain"])
def test_it_is_so_in_the_cifar_family_and_its_plain_twins(
    backend, rng, shortcut, training
):
    model = awake(cifar_resnet(20, shortcut=shortcut), rng, training)
    x, y = images(rng)
    losses = {row.name: row.loss for row in lesion(model, x, y, draws=0).rows}
    for name, blocks in {
        "layer1.1": (2, 3, 3),
        "layer1.2": (2, 3, 3),
        "layer2.1": (3, 2, 3),
        "layer3.2": (3, 3, 2),
    }.items():
        stage, _, place = name.partition(".")
        other = uneven(blocks, shortcut)
        state = renamed(model.state_dict(), shorter(model, stage, int(place)))
        other.load_state_dict(state)
        with nr.no_grad():
            expected = other.train(training)(x)
        assert losses[name] == mean_loss(expected, y), name


@pytest.mark.parametrize(
    ("name", "options", "stays"),
    [
        ("resnet14", {"shortcut": "A"}, "zero padding"),
        ("resnet14", {"shortcut": "B"}, "projection"),
        ("plain14", {}, "zero padding"),
    ],
    ids=["A", "B", "plain"],
)
def test_where_the_shape_changes_the_shortcut_stays(rng, name, options, stays):
    model = make(name, rng, **options)
    x, y = images(rng)
    with nr.no_grad():
        features = model.relu(model.bn1(model.conv1(x)))
        features = model.layer1(features)
        if stays == "projection":
            features = np.maximum(model.layer2[0].downsample(features), 0)
        else:  # every other pixel, eight channels of zeros on both sides
            padded = np.zeros((5, 32, 5, 4), np.float32)
            padded[:, 8:24] = features[:, :, ::2, ::2]
            features = padded
        features = model.layer3(model.layer2[1](features))
        expected = model.fc(model.avgpool(features)[:, :, 0, 0])
    result = lesion(model, x, y, draws=0)
    assert [row.stays for row in result.rows][2] == stays
    np.testing.assert_allclose(
        logits_of(model, x, [0, 1, ~2, 3, 4, 5]), expected, rtol=1e-5, atol=1e-5
    )
    assert result.rows[2].loss == pytest.approx(mean_loss(expected, y), rel=1e-5)


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_a_swap_is_a_network_with_weights_in_swapped_places(backend, rng, name):
    model = make(name, rng)
    x, y = images(rng)
    result = lesion(model, x, y, draws=0)
    assert [row.swapped for row in result.swaps] == [
        ("layer1.0/layer1.1",),
        ("layer1.0/layer1.2",),
        ("layer1.1/layer1.2",),
        ("layer2.1/layer2.2",),  # the first one changes the shape
        ("layer3.1/layer3.2",),
    ]
    for row in result.swaps:
        one, two = row.swapped[0].split("/")
        other = nr.models.create(name).eval()
        other.load_state_dict(renamed(model.state_dict(), {one: two, two: one}))
        with nr.no_grad():
            expected = other(x)
        assert row.loss == mean_loss(expected, y), row.swapped
        apart = int(two[-1]) - int(one[-1])
        assert row.kendall_tau == pytest.approx(1 - 2 * (2 * apart - 1) / 36)


def test_random_orders_are_swaps_one_after_the_other(rng):
    model = make("resnet20", rng)
    x, y = images(rng)
    result = lesion(model, x, y, draws=3, seed=5)
    assert [len(row.swapped) for row in result.reorderings] == [2] * 3 + [4] * 3
    for row in result.reorderings:
        state, order = model.state_dict(), list(range(9))
        for pair in row.swapped:
            one, two = pair.split("/")
            state = renamed(state, {one: two, two: one})
            i, j = (3 * int(p[5]) - 3 + int(p[7]) for p in (one, two))
            order[i], order[j] = order[j], order[i]
        other = nr.models.resnet20().eval()
        other.load_state_dict(state)
        with nr.no_grad():
            assert row.loss == mean_loss(other(x), y)
        later = sum(a > b for a, b in combinations(order, 2))
        assert row.kendall_tau == pytest.approx(1 - 2 * later / 36)
        assert row.kendall_tau < 1  # an order that is none is drawn again


@pytest.mark.parametrize("name", ["resnet14", "plain14"])
def test_several_deleted_at_once_are_single_deletions_composed(rng, name):
    """Blocks without branches are built into a network one by one, from outside."""
    model = make(name, rng)
    x, y = images(rng)
    result = lesion(model, x, y, removals=[1, 2, 5, 6], draws=100)
    losses = {}
    with nr.no_grad():
        for places in (c for k in (1, 2, 5, 6) for c in combinations(range(6), k)):
            features = model.relu(model.bn1(model.conv1(x)))
            for place, path in enumerate(L14):
                block = getattr(model, path[:6])[int(path[7])]
                if place not in places:
                    features = block(features)
                elif place in (2, 4):
                    channels = features.shape[1]
                    features = np.pad(
                        features[:, :, ::2, ::2],
                        ((0, 0), (channels // 2, channels // 2), (0, 0), (0, 0)),
                    )
            losses[places] = mean_loss(model.fc(model.avgpool(features)[:, :, 0, 0]), y)
    for row in result.removals:
        expected = [v for places, v in losses.items() if len(places) == row.removed]
        assert row.draws == len(expected) == math.comb(6, row.removed)
        assert row.loss == pytest.approx(np.mean(expected), rel=1e-6)
        assert row.loss_low == pytest.approx(min(expected), rel=1e-6)
        assert row.loss_high == pytest.approx(max(expected), rel=1e-6)
        assert row.accuracy_low - 1e-9 <= row.accuracy <= row.accuracy_high + 1e-9
    single = [row.loss for row in result.rows]
    assert result.removals[0].loss == pytest.approx(np.mean(single))


def test_sets_and_orders_follow_from_the_seed_alone(rng):
    model = make("resnet20", rng)
    x, y = images(rng, 2)

    def draw(**options):
        result = lesion(model, x, y, **{"removals": [2, 4], "draws": 2, **options})
        return result.removals, result.reorderings

    assert draw() == draw()
    assert draw(seed=1)[0] != draw()[0]
    assert draw(seed=1)[1] != draw()[1]
    assert draw(removals=[4])[0][0] == draw()[0][1]  # whatever else is drawn


@pytest.mark.parametrize("name", ["resnet20", "plain8"])
def test_batches_make_no_difference_in_evaluation_mode(rng, name):
    model = make(name, rng)
    x, y = images(rng, 7)
    one = lesion(model, x, y, removals=[2], draws=2)
    two = lesion(model, x, y, removals=[2], draws=2, batch_size=3)
    assert one.accuracy == two.accuracy
    assert [row.accuracy for row in one.rows] == [row.accuracy for row in two.rows]
    assert [row.loss for row in two.swaps] == pytest.approx(
        [row.loss for row in one.swaps], rel=1e-5
    )
    with nr.no_grad():
        logits = model(x)
    assert one.loss == mean_loss(logits, y)
    assert one.accuracy == np.mean(logits.argmax(1) == y)
    assert one.chance == np.bincount(y).max() / 7


def test_defaults_go_up_to_all_blocks(rng):
    model = make("resnet32", rng)
    result = lesion(model, *images(rng, 1, 4, 4), draws=2)
    assert [row.removed for row in result.removals] == [
        1,
        3,
        4,
        6,
        7,
        9,
        10,
        12,
        13,
        15,
    ]
    assert result.removals[-1].draws == 1  # there is only one such set
    assert {len(row.swapped) for row in result.reorderings} == {2, 4, 8}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet14", "plain14"])
def test_the_model_is_left_as_it_was(rng, name, training):
    model = make(name, rng, training=training)
    x, y = images(rng)
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(x), y)
    with left_as_it_was(model):
        lesion(model, x, y)
    model.backward(criterion.backward())
    with left_as_it_was(model):
        lesion(model, x, y)


def test_the_model_is_left_as_it_was_when_it_is_stopped(rng):
    model = make("resnet14", rng, training=True)
    told = []

    def stop(done, total):
        told.append((done, total))
        if done == 9:
            raise KeyboardInterrupt

    with left_as_it_was(model), pytest.raises(KeyboardInterrupt):
        lesion(model, *images(rng), removals=[6], draws=1, batch_size=4, progress=stop)
    # the whole, six deletions, three swaps, none left; in two batches
    assert told[-1] == (9, 2 * (1 + 6 + 1 + 1))


def test_a_network_that_cannot_be_cut_is_refused(rng):
    x, y = images(rng)
    model = make("resnet14", rng)
    model.layer2 = nr.nn.Sequential(*model.layer2, nr.nn.AvgPool2d(1))
    with left_as_it_was(model), pytest.raises(ValueError, match="stands before layer3"):
        lesion(model, x, y)
    model = make("resnet14", rng)
    model.layer1 = nr.nn.Sequential(model.layer1[0], model.layer1[0])
    with left_as_it_was(model), pytest.raises(ValueError, match="called once"):
        lesion(model, x, y)

    class Headstrong(BasicBlock):
        def forward(self, x):
            return self.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))) + x)

    model = make("resnet14", rng)
    model.layer1 = nr.nn.Sequential(model.layer1[0], Headstrong(16, 16).eval())
    with left_as_it_was(model), pytest.raises(ValueError, match=r"layer1\.1.*branch"):
        lesion(model, x, y)
    with pytest.raises(ValueError, match="residual blocks"):
        lesion(nr.inference(make("resnet8", rng)), x, y)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"removals": [7]}, ValueError, "removals: expected at most the 6 blocks"),
        ({"removals": [0]}, ValueError, "removals: expected 1 or more, got 0"),
        ({"removals": [1.5]}, TypeError, "removals: expected an integer, got 1.5"),
        ({"draws": -1}, ValueError, "draws"),
        ({"seed": -1}, ValueError, "seed"),
        ({"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_numbers_that_do_not_suit_are_named(rng, options, error, text):
    model = make("resnet14", rng)
    with pytest.raises(error, match=text):
        lesion(model, *images(rng), **options)
    with pytest.raises(TypeError, match="float32"):
        lesion(model, normal(rng, 2, 3, 8, 8), np.array([0, 1]))


def test_an_image_of_one_row_is_cut_as_well(rng):
    model = make("plain8", rng)
    x, y = images(rng, 3, H=1, W=9)
    with taken_apart(model, x) as network:
        features = network.without_branch(0, network.stem(x))
        for place, width in ((1, 5), (2, 3)):
            features = network.without_branch(place, features)
            assert features.shape[2:] == (1, width)
    assert lesion(model, x, y, draws=0).rows[1].stays == "zero padding"


def test_a_network_in_float64_stays_in_it(rng):
    model = make("resnet8", rng, dtype=np.float64)
    x, _ = images(rng)
    with taken_apart(model, x.astype(np.float64)) as network:
        features = network.stem(x.astype(np.float64))
        for place in range(3):
            features = network.without_branch(place, features)
            assert features.dtype == np.float64
        assert network.head(features).dtype == np.float64


def test_it_prints_what_was_found_and_records_every_lesion(rng, tmp_path):
    model = make("resnet20", rng)
    result = lesion(model, *images(rng), draws=2)
    text = repr(result)
    assert text.splitlines()[0].split()[:3] == ["block", "deleted", "what"]
    assert "Residual net, 20 layers, 5 images in evaluation mode" in text
    assert "one pair swapped, 5 orders" in text
    assert "random blocks removed" in text
    result.save(tmp_path / "lesion.csv")
    lines = (tmp_path / "lesion.csv").read_text().splitlines()
    assert lines[0].startswith("lesion,blocks,count,kendall_tau,draws,accuracy")
    kinds = [line.partition(",")[0] for line in lines[1:]]
    assert kinds.count("deleted") == 9
    assert kinds.count("swapped") == 5 + 4
    assert kinds.count("removed") == 9
    assert len(result.to_dict()["reorderings"]) == 4
