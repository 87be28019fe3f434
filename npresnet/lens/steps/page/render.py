"""Put the page together: steps become data and pictures, and the template gets them."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import npresnet
from npresnet import _pages
from npresnet.lens.shared.cached_arrays import address
from npresnet.lens.shared.passes import batch_note, norm
from npresnet.lens.steps.facts import StepFacts
from npresnet.lens.steps.page.diagram import overview, unit_diagram
from npresnet.lens.steps.page.units import label, units
from npresnet.lens.steps.text import describe_step, duration, memory, remark

if TYPE_CHECKING:
    from npresnet.lens.steps.result import Steps

Array = NDArray[np.floating[Any]]

# All pictures together, in pixels; a pixel takes about a byte. The longer the way, the
# fewer channels are shown of each map.
_PIXELS = 3_000_000
_PIXELS_OF_ONE = 16_384
_HEIGHT = 960  # of the frame in a notebook, in pixels


class Widget:
    """The page in a frame, for a notebook.

    The frame holds the whole page: it needs no kernel, and it keeps its keys and its
    style to itself.

    Parameters
    ----------
    page : str
        An HTML document.
    """

    def __init__(self, page: str) -> None:
        self.page = page

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(self.page)}" sandbox="allow-scripts" '
            'title="The backward pass, step by step" '
            f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return (
            f"<the stepper's page, {len(self.page) / 2**20:.1f} MiB: shown by a "
            "notebook; steps.save('steps.html') writes it to a file>"
        )


def render(steps: Steps) -> str:
    """Return the page of some steps, as one HTML document that loads nothing."""
    if not len(steps):
        raise ValueError("there are no steps to show")
    parts = units(steps.steps)
    gallery = _Gallery(len(steps))
    formulas = _Formulas()
    data = [
        _step_data(step, number, gallery, formulas)
        for number, unit in enumerate(parts)
        for step in unit.steps
    ]
    diagrams = [
        unit_diagram(
            unit,
            f"from {parts[i - 1].name}" if i else "",
            f"to {parts[i + 1].name}" if i + 1 < len(parts) else "to the images",
        )
        for i, unit in enumerate(parts)
    ]
    note = batch_note(steps.images, steps.training)
    return _pages.render(
        "npresnet.lens.steps.page",
        title=f"{steps.network}: the backward pass, step by step",
        network=steps.network,
        facts=f"{note}; loss {steps.loss:.4f} nats; {len(steps)} steps",
        # What is put in unescaped is made here, of our own words, numbers and paths.
        data=_script(
            {"steps": data, "formulas": formulas.found, "pictures": gallery.pictures}
        ),
        overview=_pages.markup(overview(parts)),
        diagrams=[_pages.markup(diagram) for diagram in diagrams],
        table=_pages.markup(steps.table().html()),
        groups=[
            (unit.name, [(step.number, _name(step)) for step in unit.steps])
            for unit in parts
        ],
        version=npresnet.__version__,
    )


def card(step: StepFacts) -> str:
    """Return a single step for a notebook: in words, with its formula."""
    words = html.escape(describe_step(step).replace(f"   {step.formula}\n", ""))
    return f"<div>{_mathml(step.formula)}<pre>{words}</pre></div>"


def _script(data: Any) -> Any:
    """Write data for a script element: nothing in it may end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return _pages.markup(text.replace("<", "\\u003c"))


def _name(step: StepFacts) -> str:
    return step.operation if step.operation in ("addition", "fork") else label(step)


