"""The picture of a backward pass: a line for each way, on a log scale."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.steps.picture import gradient_steps

pytestmark = pytest.mark.drawn  # pictures are what is tested here


def test_the_norms_are_drawn_by_way(rng):
    x = rng.standard_normal((2, 3, 8, 8), dtype=np.float32)
    steps = nr.lens.steps(nr.models.resnet8(), x, np.array([1, 2]))["layer1.0"]
    (axes,) = gradient_steps(steps).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["trunk", "branch", "shortcut"]
    branch = [step for step in steps if step.way == "branch"]
    assert axes.lines[1].get_xdata().tolist() == [step.number for step in branch]
    norms = [step.row().grad_input_norm for step in branch]
    assert axes.lines[1].get_ydata().tolist() == norms
    assert axes.get_yscale() == "log"
    with pytest.raises(ValueError, match="none to draw"):
        gradient_steps(steps[:0])
