"""Shattered gradients against PyTorch along a line, and against simulated noise."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.shattered.autocorrelation import (
    autocorrelation,
    brownian_covariance,
    expected_autocorrelation,
)
from npresnet.lens.shattered.measure import (
    freeze_batch_norm,
    line_between,
    logit_gradients,
    shattered,
)
from tests.lens.state import left_as_it_was
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import make_twin, random_state


def make(name, N=4, size=8, **options):
    rng = np.random.default_rng(0)
    model = nr.models.create(name, **{"dtype": np.float64, **options})
    return model, normal(rng, N, 3, size, size + 1).astype(options.get("dtype", float))


def correlate(gradients):
    """The sum over all elements of numpy.correlate, from lag 0 on."""
    centred = gradients - gradients.mean(axis=0)
    T = len(centred)
    sums = sum(np.correlate(c, c, "full")[T - 1 :] for c in centred.T)
    return sums / sums[0]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", ["resnet8", "plain14"])
def test_it_is_numpys_correlation_of_pytorchs_gradients(
    torch, oracle, name, training, rng
):
    model, x = make(name, N=5)
    model.load_state_dict(random_state(model, rng))
    model.train(training)
    result = shattered(model, x, points=20, lags=19, output=3, batch_size=7)

    twin = make_twin(torch, oracle, name, model.state_dict(), np.float64, training)
    if training:  # PyTorch's way to the statistics of a batch: a moving average of one
        for module in twin.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                module.register_forward_pre_hook(note_size)
        twin(torch.tensor(x))
        for module in twin.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_var *= (module.numbers - 1) / module.numbers
    twin.eval()
    expected = []
    for start, end in [(x[0], x[1]), (x[2], x[3])]:
        line = [start + t * (end - start) for t in np.arange(20) / 19]
        gradients = []
        for image in line:
            image = torch.tensor(image[None], requires_grad=True)
            twin(image)[0, 3].backward()
            gradients.append(image.grad.numpy().ravel().copy())
        expected.append(correlate(np.array(gradients)))
    assert_matches(result.autocorrelations, np.mean(expected, axis=0), "mean")
    deviations = np.array([row.deviation for row in result.rows])
    assert_matches(deviations, np.std(expected, axis=0), "deviation")
    assert result.neighbours == result.autocorrelations[1]
    steps = [np.linalg.norm(x[1] - x[0]) / 19, np.linalg.norm(x[3] - x[2]) / 19]
    assert result.step == pytest.approx(np.mean(steps))


def note_size(module, inputs):
    (array,) = inputs
    module.numbers = array.numel() / array.shape[1]


def test_frozen_statistics_compute_what_training_computes():
    model, x = make("resnet14", shortcut="B")
    expected = model(x)
    freeze_batch_norm(model, x)
    assert not model.training
    np.testing.assert_allclose(model(x), expected, rtol=1e-9, atol=1e-12)
    # ... and one image does not know of the others.
    np.testing.assert_allclose(model(x[:1]), expected[:1], rtol=1e-9, atol=1e-12)


def test_running_statistics_stay_where_the_model_is_in_evaluation_mode(rng):
    model, x = make("resnet8")
    model.load_state_dict(random_state(model, rng))
    expected = model.eval()(x)
    freeze_batch_norm(model, x)
    assert np.array_equal(model(x), expected)


def test_a_gradient_is_the_slope_of_the_logit_along_the_line():
    model, x = make("resnet8")
    freeze_batch_norm(model, x)
    h = 1e-6
    gradient = logit_gradients(model, x[:1], 2, 8)[0]
    way = (x[1] - x[0]).ravel()
    ahead, behind = (model(x[:1] + sign * h * (x[1] - x[0]))[0, 2] for sign in (1, -1))
    assert gradient @ way == pytest.approx((ahead - behind) / (2 * h), rel=1e-5)


def test_a_line_has_equal_steps_and_both_ends(rng):
    start, end = normal(rng, 2, 3, 4, 5).astype(np.float32)
    line = line_between(start, end, 7)
    assert line.dtype == np.float32
    assert np.array_equal(line[0], start)
    assert np.array_equal(line[-1], end)
    np.testing.assert_allclose(line[3], (start + end) / 2, rtol=1e-6, atol=1e-7)
    steps = np.linalg.norm(np.diff(line, axis=0).reshape(6, -1), axis=1)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)


def test_the_references_are_what_simulated_noise_comes_to(rng):
    T, lags, series = 64, 40, 20_000
    noise = rng.standard_normal((T, series))
    white = expected_autocorrelation(np.eye(T), lags)
    np.testing.assert_allclose(autocorrelation(noise, lags), white, atol=2e-3)
    assert white[1:] == pytest.approx(-(1 - np.arange(1, lags + 1) / T) / (T - 1))
    brownian = expected_autocorrelation(brownian_covariance(T), lags)
    walk = np.cumsum(noise, axis=0)
    np.testing.assert_allclose(autocorrelation(walk, lags), brownian, atol=0.02)
    # Smooth and falling, next to 1 at first, below 0 far away.
    assert brownian[1] > 0.9
    assert (np.diff(brownian[:30]) < 0).all()
    assert brownian[-1] < 0


def test_one_series_gives_the_textbooks_formula(rng):
    series = rng.standard_normal(30)
    centred = series - series.mean()
    expected = np.correlate(centred, centred, "full")[29:40] / (centred @ centred)
    np.testing.assert_allclose(autocorrelation(series[:, None], 10), expected)


def test_deep_plain_nets_shatter_and_deep_residual_nets_do_not():
    """The paper's claim, fresh weights, on the digits."""
    train, _ = nr.data.digits()
    x, _ = next(nr.data.batches(train, 16, shuffle=True, seed=0, epoch=0))

    def neighbours(name):
        return shattered(nr.models.create(name), x, lines=1, points=128).neighbours

    assert neighbours("resnet8") > 0.9
    assert neighbours("plain8") > 0.9
    assert neighbours("resnet56") > 0.7
    assert abs(neighbours("plain56")) < 0.15