class _Formulas:
    """Each formula once, as MathML."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, latex: str) -> int:
        if latex not in self._places:
            self._places[latex] = len(self.found)
            self.found.append(_mathml(latex))
        return self._places[latex]


@cache
def _mathml(latex: str) -> str:
    import latex2mathml.converter

    text: str = latex2mathml.converter.convert(latex, display="block")
    return text.replace("<math ", f'<math alttext="{html.escape(latex)}" ', 1)


class _Gallery:
    """Each picture once, although one step's outgoing gradient is the next one's."""

    def __init__(self, steps: int) -> None:
        self.pictures: list[dict[str, Any]] = []
        self._pixels = min(_PIXELS_OF_ONE, _PIXELS // (2 * steps))
        self._places: dict[tuple[Any, ...], int] = {}

    def place(self, array: Array, largest: float | None) -> int:
        from npresnet.lens.steps.page.thumbnails import thumbnails

        key = (address(array), array.shape, largest)
        if key not in self._places:
            side = 48 if self._pixels > 4000 else 24
            drawn = thumbnails(array, pixels=self._pixels, side=side, largest=largest)
            self._places[key] = len(self.pictures)
            self.pictures.append(
                {
                    "uri": drawn.uri,
                    "width": drawn.width,
                    "height": drawn.height,
                    "largest": f"{drawn.largest:.2g}",
                    "signed": drawn.signed,
                    "note": drawn.note,
                }
            )
        return self._places[key]


def _step_data(
    step: StepFacts, unit: int, gallery: _Gallery, formulas: _Formulas
) -> dict[str, Any]:
    details = step.details
    where = "on the trunk"
    if step.way != "trunk":
        where = f"on the {step.way} of {step.block}"
    return {
        "number": step.number,
        "path": step.path,
        "unit": unit,
        "way": step.way,
        "where": where,
        "title": details.title,
        "words": details.words,
        "remark": remark(step),
        "code": details.code,
        "derivation": details.derivation,
        "forward": formulas.place(details.forward),
        "backward": formulas.place(details.backward),
        "parameters": [
            {
                "name": name,
                "formula": formulas.place(details.parameters[name])
                if name in details.parameters
                else None,
                "shape": _shape(grad),
                "norm": f"{norm(grad):.3e}",
            }
            for name, grad in step.parameter_grads.items()
        ],
        "seconds": duration(step.seconds),
        "memory": memory(step.cache_bytes),
        "frames": _frames(step, gallery),
    }


def _frames(step: StepFacts, gallery: _Gallery) -> dict[str, list[dict[str, Any]]]:
    """Return the pictures of a step's four corners, each with its words."""
    from npresnet.lens.steps.page.thumbnails import largest_of

    def frames(
        arrays: Sequence[Any], names: Sequence[str], largest: float | None = None
    ) -> list[dict[str, Any]]:
        first = arrays[0]
        if len(arrays) > 1 and all(_equal(first, other) for other in arrays[1:]):
            return [
                _frame(first, f"{names[0].split(',')[0]}, both ways", gallery, largest)
            ]
        return [
            _frame(array, name, gallery, largest)
            for array, name in zip(arrays, names, strict=True)
        ]

    two = ["branch", "shortcut"]
    gradient = "\N{PARTIAL DIFFERENTIAL}\N{SCRIPT SMALL L}/\N{PARTIAL DIFFERENTIAL}"
    inputs = [array for array in step.inputs if array.dtype.kind == "f"]
    forked = len(step.outputs) > 1
    joined = len(inputs) > 1
    x = "z, logits" if step.operation == "cross_entropy" else "x, input"
    scale = None
    if forked:  # two pictures that add up to a third, in the same shades
        scale = max(
            largest_of(grad[:1]) for grad in step.grad_outputs + step.grad_inputs
        )
    outputs = [f"x, to the {way}" for way in two] if forked else ["y, output"]
    if step.operation == "cross_entropy":
        outputs = ["\N{SCRIPT SMALL L}, loss in nats"]
    incoming = [f"g, from the {way}" for way in two] if forked else ["g, incoming"]
    outgoing = [f"g, to the {way}" for way in two]
    return {
        "output": frames(step.outputs, outputs),
        "input": frames(inputs, ["F(x), branch", "S(x), shortcut"] if joined else [x]),
        "incoming": frames(step.grad_outputs, incoming, scale),
        "outgoing": frames(
            step.grad_inputs,
            outgoing if joined else [f"{gradient}{x[0]}, outgoing"],
            scale,
        ),
    }


def _frame(
    array: Any, name: str, gallery: _Gallery, largest: float | None
) -> dict[str, Any]:
    array = np.asarray(array)
    if array.ndim < 2:
        return {"name": name, "value": f"{float(array):.4g}"}
    return {
        "name": name,
        "shape": _shape(array),
        "norm": f"{norm(array):.3e}",
        "picture": gallery.place(array, largest),
    }


def _equal(one: Array, other: Array) -> bool:
    return one is other or (
        one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
    )


def _shape(array: Array) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, array.shape))
