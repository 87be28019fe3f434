"""Recorded launches do, again and again, what launching would have done."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend import recording
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for
from npresnet.backend.threads.recorded import Jobs


class Settings(NamedTuple):
    """Of all kinds that kernels are called with."""

    factor: Any  # float32
    adds: bool
    row: Any  # an array within a tuple
    sizes: tuple[int, int]
    offset: float


@kernel
def scale(out, x, settings, count, first, last):
    for i in range(first, last):
        value = x[i] * settings.factor
        if settings.adds:
            value += settings.row[i % settings.sizes[1]]
        out[i] = value + settings.offset + count


@kernel
def add_one(out, first, last):
    for i in range(first, last):
        out[i] += 1


@kernel
def fail(out, first, last):
    raise MemoryError


def collected(work):
    with recording.recording(np.empty, np.empty(0, np.bool_)) as record:
        work()
    return record.launches


def arguments(adds, rng):
    x, out = rng.standard_normal(1000), np.zeros(1000)
    row = rng.standard_normal(7)
    settings = Settings(np.float32(0.3), adds, row, (3, 7), -2.5)
    expected = x * np.float32(0.3) + (row[np.arange(1000) % 7] if adds else 0) - 2.5
    return out, x, settings, expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("adds", [True, False])
def test_every_kind_of_argument_arrives(adds, threads, rng):
    out, x, settings, expected = arguments(adds, rng)
    launches = collected(lambda: parallel_for(scale, 1000, out, x, settings, 4))
    assert not out.any()  # nothing is done while it is recorded
    jobs = Jobs(launches)
    assert len(jobs) == 1
    before = nr.get_threads()
    nr.set_threads(threads)
    try:
        for _ in range(3):
            out[:] = 0
            jobs.run()
            np.testing.assert_allclose(out, expected + 4, rtol=1e-12)
    finally:
        nr.set_threads(before)


def test_launches_are_done_in_order(rng):
    out, x, settings, expected = arguments(True, rng)

    def work():
        parallel_for(scale, 1000, out, x, settings, 0)
        for _ in range(5):
            parallel_for(add_one, 1000, out)
        parallel_for(scale, 1, out, x, settings, 100)  # the first element only

    Jobs(collected(work)).run()
    np.testing.assert_allclose(out[1:], expected[1:] + 5, rtol=1e-12)
    np.testing.assert_allclose(out[0], expected[0] + 100, rtol=1e-12)


def test_another_array_in_the_place_of_one(rng):
    out, x, settings, _ = arguments(True, rng)
    jobs = Jobs(collected(lambda: parallel_for(scale, 1000, out, x, settings, 0)))
    for _ in range(3):
        other = rng.standard_normal(1000)
        jobs.point_to(0, 1, other)
        jobs.run()
        parallel_for(scale, 1000, direct := np.empty(1000), other, settings, 0)
        np.testing.assert_array_equal(out, direct)


def test_arrays_are_kept_for_as_long_as_they_are_named(rng):
    out = np.zeros(1000)
    jobs = Jobs(
        collected(
            lambda: parallel_for(
                scale, 1000, out, np.ones(1000), arguments(False, rng)[2], 0
            )
        )
    )
    rubbish = [np.full(1000, 7.0) for _ in range(100)]
    jobs.run()
    np.testing.assert_allclose(out, 0.3 - 2.5, rtol=1e-6)
    del rubbish


def test_a_chunk_that_fails_is_named():
    out = np.zeros(10)

    def work():
        parallel_for(add_one, 10, out)
        parallel_for(fail, 10, out)
        parallel_for(add_one, 10, out)

    with pytest.raises(MemoryError, match="fail"):
        Jobs(collected(work)).run()
    np.testing.assert_array_equal(out, 1)  # what follows is not done


def test_what_lies_in_another_way_cannot_be_recorded():
    from npresnet.backend.kernels.compile import dense

    backwards = np.arange(10.0)[::-1]
    dense(backwards)
    with pytest.raises(recording.CannotRecord, match=r"shape \(10,\)"):
        collected(lambda: dense(backwards))


def test_other_threads_are_not_recorded(rng):
    import threading

    out = np.zeros(1000)

    def work():
        thread = threading.Thread(target=parallel_for, args=(add_one, 1000, out))
        thread.start()
        thread.join()

    assert collected(work) == []
    np.testing.assert_array_equal(out, 1)


def test_who_asks_is_told_how_many_kernels_there_are(tmp_path):
    @kernel
    def new(out, first, last):
        out[first:last] = 3

    told = []
    launches = collected(lambda: parallel_for(new, 4, np.zeros(4)))
    with recording.telling(lambda *counts: told.append(counts)):
        Jobs(launches)
    assert told in ([(0, 1), (1, 1)], [])  # kept on the disk by an earlier run
