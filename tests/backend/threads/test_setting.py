"""How many threads there are: what the host offers, and what is asked for."""

import os

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import npresnet as nr
from npresnet import _notices
from npresnet._notices import Notice
from npresnet.backend.threads import available_threads, processors, setting
from npresnet.backend.threads.processors import Limit


def blas_threads():
    pools = threadpool_info()
    return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]


def test_a_quota_holds_back_the_threads_of_matrix_products_but_never_adds_any(
    monkeypatch,
):
    monkeypatch.setattr(setting, "_threads", None)
    monkeypatch.delenv("NPRESNET_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(processors, "limit", lambda: Limit(2, "a quota of 2"))
    with threadpool_limits(3, user_api="blas"):
        assert nr.get_threads() == 2
        assert max(blas_threads(), default=2) == 2
    monkeypatch.setattr(setting, "_threads", None)
    with threadpool_limits(1, user_api="blas"):
        assert nr.get_threads() == 2
        assert max(blas_threads(), default=1) == 1


def test_set_threads_is_cut_down_to_what_the_host_offers(monkeypatch):
    monkeypatch.setattr(setting, "_threads", None)
    before = nr.get_threads()
    try:
        assert nr.set_threads(10_000) == available_threads()
        assert nr.set_threads(1) == 1 == nr.get_threads()
    finally:
        nr.set_threads(before)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_set_threads_refuses_what_is_no_count(count):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        nr.set_threads(count)


def test_the_environment_can_choose_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(_notices, "_said", set())
    monkeypatch.setattr(setting, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "1")
    assert nr.get_threads() == 1
    monkeypatch.setattr(setting, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "10000")
    with pytest.warns(Notice, match="NPRESNET_NUM_THREADS=10000: using .*the limit is"):
        assert nr.get_threads() == available_threads()
    monkeypatch.setattr(setting, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="NPRESNET_NUM_THREADS"):
        nr.get_threads()