def test_batches_change_nothing_but_roundings():
    model, x = make("resnet8")
    whole = shattered(model, x, points=16, lags=3)
    parts = shattered(model, x, points=16, lags=3, batch_size=3)
    np.testing.assert_allclose(parts.autocorrelations, whole.autocorrelations)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model, x = make("resnet8", shortcut="B", dtype=np.float32)
    model.train(training)
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(x), np.zeros(4, int))
    with left_as_it_was(model):
        shattered(model, x, points=8, lags=2)
    model.backward(criterion.backward())

    def stop(done, total):
        raise KeyboardInterrupt

    with left_as_it_was(model), pytest.raises(KeyboardInterrupt):
        shattered(model, x, points=8, lags=2, progress=stop)
    with left_as_it_was(model), pytest.raises(ValueError, match=r"output: .* 0 to 9"):
        shattered(model, x, points=8, lags=2, output=10)


def test_progress_is_told_line_by_line():
    model, x = make("resnet8")
    told = []
    shattered(model, x, points=8, lags=1, progress=lambda *now: told.append(now))
    assert told == [(1, 2), (2, 2)]


def test_nothing_to_correlate_is_an_error_and_no_noise():
    model, x = make("resnet8")
    x[3] = x[2]
    with left_as_it_was(model), pytest.raises(ValueError, match="x: images 2 and 3"):
        shattered(model, x, points=8, lags=2)
    with pytest.raises(ValueError, match="same all along"):
        autocorrelation(np.full((50, 3), 0.1), 2)  # whose mean is not exactly 0.1
    noise = np.random.default_rng(0).standard_normal((50, 3))
    small = 1e3 + 1e-3 * noise  # this is a difference, though
    np.testing.assert_allclose(
        autocorrelation(small, 2), autocorrelation(noise, 2), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("points", {"points": 7}),
        ("points", {"points": 8.0}),
        ("lags", {"lags": 0}),
        ("lags", {"points": 16, "lags": 16}),
        ("lines", {"lines": 0}),
        ("lines", {"lines": 3}),
        ("batch_size", {"batch_size": 0}),
    ],
)
def test_what_is_out_of_range_is_named(message, options):
    model, x = make("resnet8")
    with (
        left_as_it_was(model),
        pytest.raises((TypeError, ValueError), match=f"^{message}: expected"),
    ):
        shattered(model, x, **{"points": 40, **options})


def test_images_that_do_not_fit_are_refused():
    model, x = make("resnet8")
    with pytest.raises(TypeError, match="model must be"):
        shattered(None, x)
    with pytest.raises(TypeError, match="float64"):
        shattered(model, x.astype(np.float32))
    with pytest.raises(ValueError, match="lines: expected"):
        shattered(model, x[:1])


def test_it_prints_few_lags_and_files_get_all(tmp_path):
    model, x = make("resnet8")
    result = shattered(model, x, points=64)
    lags = [line.split()[0] for line in repr(result).splitlines()[1:12]]
    assert lags == ["0", "1", "2", "3", "4", "6", "8", "12", "16", "24", "32"]
    assert "Residual net, 8 layers: the gradients of neighbours" in repr(result)
    result.save(tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 34
    assert result.to_dict()["neighbours"] == result.neighbours
    assert (result.layers, result.residual, result.training) == (8, True, True)


def test_results_of_other_lines_are_not_drawn_together(tmp_path):
    model, x = make("resnet8")
    result = shattered(model, x, points=16, lags=4)
    result.save(tmp_path / "one.png")
    with pytest.raises(ValueError, match="equally many points"):
        result.plot(beside=shattered(model, x, points=17, lags=4))
