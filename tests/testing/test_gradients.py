"""check_gradients accepts what is right and refuses what is wrong; no torch needed."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.functional import batch_norm_backward, batch_norm_forward
from npresnet.testing import GradientError, check_gradients
from npresnet.testing.cases import CASES


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


# What an operation or a layer does with kernels, tests of twins compare with the
# reference; blocks take other ways there.
@pytest.mark.parametrize(
    ("case", "backend"),
    [
        pytest.param(
            *(case, backend),
            marks=pytest.mark.slow
            if backend == "numba" and case.kind != "block"
            else (),
            id=f"{backend}-{case}",
        )
        for case in CASES
        for backend in ("reference", "numba")
    ],
)
def test_every_case_agrees_with_differences(case, backend):
    target, inputs = case.build()
    with nr.using_backend(backend):
        checks = check_gradients(target, *inputs, rtol=case.rtol)
    assert all(np.isfinite(check.analytic) for check in checks)
    # Gradients that are zero would agree with anything.
    assert all(check.analytic for check in checks)


def test_no_operation_layer_or_block_is_left_out():
    pairs = {n[: -len("_backward")] for n in nr.functional.__all__ if "backward" in n}
    layers = {
        name
        for name, value in vars(nr.nn).items()
        if isinstance(value, type) and issubclass(value, nr.nn.Module)
    }
    assert pairs == {case.name for case in CASES if case.kind == "operation"}
    assert layers - {"Module"} == {case.name for case in CASES if case.kind == "layer"}
    blocks = {"BasicBlock", "Bottleneck", "PlainBlock"}
    assert blocks == {case.name for case in CASES if case.kind == "block"}


def test_no_two_cases_share_a_name_and_builds_are_the_same_each_time():
    assert len({str(case) for case in CASES}) == len(CASES)
    for case in CASES[:20]:
        for one, other in zip(case.build()[1], case.build()[1], strict=True):
            np.testing.assert_array_equal(one, other)


class Scaled(nr.nn.Module):
    """A reader's own module, right or wrong."""

    def __init__(self, factor=1.0, forget_grad=False):
        super().__init__()
        self.weight = nr.nn.Parameter(normal(3))
        self.factor, self.forget_grad = factor, forget_grad

    def forward(self, x):
        self.push_cache(x)
        return x * self.weight.data

    def backward(self, grad_output, input_grad=True):
        x = self.pop_cache()
        if not self.forget_grad:
            self.weight.accumulate((grad_output * x).sum(axis=0) * self.factor)
        return grad_output * self.weight.data if input_grad else None


def test_a_module_of_ones_own_is_accepted():
    names = [check.name for check in check_gradients(Scaled(), normal(4, 3))]
    assert names == ["x", "weight"]


@pytest.mark.parametrize("factor", [0.0, 0.999, 1.001, -1.0, np.nan])
def test_a_wrong_gradient_is_refused_and_named(factor):
    with pytest.raises(GradientError, match="wrong gradient for weight"):
        check_gradients(Scaled(factor), normal(4, 3))


def test_a_forgotten_gradient_is_refused():
    with pytest.raises(GradientError, match=r"weight of shape .* needs a gradient"):
        check_gradients(Scaled(forget_grad=True), normal(4, 3))


def test_batch_norm_without_its_variance_term_is_refused():
    def forward(x, weight, bias):
        running = np.zeros(3), np.ones(3)
        return batch_norm_forward(x, weight, bias, *running, training=True)

    def backward(grad_output, cache):
        scale = (cache.weight * cache.inverse_std)[:, None, None]
        grad_x = scale * (grad_output - grad_output.mean((0, 2, 3), keepdims=True))
        return grad_x, *batch_norm_backward(grad_output, cache)[1:]

    inputs = normal(3, 3, 4, 5), normal(3), normal(3)
    with pytest.raises(GradientError, match="wrong gradient for input 0: 1 of 3"):
        check_gradients((forward, backward), *inputs)


