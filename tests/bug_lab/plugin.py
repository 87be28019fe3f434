"""A pytest plugin: the selected tests run with a bug injected.

On the command line::

    NPRESNET_INJECT=max_pool_pads_zero pytest -p tests.bug_lab.plugin tests/functional
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from npresnet.lens import bugs

# A bug need only be found, not explained: no shrinking.
settings.register_profile(
    "bug-lab",
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)


class Injecting:
    """Keeps one bug alive while tests run, and notes which of them fail."""

    def __init__(self, name):
        self.name = name
        self.failed = []
        self.passed = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session):
        if self.name is None:
            return (yield)
        with bugs.inject(self.name):
            return (yield)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed += 1


def pytest_configure(config):
    name = os.environ.get("NPRESNET_INJECT")
    if name:
        config.pluginmanager.register(Injecting(name), "injecting")
