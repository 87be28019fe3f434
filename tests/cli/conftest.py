"""The command line is tested as a user meets it."""

import pytest

import npresnet as nr


@pytest.fixture(autouse=True)
def _algorithm_of_a_user(_exact_convolutions):
    """Let convolutions choose, as in the processes that some of these tests start."""
    with nr.using_algorithm("auto"):
        yield