def test_the_module_is_left_as_it_was():
    block = nr.models.BasicBlock(3, 3, dtype=np.float64, rng=0)
    block.conv1.weight.grad = normal(3, 3, 3, 3)
    kept, before = block.conv1.weight.grad, block.state_dict()
    check_gradients(block, normal(2, 3, 5, 5))
    assert block.conv1.weight.grad is kept
    assert block.bn1.weight.grad is None
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert not any(module.caches for module in block.modules())


def test_float32_is_refused_because_differences_need_digits():
    with pytest.raises(TypeError, match="float64"):
        check_gradients(nr.nn.ReLU(), normal(2, 3).astype(np.float32))
    with pytest.raises(TypeError, match=r"conv1\.weight must be a float64"):
        check_gradients(nr.models.BasicBlock(3, 3), normal(2, 3, 5, 5))
    with pytest.raises(TypeError, match=r"build the module with dtype=np\.float64"):
        check_gradients(nr.models.BasicBlock(3, 3), normal(2, 3, 5, 5))


# ---------------------------------------------------- what is wrong in form is told


class Doubled(nr.nn.Module):
    """Right as it stands; each subclass below breaks one rule."""

    def __init__(self):
        super().__init__()
        self.weight = nr.nn.Parameter(normal(3))

    def forward(self, x):
        self.push_cache(x)
        return 2 * x * self.weight.data

    def backward(self, grad_output, input_grad=True):
        x = self.pop_cache()
        self.weight.accumulate((2 * grad_output * x).sum(axis=0))
        return 2 * grad_output * self.weight.data if input_grad else None


class ReturnsNone(Doubled):
    def backward(self, grad_output, input_grad=True):
        super().backward(grad_output, input_grad)


class ReturnsAnotherShape(Doubled):
    def backward(self, grad_output, input_grad=True):
        return super().backward(grad_output)[0]


class ReturnsFloat32(Doubled):
    def backward(self, grad_output, input_grad=True):
        return super().backward(grad_output).astype(np.float32)


class ReturnsATextOfIt(Doubled):
    def backward(self, grad_output, input_grad=True):
        return str(super().backward(grad_output))


class ReturnsTwo(Doubled):
    def backward(self, grad_output, input_grad=True):
        grad = super().backward(grad_output)
        return grad, grad


class KeepsNothing(Doubled):
    def forward(self, x):
        return 2 * x * self.weight.data


class KeepsTwice(Doubled):
    def forward(self, x):
        self.push_cache(x)
        return super().forward(x)


class GivesFloat32(Doubled):
    def forward(self, x):
        return super().forward(x).astype(np.float32)


class GivesAWrongWeightGradientShape(Doubled):
    def backward(self, grad_output, input_grad=True):
        grad = super().backward(grad_output, input_grad)
        self.weight.grad = self.weight.grad[None]
        return grad


class OverwritesItsInput(Doubled):
    def forward(self, x):
        x *= 2
        self.push_cache(x)
        return x * self.weight.data


class OverwritesGradOutput(Doubled):
    def backward(self, grad_output, input_grad=True):
        grad_output *= 1.5
        return super().backward(grad_output, input_grad)


class IsRandom(Doubled):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return super().forward(x) * self.rng.random()


class ReplacesTheGradient(Doubled):
    def backward(self, grad_output, input_grad=True):
        self.weight.grad = None
        return super().backward(grad_output, input_grad)


