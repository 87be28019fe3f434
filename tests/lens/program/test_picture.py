"""A program's memory is drawn as its plan draws it; tests/plots has the picture."""

import pytest

import npresnet as nr
from npresnet.lens.program.picture import memory

pytestmark = pytest.mark.drawn  # pictures are what is tested here


def rectangles(figure):
    """List the corners of all that is drawn in the arena, by kind."""
    return {
        one.get_gid(): [path.vertices.tolist() for path in one.get_paths()]
        for one in figure.axes[0].collections
    }


def test_the_picture_is_that_of_the_plan(tmp_path):
    model = nr.models.resnet8(seed=0)
    found = nr.lens.program(model, (3, 32, 32), batch=8)
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
    step = nr.compile(model, nr.nn.CrossEntropyLoss(), optimizer)
    drawn = rectangles(step.lay_out((8, 3, 32, 32)).plot())
    assert rectangles(found.plot()) == drawn == rectangles(memory(found))
    assert sum(map(len, drawn.values())) == len(found.areas)
    found.save(tmp_path / "program.png")
    assert (tmp_path / "program.png").stat().st_size > 10_000


def test_a_program_without_an_arena_is_refused():
    found = nr.lens.program(nr.nn.Conv2d(1, 1, 1), (1, 1, 2), batch=1)
    assert not found.areas
    with pytest.raises(ValueError, match="at least one area"):
        found.plot()
