"""What a page of the course shows: pictures with captions, sliders, real source."""

from __future__ import annotations

import ast
import base64
import inspect
import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import npresnet

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

_DPI = 96
_PNG, _WIDGET = "image/png", "application/vnd.jupyter.widget-view+json"


class Code:
    """Python source that a notebook shows in colour, with a line above it.

    Attributes
    ----------
    text : str
        The source.
    note : str
        What it is, or why.
    """

    def __init__(self, text: str, note: str = "") -> None:
        self.text = text
        self.note = note  # in Markdown

    def __repr__(self) -> str:
        comment = textwrap.fill(
            self.note.replace("`", ""), 88, initial_indent="# ", subsequent_indent="# "
        )
        return f"{comment}\n{self.text}" if self.note else self.text

    def _repr_markdown_(self) -> str:
        return f"{self.note}\n\n```python\n{self.text}\n```"


def source(thing: Any, *, docstring: bool = False) -> Code:
    """Show the package's real source of a function or class.

    Parameters
    ----------
    thing : function or class
        What to show.
    docstring : bool
        Whether to show its docstring, too.

    Returns
    -------
    Code
        With the file it stands in.

    Raises
    ------
    TypeError
        If it has no source in Python.

    Examples
    --------
    >>> from npresnet.backend import reference
    >>> source(reference.linear)
    # npresnet/backend/reference.py
    def linear(x: Array, weight: Array) -> Array:
        return x @ weight.T
    """
    thing = inspect.unwrap(thing)
    text = textwrap.dedent(inspect.getsource(thing)).rstrip()
    path = Path(inspect.getsourcefile(thing) or "")
    package = Path(npresnet.__file__).parent
    inside = path.is_relative_to(package)
    note = f"`{path.relative_to(package.parent).as_posix()}`" if inside else ""
    return Code(text if docstring else _without_docstring(text), note)


def show(figure: Figure, caption: str) -> None:
    """Show a figure and, under it, what to see in it.

    Parameters
    ----------
    figure : Figure
        Made by `npresnet.plots` or in its style.
    caption : str
        Markdown: what to look at, and what it means.
    """
    _display({_PNG: _base64(_png(figure))})
    _display({"text/markdown": f"*{caption}*"})


def sliders(
    draw: Callable[..., Figure],
    caption: str,
    *,
    start: dict[str, Any] | None = None,
    **choices: Sequence[Any],
) -> None:
    """Show a figure that sliders change, or a still one where there are none.

    On the web, and without ipywidgets, the figure at the start is shown.

    Parameters
    ----------
    draw : callable
        Returns a figure, given one value for each name in `choices`.
    caption : str
        Markdown: what to look at, and what to try.
    start : dict, optional
        Where sliders stand at first; by default at their first values.
    **choices : sequence
        The values that a slider steps through, by name.

    Raises
    ------
    ValueError
        If there is nothing to choose from, or `start` is no choice.
    """
    if not choices or not all(len(values) for values in choices.values()):
        raise ValueError(f"sliders: expected values to choose from, got {choices}")
    now = {name: values[0] for name, values in choices.items()} | (start or {})
    for name, value in now.items():
        if value not in choices.get(name, ()):
            raise ValueError(
                f"start: expected values among the choices, got {name}={value!r}"
            )
    still = _png(draw(**now))
    try:
        import ipywidgets
    except ImportError:
        _display({_PNG: _base64(still)})
    else:
        picture = ipywidgets.Image(value=still, format="png")
        bars = []
        for name, values in choices.items():
            bar = ipywidgets.SelectionSlider(
                options=list(values), value=now[name], description=name
            )

            def move(change: Any, name: str = name) -> None:
                now[name] = change["new"]
                picture.value = _png(draw(**now))

            bar.observe(move, names="value")
            bars.append(bar)
        # One output in two forms: a live page shows the widget, others the picture.
        box = ipywidgets.VBox([*bars, picture])
        live = box._repr_mimebundle_()[_WIDGET]
        _display({_WIDGET: live, _PNG: _base64(still)})
    _display({"text/markdown": f"*{caption}*"})


def _display(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display({"text/plain": "", **bundle}, raw=True)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _without_docstring(text: str) -> str:
    body = ast.parse(text).body[0]
    assert isinstance(body, ast.FunctionDef | ast.ClassDef)
    first = body.body[0]
    if ast.get_docstring(body) is None or first.end_lineno is None:
        return text
    lines = text.splitlines()
    rest = lines[first.end_lineno :]
    while rest and not rest[0].strip():
        rest = rest[1:]
    return "\n".join(lines[: first.lineno - 1] + rest)
