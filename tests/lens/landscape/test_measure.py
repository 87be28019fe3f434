"""The landscape against networks whose weights are set by hand, and after a stop."""

import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.landscape.directions import cosine, filter_norms, random_direction
from npresnet.lens.landscape.measure import landscape
from npresnet.lens.landscape.result import Landscape, LandscapeRow
from tests.lens.state import left_as_it_was
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import draw_batch, make_twin, random_state


def make(name="resnet8", N=6, seed=0, **options):
    rng = np.random.default_rng(seed)
    options = {"num_classes": 10, "dtype": np.float64, **options}
    model = nr.models.create(name, **options)
    model.load_state_dict(random_state(model, rng))
    x = normal(rng, N, 3, 9, 8).astype(options["dtype"])
    return model.eval(), x, rng.integers(0, 10, N)


def directions_of(model, seed=0):
    return [random_direction(model, np.random.default_rng([seed, k])) for k in (0, 1)]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet8", {"shortcut": "B"}), ("resnet8", {}), ("plain8", {})],
)
def test_every_point_is_pytorchs_loss_with_the_weights_set_by_hand(
    torch, oracle, name, options, training
):
    model, x, y = make(name, **options)
    model.train(training)
    first, second = directions_of(model, seed=3)
    result = landscape(model, x, y, points=3, radius=0.6, seed=3, batch_size=4)
    state = model.state_dict()
    expected = np.empty((3, 3))
    right = np.empty((3, 3))
    for j, beta in enumerate([-0.6, 0, 0.6]):
        for i, alpha in enumerate([-0.6, 0, 0.6]):
            moved = {
                key: state[key] + alpha * way + beta * second[key]
                for key, way in first.items()
            }
            twin = make_twin(
                torch, oracle, name, {**state, **moved}, np.float64, training, **options
            )
            with torch.no_grad():
                logits = twin(torch.tensor(x))
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
            expected[j, i] = loss.item()
            right[j, i] = (logits.argmax(1).numpy() == y).mean()
    assert_matches(result.losses, expected, "losses")
    assert np.array_equal(result.accuracies, right)
    assert result.at.tolist() == [-0.6, 0, 0.6]
    assert result.cosine == pytest.approx(cosine(first, second))
    # The picture of the points is not flat: every one of them is a loss of its own.
    assert len(set(result.losses.ravel())) == 9


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_centre_is_the_ordinary_loss(dtype, training):
    model, x, y = make("resnet14", dtype=dtype)
    model.train(training)
    result = landscape(model, x, y, dimensions=1, points=5)
    logits = model(x)
    expected = nr.nn.CrossEntropyLoss()(logits.astype(np.float64), y)
    assert result.center.loss == expected
    assert result.center.alpha == 0
    assert result.center.accuracy == (logits.argmax(axis=1) == y).mean()


def test_batches_change_nothing_but_roundings():
    model, x, y = make(N=7)
    whole = landscape(model, x, y, points=3)
    parts = landscape(model, x, y, points=3, batch_size=3)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-12)


