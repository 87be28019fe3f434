"""The memory of a program, drawn: a rectangle for each array, to scale."""

import numpy as np
import pytest

from npresnet.plots import style
from npresnet.plots.program_memory import program_memory

pytestmark = pytest.mark.drawn  # pictures are what is tested here

MIB = 2**20
KINDS = "kept", "passing", "gradient", "scratch"
AREAS = [
    ("a", "kept", 0, 5, 0, 4 * MIB),
    ("b", "kept", 1, 4, 4 * MIB, 2 * MIB),
    ("c", "passing", 1, 2, 6 * MIB, 1 * MIB),
    ("d", "gradient", 3, 6, 6 * MIB, 3 * MIB),
    ("e", "scratch", 3, 3, 9 * MIB, MIB // 2),
]
SECTIONS = [("forward", 0, 3), ("running statistics", 3, 3), ("backward", 3, 7)]
LAYERED = [size * MIB for size in (4, 8, 8, 9, 9, 7, 3)]
ARENA = 10 * MIB


def draw(areas=AREAS, **options):
    given = {"sections": SECTIONS, "arena": ARENA, "layered": LAYERED}
    given |= {"kinds": KINDS, "subject": "a program"}
    return program_memory(areas, **{**given, **options})


def named(axes, name):
    found = [one for one in axes.collections if one.get_gid() == name]
    return found[0] if found else None


def boxes(axes, kind):
    """Return (left, right, bottom, top) of every rectangle of a kind."""
    return [
        (*path.vertices[:, 0][[0, 1]], *path.vertices[:, 1][[0, 2]])
        for path in named(axes, kind).get_paths()
    ]


def test_every_array_is_a_rectangle_from_its_first_line_to_its_last():
    places, _ = draw().axes
    for kind in KINDS:
        assert boxes(places, kind) == [
            (first - 0.5, last + 0.5, offset, offset + size)
            for _, own, first, last, offset, size in AREAS
            if own == kind
        ]
    low, high = places.get_ylim()
    assert low == 0
    assert high >= ARENA


def test_kinds_differ_in_lightness_and_in_their_hatches():
    places, amounts = draw().axes
    for axes in (places, amounts):
        looks = [named(axes, kind) for kind in KINDS]
        assert len({one.get_hatch() for one in looks}) == len(KINDS)
        grey = [one.get_facecolor()[0][:3] @ [0.299, 0.587, 0.114] for one in looks]
        assert np.diff(np.sort(grey)).min() > 0.08


def test_both_axes_show_a_kind_in_the_same_way():
    places, amounts = draw().axes
    for kind in KINDS:
        above, below = named(places, kind), named(amounts, kind)
        assert above.get_hatch() == below.get_hatch()
        assert np.array_equal(above.get_facecolor(), below.get_facecolor())


def test_what_is_needed_is_stacked_line_by_line():
    _, amounts = draw().axes
    needed = [4, 7, 7, 9.5, 9, 7, 3]
    top = named(amounts, "gradient").get_datalim(amounts.transData).y1
    assert top == 9 * MIB
    assert named(amounts, "scratch").get_datalim(amounts.transData).y1 == 9.5 * MIB
    # The peak: a line through both axes, and a text that names it.
    assert max(needed) == 9.5
    for axes in draw().axes:
        assert any(list(one.get_xdata()) == [3, 3] for one in axes.lines)
    (text,) = [one.get_text() for one in amounts.texts]
    assert text == "line 3: 9.5 MiB"


def test_the_legend_says_what_the_amounts_are_compared_with():
    figure = draw()
    (legend,) = figure.legends
    assert [one.get_text() for one in legend.get_texts()] == [
        *KINDS,
        "layers one by one, without scratch: up to 9.0 MiB",
        "the arena: 10.0 MiB",
        "most at once, below which no plan can be: 9.5 MiB",
    ]


def test_layers_are_a_line_of_steps():
    _, amounts = draw().axes
    (steps,) = [one for one in amounts.patches if hasattr(one, "get_data")]
    values, edges, _ = steps.get_data()
    assert list(values) == LAYERED
    assert list(edges) == [line - 0.5 for line in range(8)]


def test_sections_with_room_are_named_and_empty_ones_are_not():
    places, _ = draw().axes
    assert [one.get_text() for one in places.texts] == ["forward", "backward"]


def test_a_section_without_room_is_named_below():
    sections = [("forward", 0, 50), ("running statistics", 50, 52), ("back", 52, 100)]
    places, amounts = draw(sections=sections, layered=[MIB] * 100).axes
    assert [one.get_text() for one in places.texts] == ["forward", "back"]
    assert amounts.get_xlabel() == "line of the program (shaded: running statistics)"


def test_ticks_stand_at_whole_numbers_of_mib():
    figure = draw()
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == [f"{round(at / MIB):,}" for at in axes.get_yticks()]
        assert len(set(labels)) == len(labels) >= 4


def test_a_kind_that_is_missing_is_left_out():
    places, amounts = draw(AREAS[:2]).axes
    assert named(places, "scratch") is named(amounts, "scratch") is None


def test_a_program_of_one_line_and_many_lines_can_be_drawn(tmp_path):
    one = [("a", "kept", 0, 0, 0, 10)]
    draw(one, sections=[("forward", 0, 1)], arena=64, layered=[10])
    many = [("a", "kept", i, i + 9, 64 * (i % 10), 64) for i in range(3000)]
    path = tmp_path / "many.png"
    layered = [640] * 3010
    draw(many, sections=[("forward", 0, 3010)], layered=layered, path=path)
    assert path.stat().st_size > 10_000


def test_the_picture_is_1280_pixels_wide_at_most(tmp_path):
    path = tmp_path / "memory.png"
    style.save(draw(), path)
    # The header of a PNG: width and height behind the first 16 bytes.
    width = int.from_bytes(path.read_bytes()[16:20], "big")
    assert 1200 < width <= 1280


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="at least one area"):
        draw([])
    with pytest.raises(ValueError, match=r"expected one of kept, .* got other"):
        draw([("a", "other", 0, 1, 0, 8)])
    with pytest.raises(ValueError, match="at most 4 kinds"):
        draw(kinds=(*KINDS, "fifth"))