class ForgetsTheWeightWhereTheInputIsSpared(Doubled):
    def backward(self, grad_output, input_grad=True):
        if input_grad:
            return super().backward(grad_output)
        self.pop_cache()
        return None


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ReturnsNone, r"^x of shape \(4, 3\) needs a gradient, got none: .* return it"),
        (ReturnsAnotherShape, r"^x of shape \(4, 3\) .* got one of shape \(3,\)$"),
        (ReturnsFloat32, "^x .* of its dtype float64, got one of float32$"),
        (ReturnsATextOfIt, "^x .* needs a gradient, got str$"),
        (ReturnsTwo, r"^backward returned 2 gradients for 1 input\(s\)$"),
        (KeepsNothing, r"^backward found no cache in KeepsNothing: .*self\.push_cache"),
        (KeepsTwice, r"^backward left 1 cache\(s\) in KeepsTwice"),
        (GivesAWrongWeightGradientShape, r"^weight .* got one of shape \(1, 3\)$"),
        (OverwritesItsInput, "^forward changed input 0 in place"),
        (OverwritesGradOutput, "^backward changed grad_output in place"),
        (IsRandom, "^forward gave another output for the same input"),
        (ReplacesTheGradient, "^weight: a second backward pass .*accumulate"),
        (ForgetsTheWeightWhereTheInputIsSpared, "^weight: .* input_grad=False must"),
    ],
)
def test_a_module_that_breaks_a_rule_is_told_which(broken, message):
    check_gradients(Doubled(), normal(4, 3))
    with pytest.raises(GradientError, match=message):
        check_gradients(broken(), normal(4, 3))


def test_an_output_in_float32_is_refused():
    with pytest.raises(TypeError, match="forward must return a float64 array, got flo"):
        check_gradients(GivesFloat32(), normal(4, 3))


def test_the_part_that_kept_no_cache_is_named():
    model = nr.nn.Sequential(nr.nn.ReLU(), KeepsNothing())
    with pytest.raises(GradientError, match=r"no cache in 1 \(KeepsNothing\)"):
        check_gradients(model, normal(4, 3))


def test_a_runtime_error_of_ones_own_comes_through():
    class Raises(Doubled):
        def backward(self, grad_output, input_grad=True):
            raise RuntimeError("out of ideas")

    with pytest.raises(RuntimeError, match="out of ideas"):
        check_gradients(Raises(), normal(4, 3))


def test_a_module_that_breaks_a_rule_is_left_as_it_was():
    module = KeepsTwice()
    kept = module.weight.grad = normal(3)
    with pytest.raises(GradientError):
        check_gradients(module, normal(4, 3))
    assert module.weight.grad is kept
    assert not module.caches


def test_no_grad_is_refused_because_it_keeps_no_caches():
    with nr.no_grad(), pytest.raises(RuntimeError, match="under no_grad"):
        check_gradients(Doubled(), normal(4, 3))


def test_inputs_without_a_gradient_are_passed_along():
    def forward(x, exponent, index, nothing):
        assert nothing is None
        return x[index] ** exponent, (x, exponent, index)

    def backward(grad_output, cache):
        x, exponent, index = cache
        grad_x = np.zeros_like(x)
        np.add.at(grad_x, index, grad_output * exponent * x[index] ** (exponent - 1))
        return grad_x

    inputs = 1 + normal(5) ** 2, 3, np.array([0, 3, 3]), None
    (check,) = check_gradients((forward, backward), *inputs)
    assert check.name == "input 0"


def test_every_array_that_a_module_takes_is_checked():
    class Product(nr.nn.Module):
        def forward(self, x, y):
            self.push_cache((x, y))
            return x * y

        def backward(self, grad_output):
            x, y = self.pop_cache()
            return grad_output * y, grad_output * x

    class HalfAProduct(Product):
        def backward(self, grad_output):
            return super().backward(grad_output)[0]

    x, y = normal(4, 3), normal(3, 4).T
    names = [check.name for check in check_gradients(Product(), x, y)]
    assert names == ["x", "input 1"]
    with pytest.raises(GradientError, match=r"^input 1 of shape .* got none"):
        check_gradients(HalfAProduct(), x, y)


def test_a_pair_must_return_a_cache_and_have_something_to_check():
    def double(x):
        return 2 * x

    with pytest.raises(GradientError, match=r"must return a tuple.*got float64"):
        check_gradients((double, lambda g, cache: 2 * g), normal(3))
    with pytest.raises(ValueError, match="nothing to check"):
        check_gradients((lambda n: (1.0, None), lambda g, cache: None), 3)
