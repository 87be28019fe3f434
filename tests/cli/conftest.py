"""The command line is tested as a user meets it."""

import pytest

import npresnet as nr


@pytest.fixture(autouse=True)
def _algorithm_of_a_user(_strict_arithmetic_exact_convolutions):
    """Let convolutions choose, as in the processes that some of these tests start."""
    with nr.using_algorithm("auto"):
        yield


@pytest.fixture(autouse=True)
def _nothing_is_said_of_compiling(monkeypatch):
    """Where the tests' kernels are not compiled yet, commands would say so."""
    monkeypatch.setattr("npresnet.cli.busy._SAID_AFTER", 1e6)


@pytest.fixture(scope="session")
def trained_digits(tmp_path_factory):
    """The weights of a ResNet-8 that has seen the digits five times."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    model = nr.models.resnet8(num_classes=10, seed=1)
    record = {"model": {"name": "resnet8", "shortcut": "A"}}
    options = {"epochs": 5, "seed": 1, "quiet": True, "record": record}
    with nr.using_algorithm("auto"):
        nr.training.fit(model, *nr.data.digits(), out=folder, **options)
    return folder / "weights.safetensors"
