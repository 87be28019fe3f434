"""What the tests of training share."""

import pytest

import npresnet as nr
from tests.training.pictures import not_drawn
from tests.training.small import run, small_data


@pytest.fixture(scope="session")
def data():
    """150 digits to learn from, 60 to measure on."""
    return small_data()


@pytest.fixture(scope="session")
def whole(data, tmp_path_factory):
    """The folder of a run that nothing ever disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with nr.using_algorithm("direct"), not_drawn():
        run(data, folder)
    return folder
