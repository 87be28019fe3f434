"""Places in an arena: what lives at once never overlaps, and little is wasted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet.compiler.memory_plan import (
    ALIGNMENT,
    Buffer,
    living,
    most_at_once,
    place,
)


def buffer(size, first, last):
    return Buffer("", size, first, last)


def padded(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def overlapping(buffers):
    """List the pairs that live at one line and have a byte in common."""
    return [
        (one, other)
        for i, one in enumerate(buffers)
        for other in buffers[:i]
        if one.first <= other.last
        and other.first <= one.last
        and one.offset < other.offset + other.bytes
        and other.offset < one.offset + one.bytes
    ]


lives = st.builds(
    lambda size, first, lines: buffer(size, first, first + lines),
    st.integers(1, 5000),
    st.integers(0, 30),
    st.integers(0, 12),
)


@given(st.lists(lives, max_size=60))
def test_what_lives_at_once_does_not_overlap(buffers):
    place(buffers)
    assert overlapping(buffers) == []


@given(st.lists(lives, max_size=60))
def test_the_arena_is_between_what_is_needed_at_once_and_the_sum(buffers):
    size = place(buffers)
    assert most_at_once(buffers) <= size <= sum(padded(one.bytes) for one in buffers)
    assert size == max((one.end for one in buffers), default=0)


@given(st.lists(lives, max_size=60))
def test_every_place_begins_at_a_line_of_the_cache(buffers):
    place(buffers)
    assert all(one.offset % ALIGNMENT == 0 for one in buffers)


@given(st.lists(lives, max_size=60))
def test_placing_once_more_changes_nothing(buffers):
    size = place(buffers)
    offsets = [one.offset for one in buffers]
    assert place(buffers) == size
    assert [one.offset for one in buffers] == offsets


@given(st.lists(lives, min_size=1, max_size=60))
def test_most_at_once_is_found_among_all_lines(buffers):
    lines = range(max(one.last for one in buffers) + 1)
    assert most_at_once(buffers) == max(sum(living(buffers, line)) for line in lines)


def test_one_behind_the_other_share_a_place():
    first, second = buffer(640, 0, 3), buffer(640, 4, 9)
    assert place([first, second]) == 640
    assert first.offset == second.offset == 0


def test_both_ends_are_included():
    first, second = buffer(640, 0, 4), buffer(640, 4, 9)
    assert place([first, second]) == 1280
    assert sorted((first.offset, second.offset)) == [0, 640]


def test_a_small_one_fits_between_two():
    ends = buffer(192, 0, 9), buffer(128, 0, 9)
    large = buffer(256, 0, 4)
    small = buffer(64, 6, 8)
    assert place([*ends, large, small]) == 576
    assert [one.offset for one in (large, *ends)] == [0, 256, 448]
    assert small.offset == 0  # where the large one was


def test_a_gap_is_as_large_as_what_it_is_given_to():
    below, above = buffer(256, 0, 1), buffer(192, 0, 9)
    too_large, fits = buffer(320, 5, 6), buffer(128, 5, 6)
    assert place([below, above, too_large, fits]) == 192 + 320 + 128
    assert [one.offset for one in (too_large, below)] == [0, 0]
    assert above.offset == 320
    assert fits.offset == 512


@pytest.mark.parametrize(("size", "end"), [(1, 64), (64, 64), (65, 128)])
def test_sizes_are_rounded_up_to_lines_of_the_cache(size, end):
    one = buffer(size, 0, 0)
    assert place([one]) == one.end == end


def test_nothing_takes_nothing():
    assert place([]) == most_at_once([]) == 0
