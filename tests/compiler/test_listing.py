"""Programs print: each line once, with its shapes, its place and what it costs."""

import re

import numpy as np
import pytest

import npresnet as nr
from npresnet.compiler import memory_plan
from npresnet.compiler.account import KEPT, KINDS, SCRATCH, account, layered_buffers
from npresnet.compiler.listing import listing, totals

MIB = 2**20


def laid_out(model, shape):
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
    return nr.compile(model, nr.nn.CrossEntropyLoss(), optimizer).lay_out(shape)


def small(*layers):
    return nr.nn.Sequential(*layers, nr.nn.AdaptiveAvgPool2d(1))


@pytest.fixture(scope="module")
def resnet20():
    return laid_out(nr.models.create("resnet20", num_classes=10), (128, 3, 32, 32))


@pytest.fixture(scope="module")
def resnet18():
    return laid_out(nr.models.create("resnet18", num_classes=1000), (2, 3, 64, 64))


def rows(text):
    """Map the number of each listed line to its row."""
    found = re.findall(r"^ *(\d+) .*$", text, re.M)
    lines = [row for row in text.splitlines() if re.match(r" *\d+  \w", row)]
    assert len(found) == len(lines)
    return {int(row.split()[0]): row for row in lines}


# --------------------------------------------------------------------------- rows


def test_a_program_of_resnet20_is_read_in_120_columns(resnet20):
    assert max(map(len, listing(resnet20).splitlines())) <= 120


def test_sections_stand_in_the_order_of_a_step(resnet20):
    optimizer = nr.optim.SGD([nr.nn.Parameter(np.zeros(1))], lr=0.1)
    text = listing(resnet20, optimizer)
    places = [
        text.index(f"\n{' ' * 8}{heading}")
        for heading in ("forward: ", "running statistics: ", "backward: ", "update\n")
    ]
    assert places == sorted(places)
    assert re.search(r"\n +SGD +59 parameters +1\.03\n", text)


def test_a_row_says_what_a_line_reads_and_writes_and_where(resnet20):
    listed = rows(listing(resnet20))
    line = next(
        number
        for number, one in enumerate(resnet20.lines)
        if one.layers == ("layer2.0.conv1",)
    )
    place = resnet20.places[resnet20.lines[line].writes[0]]
    N, K, OH, OW, C = 128, 32, 16, 16, 16
    size = 4 * N * K * OH * OW
    moved = 4 * N * C * 32 * 32 + size + 4 * K * C * 9
    expected = [
        *(str(line), "conv2d", "layer2.0.conv1", "16x32x32", "->", "32x16x16"),
        *(f"{place.offset / MIB:.2f}", f"{size / MIB:.2f}", f"{moved / MIB:.2f}"),
        f"{N * K * OH * OW * C * 9 / 1e6:.1f}",
    ]
    assert listed[line].split() == expected


def test_shapes_of_weights_are_whole_whatever_the_batch():
    model = small(nr.nn.Conv2d(3, 16, 1), nr.nn.Conv2d(16, 4, 3, bias=False))
    text = listing(laid_out(model, (4, 3, 8, 8)))
    assert re.search(r" conv2d +1 +16x8x8 -> 4x6x6 ", text)
    assert re.search(r" conv2d_grad_weight +1 +4x6x6 -> 4x16x3x3\s", text)


def test_layers_in_one_line_are_named_together(resnet20):
    text = listing(resnet20)
    assert re.search(r" batch_norm_relu +layer1\.0\.bn1 relu ", text)
    assert re.search(r" batch_norm_relu +layer1\.0\.bn2 \+ relu ", text)


def test_lines_that_launch_nothing_have_no_row(resnet20):
    listed = rows(listing(resnet20))
    silent = {
        number
        for number, line in enumerate(resnet20.lines)
        if line.operation in ("view", "copy")
    }
    assert silent
    assert not silent & set(listed)
    statistics = set(range(len(resnet20.source.forward)))
    assert statistics - silent <= set(listed)


def test_neighbours_that_do_the_same_are_one_row(resnet20):
    (row,) = [
        row
        for row in listing(resnet20).splitlines()
        if "move_running_statistics" in row
    ]
    first = len(resnet20.source.forward)
    assert row.split()[:4] == [
        f"{first}-{first + 18}",
        "move_running_statistics",
        "19",
        "layers",
    ]


def test_neighbours_that_write_something_have_rows_of_their_own():
    convs = [nr.nn.Conv2d(3, 3, 1, bias=False) for _ in range(4)]
    listed = rows(listing(laid_out(small(*convs), (2, 3, 8, 8))))
    assert [listed[number].split()[1:3] for number in range(4)] == [
        ["conv2d", str(layer)] for layer in range(4)
    ]


def test_what_else_a_line_leaves_in_the_arena_stands_below(resnet18):
    text = listing(resnet18)
    assert re.search(
        r" max_pool2d +maxpool +64x32x32 -> 64x16x16 .*\n"
        r" +maxpool: winners +-> 64x16x16 +[\d.]+ +0\.12\n",
        text,
    )


def test_a_place_at_the_begin_of_the_arena_is_shown():
    text = listing(laid_out(small(nr.nn.Conv2d(3, 8, 3)), (16, 3, 32, 32)))
    assert re.search(r" conv2d +0 +3x32x32 -> 8x30x30 +0\.00 +0\.44 ", text)


