"""What decides a run's last bits is written down, and a change of it is told."""

import pytest

from npresnet.training import machine, resuming


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch):
    for name in machine._SETTINGS:
        monkeypatch.delenv(name, raising=False)


def facts():
    return {"npresnet": "1", "environment": machine.describe()}


def test_the_same_machine_is_the_same():
    assert resuming.other_machine(facts(), facts()) is None


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, ["processor generic instead of", "without "]),
        ({"NUMBA_CPU_NAME": "haswell"}, ["processor haswell instead of"]),
        ({"NUMBA_CPU_FEATURES": "+sse2,-avx2"}, ["processor without", " more"]),
        ({"NUMBA_CPU_FEATURES": ""}, ["processor without"]),
        ({"NUMBA_OPT": "0"}, ["NUMBA_OPT 0 instead of not set"]),
        ({"NUMBA_DISABLE_JIT": "1"}, ["NUMBA_DISABLE_JIT 1 instead of"]),
        ({"NPY_DISABLE_CPU_FEATURES": "AVX2"}, ["NPY_DISABLE_CPU_FEATURES AVX2"]),
    ],
)
def test_settings_that_make_other_code_are_told(monkeypatch, variables, told):
    before = facts()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = resuming.other_machine(before, facts())
    assert "its bits may differ" in text
    for part in told:
        assert part in text
    back = resuming.other_machine(facts(), before)
    assert back is not None
    assert len(text) < 500


def test_what_numba_compiles_for_is_what_is_written_down(monkeypatch):
    codegen = pytest.importorskip("numba.core.codegen")
    name, features = machine.compiled_for()
    assert name == codegen.ll.get_host_cpu_name()
    words = codegen.get_host_cpu_features().split(",")
    theirs = {word[1:] for word in words if word.startswith("+")}
    assert theirs <= set(features)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert machine.compiled_for() == ("generic", [])
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx,-avx2 ,+fma")
    assert machine.compiled_for() == ("generic", ["avx", "fma"])


def test_what_an_older_version_did_not_write_down_is_no_difference():
    before = facts()
    for name in ("features", "settings", "llvmlite"):
        del before["environment"][name]
    assert resuming.other_machine(before, facts()) is None
