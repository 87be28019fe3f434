"""Pictures are drawn here: they are what is tested."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _undrawn():
    yield