def test_a_model_without_statistics_or_shapes_of_images_is_listed():
    model = nr.nn.Sequential(nr.nn.Linear(5, 3), nr.nn.ReLU())
    text = listing(laid_out(model, (4, 5)))
    assert "running statistics" not in text
    assert re.search(r" linear +0 +5 -> 3", text)
    assert "4x5, float32" in text


# ------------------------------------------------------------------------- totals


def test_totals_are_the_sums_of_the_lines(resnet20):
    program = account(resnet20)
    cost = nr.lens.cost(nr.models.create("resnet20", num_classes=10), (3, 32, 32))
    # Each product three times, but no gradient of the images.
    images = 128 * 32 * 32 * 16 * 3 * 9
    assert program.macs == 3 * 128 * cost.macs - images
    assert program.lines == sum(
        line.operation not in ("view", "copy") for line in resnet20.lines
    )
    first, second, *_ = totals(program)
    assert f"{program.lines} lines, {program.macs:,} MACs" in first
    assert f"{program.moved / MIB:,.0f} MiB moved" in first
    assert f"arena of {resnet20.size / MIB:,.1f} MiB" in second


def test_headings_add_up_what_is_below_them(resnet20):
    program = account(resnet20)
    text = listing(resnet20)
    for section in program.sections:
        entries = program.entries[section.first : section.end]
        (row,) = re.findall(rf"^ +{section.name}: (.*)$", text, re.M)
        assert row.split()[:2] == [
            f"{sum(entry.launches for entry in entries)}",
            "lines",
        ]
        if section.name != "running statistics":
            assert row.split()[2:] == [
                f"{sum(entry.moved for entry in entries) / MIB:,.2f}",
                f"{sum(entry.macs for entry in entries) / 1e6:,.1f}",
            ]


def test_what_is_needed_is_counted_as_the_plan_does(resnet18):
    program = account(resnet18)
    assert program.most_at_once == memory_plan.most_at_once(resnet18.buffers)
    for line in (0, 7, len(resnet18.lines) - 1):
        assert program.living[line] == sum(memory_plan.living(resnet18.buffers, line))
    assert (
        program.most_at_once
        <= program.arena
        <= program.separate + 64 * len(program.areas)
    )


def test_every_area_has_a_kind(resnet18):
    program = account(resnet18)
    assert {area.kind for area in program.areas} == set(KINDS)
    back = program.sections[2].first
    for area in program.areas:
        assert area.first <= area.last < len(program.entries)
        if area.kind == SCRATCH:
            assert area.first == area.last
        assert (area.kind == KEPT) <= (area.first < back <= area.last)
    kept = {area.name: area.kind for area in program.areas if area.kind == KEPT}
    assert {"x", "conv1", "maxpool", "maxpool: winners"} <= set(kept)


def test_scratch_is_that_of_the_line_that_asks_for_it(resnet18):
    program = account(resnet18)
    assert sum(entry.scratch for entry in program.entries) == sum(
        area.bytes for area in program.areas if area.kind == SCRATCH
    )


# ------------------------------------------------------- the layers, one by one


def test_layers_need_what_a_hand_counts():
    """x -> conv -> norm -> relu, and back: the arrays at every call."""
    model = small(nr.nn.Conv2d(3, 4, 1), nr.nn.BatchNorm2d(4), nr.nn.ReLU())
    plan = laid_out(model, (2, 3, 8, 8))
    x, full, mask = 4 * 2 * 3 * 64, 4 * 2 * 4 * 64, 2 * 4 * 64 // 8
    pooled = 4 * 2 * 4
    living = [sum(memory_plan.living(layered_buffers(plan), call)) for call in range(8)]
    assert living == [
        x + full,  # conv keeps x
        x + 2 * full,  # batch norm keeps what it is given
        x + 3 * full + mask,  # ReLU a bit for each element
        x + 2 * full + mask + pooled,  # the pool sizes only
        x + 2 * full + mask + pooled,  # and back: the pool's gradient
        x + 3 * full + mask,
        x + 3 * full,  # batch norm, which has what it kept
        x + full,  # no gradient of the images
    ]


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_layers_keep_what_the_cost_says_they_keep(shortcut):
    model = nr.models.create("resnet14", num_classes=10, shortcut=shortcut)
    plan = laid_out(model, (64, 3, 32, 32))
    trace = plan.source.trace
    there = len(trace.forward)
    kept = sum(
        one.bytes
        for one in layered_buffers(plan)
        if one.first < there <= one.last and one.first != there
    )
    cost = nr.lens.cost(model, (3, 32, 32))
    vectors = sum(
        2 * 4 * module.num_features
        for module in model.modules()
        if isinstance(module, nr.nn.BatchNorm2d)
    )
    assert kept == 64 * (cost.kept_bytes - vectors)


def test_layers_are_counted_at_the_lines_that_do_their_work(resnet20):
    program = account(resnet20)
    living = memory_plan.most_at_once(layered_buffers(resnet20))
    assert len(program.layered) == len(program.entries)
    assert program.layered_most == max(program.layered) == living
