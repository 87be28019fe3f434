"""A pytest plugin: the selected tests run with a bug injected.

On the command line::

    NPRESNET_INJECT=max_pool_pads_zero pytest -p tests.bug_lab.plugin tests/functional
"""

import os
import sys

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
    """Keeps one bug alive while tests run, and notes which of them fail.

    A test that has failed with one set of parameters is not run with others, and
    `enough` failed tests end the run.
    """

    def __init__(self, name, enough=sys.maxsize):
        self.name, self.enough = name, enough
        self.failed = []
        self.passed = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session):
        if self.name is None:
            return (yield)
        with bugs.inject(self.name):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        # True: taken care of, so that nobody runs it.
        return True if plain(item.nodeid) in self.failed else None

    def pytest_runtest_logreport(self, report):
        test = plain(report.nodeid)
        if report.failed and test not in self.failed:
            self.failed.append(test)
        elif report.when == "call" and report.passed:
            self.passed += 1

    def pytest_runtest_logfinish(self, nodeid):
        if len(self.failed) >= self.enough:
            self.session.shouldstop = f"{self.enough} tests failed"

    def pytest_sessionstart(self, session):
        self.session = session


def plain(nodeid):
    """Name a test without its parameters."""
    return nodeid.partition("[")[0]


def pytest_configure(config):
    name = os.environ.get("NPRESNET_INJECT")
    if name:
        config.pluginmanager.register(Injecting(name), "injecting")
