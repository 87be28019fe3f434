"""What a ``with`` block switches belongs to its context, and to nobody else."""

import asyncio
import contextvars
import gc
import threading

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from npresnet._switches import Switch
from npresnet.nn import doors, modes
from tests.interrupts import ctrl_c, moments


def watch(module, inputs, output):
    pass


def is_watched():
    return doors._watchers.get().forward is watch


# What begins a block, what tells whether one is open here, and what that says outside.
SWITCHES = {
    "using_backend": (lambda: nr.using_backend("reference"), nr.get_backend, "numba"),
    "using_algorithm": (
        lambda: nr.using_algorithm("direct"),
        nr.get_algorithm,
        "auto",
    ),
    "no_grad": (nr.no_grad, modes.is_keeping, True),
    "watching": (lambda: nn.watching(watch), is_watched, False),
    "replaying": (lambda: nn.replaying(nn.ReLU()), modes.is_replaying, False),
    "init.skipped": (nn.init.skipped, nn.init._skipping.get, False),
}


@pytest.fixture(params=SWITCHES)
def switch(request):
    return SWITCHES[request.param]


def outside(check):
    """Run a check in a context without any block, as a program starts with."""
    return contextvars.Context().run(check)


def in_a_thread(work):
    """Return what some work returns in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_a_block_is_seen_within_and_not_afterwards(switch):
    block, tell, rest = switch

    def check():
        assert tell() == rest
        with pytest.raises(KeyError), block():
            assert tell() != rest
            raise KeyError
        assert tell() == rest

    outside(check)


def test_a_thread_started_within_a_block_sees_nothing_of_it(switch):
    block, tell, rest = switch
    with block():
        assert in_a_thread(tell) == rest


def test_blocks_of_two_threads_end_in_the_order_in_which_they_began(switch):
    block, tell, rest = switch
    first, second = threading.Event(), threading.Event()

    def begin_first():
        with block():
            first.set()
            assert second.wait(10)
        return tell()

    def begin_second():
        assert first.wait(10)
        with block():
            second.set()
            thread.join()  # the other one's block has ended
            within = tell()
        return within, tell()

    ends = []
    thread = threading.Thread(target=lambda: ends.append(begin_first()))
    thread.start()
    within, after = in_a_thread(begin_second)
    assert ends == [rest]
    assert within != rest and after == rest
    assert outside(tell) == rest


def test_tasks_that_take_turns_do_not_see_each_others_blocks(switch):
    block, tell, rest = switch
    turns = []

    async def with_block():
        with block():
            await asyncio.sleep(0)
            turns.append(tell() != rest)
            await asyncio.sleep(0)
        turns.append(tell() == rest)

    async def without():
        for _ in range(3):
            turns.append(tell() == rest)
            await asyncio.sleep(0)

    async def both():
        await asyncio.gather(with_block(), without(), with_block())
        turns.append(tell() == rest)

    outside(lambda: asyncio.run(both()))
    assert len(turns) == 8 and all(turns)


def test_a_task_made_within_a_block_goes_on_in_it():
    async def tell_later():
        await asyncio.sleep(0)
        return nr.get_backend()

    async def make():
        with nr.using_backend("reference"):
            task = asyncio.create_task(tell_later())
        return await task, nr.get_backend()

    assert outside(lambda: asyncio.run(make())) == ("reference", "numba")


def test_blocks_of_two_generators_end_in_another_order_than_they_began(switch):
    block, tell, rest = switch

    def generator():
        with block():
            yield

    def check():
        one, other = generator(), generator()
        next(one)
        next(other)
        one.close()
        assert tell() != rest
        other.close()
        assert tell() == rest

    outside(check)


def test_the_innermost_block_holds_and_the_outer_one_again_after_it():
    with nr.using_backend("reference"):
        with nr.using_backend("numba"):
            assert nr.get_backend() == "numba"
        assert nr.get_backend() == "reference"


@pytest.mark.parametrize(
    ("set_it", "using", "get", "names"),
    [
        (nr.set_backend, nr.using_backend, nr.get_backend, ("reference", "numba")),
        (nr.set_algorithm, nr.using_algorithm, nr.get_algorithm, ("direct", "auto")),
    ],
)
def test_what_is_set_holds_in_every_thread_but_not_in_blocks(set_it, using, get, names):
    other, default = names

    def check():
        with using(default):
            set_it(other)
            assert get() == default
        assert get() == other

    try:
        outside(check)
        assert in_a_thread(get) == other
    finally:
        set_it(default)


def test_a_name_that_nobody_knows_begins_no_block():
    before = nr.get_backend(), nr.get_algorithm()
    with pytest.raises(ValueError, match="'torch'"), nr.using_backend("torch"):
        pass
    with pytest.raises(ValueError, match="'fast'"), nr.using_algorithm("fast"):
        pass
    assert (nr.get_backend(), nr.get_algorithm()) == before


def test_all_who_watch_are_told_in_the_order_in_which_they_came():
    told = []

    def first(*what):
        told.append("first")

    def second(*what):
        told.append("second")

    with nn.watching(first), nn.watching(second):
        nn.ReLU()(np.ones(3))
    assert told == ["first", "second"]


def test_ctrl_c_at_any_moment_leaves_no_block_open():
    switch = Switch("switch", "rest")

    def blocks():
        with switch.set_to("outer"):
            with switch.set_to("inner"):
                pass
            assert switch.get() == "outer"

    interrupts = 0
    for caught in moments(blocks, ctrl_c, "_switches.py", "contextlib.py"):
        interrupts += caught is not None
        del caught
        if switch.all():
            gc.collect()  # a block that was cut off as it began to end, ends now
        assert switch.get() == "rest" and switch.all() == ()
    assert interrupts > 20