def test_one_dimension_is_the_middle_row_of_two():
    model, x, y = make()
    line = landscape(model, x, y, dimensions=1, points=5, seed=4)
    plane = landscape(model, x, y, points=5, seed=4)
    assert np.array_equal(line.losses, plane.losses[2])
    assert line.cosine is None
    assert [row.beta for row in line.rows] == [None] * 5
    assert np.array_equal(plane.losses[3, 1], plane.rows[16].loss)
    assert (plane.rows[16].alpha, plane.rows[16].beta) == (-0.5, 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_filter_of_a_direction_is_as_long_as_the_weights(dtype):
    model = nr.models.resnet8(shortcut="B", dtype=dtype)
    model.conv1.weight.data[3] = 0
    for direction in directions_of(model):
        for name, parameter in model.named_parameters():
            if parameter.data.ndim == 1:
                assert name not in direction  # biases, and batch norm's parameters
                continue
            way = direction[name]
            assert way.dtype == dtype
            for k, filter_ in enumerate(parameter.data):
                expected = np.linalg.norm(filter_.astype(np.float64))
                assert np.linalg.norm(way[k].astype(np.float64)) == pytest.approx(
                    expected, rel=1e-6
                )
    assert not direction["conv1.weight"][3].any()
    assert "layer2.0.downsample.0.weight" in direction
    assert "fc.weight" in direction


def test_directions_are_noise_that_the_seed_decides():
    model = nr.models.resnet20()
    first, second = directions_of(model)
    again, other = directions_of(model)[0], directions_of(model, seed=1)[0]
    for name, way in first.items():
        assert np.array_equal(way, again[name])
        assert not np.array_equal(way, other[name])
    assert abs(cosine(first, second)) < 0.05
    assert cosine(first, first) == pytest.approx(1)
    scale = filter_norms(first["layer1.0.conv1.weight"])[:, None, None, None]
    noise = first["layer1.0.conv1.weight"] / scale
    assert abs(noise.mean()) < 0.01
    assert noise.std() == pytest.approx(144**-0.5, rel=0.05)


def test_scaling_the_filters_changes_nothing_under_batch_norm():
    """That is what the normalisation is for (section 4 of the paper)."""
    model, x, y = make()
    model.train()
    before = landscape(model, x, y, points=3, radius=0.5)
    for name, parameter in model.named_parameters():
        if "conv" in name:
            parameter.data *= 7.0
    for module in model.modules():
        if isinstance(module, nr.nn.BatchNorm2d):
            module.eps *= 49.0
    after = landscape(model, x, y, points=3, radius=0.5)
    np.testing.assert_allclose(after.losses, before.losses, rtol=1e-9)


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("after", [1, 4, 8])
def test_a_stopped_measurement_goes_on_and_ends_with_the_same_bits(
    tmp_path, kind, after, monkeypatch
):
    model, x, y = make(dtype=np.float32)
    expected = landscape(model, x, y, points=3)
    keep = tmp_path / "points.json"
    forward, calls = type(model).forward, []

    def stopping(done, total):
        if done == after:
            raise kind

    with left_as_it_was(model), pytest.raises(kind):
        landscape(model, x, y, points=3, keep=keep, progress=stopping)
    assert len(json.loads(keep.read_text())["points"]) == after

    def counting(self, images):
        calls.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(type(model), "forward", counting)
    told = []
    result = landscape(
        model, x, y, points=3, keep=keep, progress=lambda *now: told.append(now)
    )
    assert result == expected
    assert len(calls) == 9 - after + 1  # and once to see what the logits are like
    assert told == [(i + 1, 9) for i in range(9)]
    assert landscape(model, x, y, points=3, keep=keep) == expected


def test_a_stop_within_the_forward_pass_loses_no_finished_point(tmp_path, monkeypatch):
    model, x, y = make()
    expected = landscape(model, x, y, points=3)
    keep, forward, calls = tmp_path / "points.json", type(model).forward, []

    def failing(self, images):
        calls.append(1)
        if len(calls) == 6:
            raise MemoryError
        return forward(self, images)

    monkeypatch.setattr(type(model), "forward", failing)
    with left_as_it_was(model), pytest.raises(MemoryError):
        landscape(model, x, y, points=3, keep=keep)
    assert sorted(json.loads(keep.read_text())["points"]) == list("0123")
    assert landscape(model, x, y, points=3, keep=keep) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["points.json"]


def test_points_of_something_else_are_refused_by_name(tmp_path):
    model, x, y = make()
    keep = tmp_path / "points.json"
    given = {"points": 3, "keep": keep}
    expected = landscape(model, x, y, **given)
    before = keep.read_bytes()

    def refuses(what, *args, **changes):
        with pytest.raises(
            ValueError, match=f"points.json: .* different {what} "
        ) as error:
            landscape(*args, **{**given, **changes})
        assert "\n" not in str(error.value)
        assert keep.read_bytes() == before

    refuses("radius", model, x, y, radius=0.5)
    refuses("points", model, x, y, points=5)
    refuses("dimensions", model, x, y, dimensions=1)
    refuses("seed", model, x, y, seed=1)
    refuses("images", model, x + 1e-9, y)
    refuses("labels", model, x, (y + 1) % 10)
    refuses("batch size", model, x, y, batch_size=2)
    refuses("weights", make(seed=1)[0], x, y)
    plain = nr.models.plain8(dtype=np.float64).eval()
    plain.load_state_dict(model.state_dict())
    refuses("network", plain, x, y)
    refuses("mode", model.train(), x, y)
    with nr.using_backend("reference"):
        refuses("backend", model.eval(), x, y)
    with nr.using_algorithm("auto"):
        refuses("algorithm", model.eval(), x, y)
    # What is the same measurement is taken for it, whatever it is written as.
    given |= {"points": np.int64(3), "seed": np.int64(0), "batch_size": np.int64(256)}
    assert landscape(model.eval(), np.asfortranarray(x), y, **given) == expected


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "npresnet points 1"}', "\0"]
)
def test_what_is_no_file_of_points_is_refused_and_kept(tmp_path, text):
    model, x, y = make()
    keep = tmp_path / "notes.txt"
    keep.write_text(text)
    with pytest.raises(ValueError, match=r"notes\.txt: expected a file of points"):
        landscape(model, x, y, points=3, keep=keep)
    assert keep.read_text() == text


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    model, x, y = make()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        landscape(model, x, y, points=3, keep=tmp_path / "nowhere" / "points.json")


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model, x, y = make("resnet14", shortcut="B")
    model.train(training)
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(x), y)  # its caches wait for a backward pass
    with left_as_it_was(model):
        landscape(model, x, y, points=3)
    model.backward(criterion.backward())
    with left_as_it_was(model):
        landscape(model, x, y, dimensions=1, points=3)


def test_losses_that_overflow_are_infinite_and_everything_still_works(tmp_path):
    model, x, y = make(dtype=np.float32)
    result = landscape(model, x, y, points=3, radius=1e30, keep=tmp_path / "points")
    assert np.isinf(result.losses[0]).all()
    assert np.isfinite(result.center.loss)
    assert result.accuracies[0].tolist() == [0, 0, 0]
    assert json.loads(result.content(".json"))["rows"][0]["loss"] is None
    result.save(tmp_path / "far.png")
    again = landscape(model, x, y, points=3, radius=1e30, keep=tmp_path / "points")
    assert repr(again) == repr(result)
    assert again == result


def test_the_imagenet_family_will_do_as_well():
    block = nr.models.Bottleneck
    model = nr.models.ResNet(block, (1, 1, 1, 1), 5, dtype=np.float64).eval()
    x, y = draw_batch(np.random.default_rng(0), (2, 3, 33, 40), 5)
    result = landscape(model, x, y, points=3, radius=0.1)
    assert result.classes == 5
    assert len(set(result.losses.ravel())) == 9


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("points", {"points": 4}),
        ("points", {"points": 1}),
        ("points", {"points": 3.0}),
        ("radius", {"radius": 0}),
        ("radius", {"radius": float("nan")}),
        ("dimensions", {"dimensions": 3}),
        ("seed", {"seed": -1}),
        ("batch_size", {"batch_size": 0}),
    ],
)
def test_what_is_out_of_range_is_named(message, options):
    model, x, y = make()
    with (
        left_as_it_was(model),
        pytest.raises((TypeError, ValueError), match=f"^{message}: expected"),
    ):
        landscape(model, x, y, **{"points": 3, **options})


def test_a_batch_that_does_not_fit_is_refused():
    model, x, y = make()
    with pytest.raises(TypeError, match="model must be"):
        landscape("resnet8", x, y)
    with pytest.raises(TypeError, match="float64"):
        landscape(model, x.astype(np.float32), y)
    with pytest.raises(ValueError, match="one label per image"):
        landscape(model, x, y[:-1])
    with left_as_it_was(model), pytest.raises(ValueError, match="labels"):
        landscape(model, x, y + 90)


def bowl(losses, **changes):
    """A result of invented losses."""
    losses = np.asarray(losses, float)
    n = losses.shape[-1]
    at = [float(v) for v in np.linspace(-1, 1, n)]
    flat = losses.ndim == 1
    rows = tuple(
        LandscapeRow(at[i], None if flat else at[j], float(loss), 0.5)
        for j, line in enumerate(np.atleast_2d(losses))
        for i, loss in enumerate(line)
    )
    facts = {
        "network": "Residual net, 8 layers",
        "residual": True,
        "images": 4,
        "classes": 10,
        "training": False,
        "dimensions": losses.ndim,
        "radius": 1.0,
        "seed": 0,
        "cosine": None if flat else 0.0,
    }
    return Landscape(rows, **{**facts, **changes})


def test_minima_and_the_valley_are_counted():
    line = bowl([9, 1, 5, 2, 2, 3, 0.5, 4, 0])
    assert line.minima == 2  # at 1 and at 0.5: neither the plateau at 2 nor the end
    assert line.valley == pytest.approx(5 / 9)
    plane = np.full((5, 5), 5.0)
    plane[1, 1] = plane[3, 3] = 1.0
    assert bowl(plane).minima == 2
    plane[2, 2] = 0.5  # lower than both, and a neighbour of both
    assert bowl(plane).minima == 1
    assert bowl(plane).center.loss == 0.5


def test_it_prints_a_grid_and_files_get_all_points(tmp_path):
    model, x, y = make()
    result = landscape(model, x, y, points=13)
    lines = repr(result).splitlines()
    assert lines[0].split()[-7:] == [
        "-1",
        "-0.667",
        "-0.333",
        "0",
        "0.333",
        "0.667",
        "1",
    ]
    assert len(lines[1].split()) == 8
    assert f"{result.center.loss:.4g}" in lines[4]
    assert "better than guessing" in repr(result)
    assert "<table>" in result._repr_html_()
    result.save(tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 13 * 13
    data = result.to_dict()
    assert data["points"] == 13
    assert data["center_loss"] == result.center.loss
    curve = repr(landscape(model, x, y, dimensions=1, points=5))
    assert curve.splitlines()[0].split() == ["alpha", "beta", "loss", "accuracy"]
