"""The backward pass as a sequence of steps."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.cached_arrays import address
from npresnet.lens.shared.passes import batch_note
from npresnet.lens.shared.result import Result, plain
from npresnet.lens.steps.facts import StepRow
from npresnet.lens.steps.step import Step
from npresnet.lens.steps.verdict import StepChecks

if TYPE_CHECKING:
    from npresnet.lens.steps.page import Widget
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, repr=False, eq=False)
class Steps(Result, Sequence[Step]):
    """A backward pass, recorded: steps from the loss to the images.

    A sequence: ``len(steps)``, ``steps[0]``, ``steps[3:7]``, ``for step in steps``, and
    ``reversed(steps)`` for the way of the forward pass. ``steps["layer2.0"]`` are the
    steps inside that module, ``steps.find("layer2.0")`` is the first of them.

    Attributes
    ----------
    steps : tuple of Step
        From the loss to the images.
    network : str
        What was looked at, as in ``"Residual net, 20 layers"``.
    images : int
        N, the size of the batch.
    training : bool
        Whether batch norm used the batch's statistics.
    loss : float
        Mean cross entropy, in nats.
    cache_bytes : int
        What the forward pass kept, layer by layer; arrays that two operations share
        count once, parameters do not.
    """

    ENDINGS: ClassVar = (*Result.ENDINGS, ".html")

    steps: tuple[Step, ...]
    network: str
    images: int
    training: bool
    loss: float
    cache_bytes: int

    @property
    def rows(self) -> tuple[StepRow, ...]:  # type: ignore[override]
        """The steps in figures."""
        return tuple(step.row() for step in self.steps)

    @property
    def nbytes(self) -> int:
        """Memory of all that is recorded here; what steps share counts once."""
        sizes: dict[int, int] = {}
        for step in self.steps:
            groups = (step.inputs, step.outputs, step.grad_outputs, step.grad_inputs)
            arrays = [array for group in groups for array in group]
            arrays += step.parameter_grads.values()
            if step.module is not None:
                arrays += [parameter.data for parameter in step.module.parameters()]
            for array in arrays:
                sizes[address(array)] = array.nbytes
        return sum(sizes.values())

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> Step: ...

    @overload
    def __getitem__(self, index: slice | str) -> Steps: ...

    def __getitem__(self, index: int | slice | str) -> Step | Steps:
        if isinstance(index, str):
            return self._with(self.steps[i] for i in self._positions(index))
        if isinstance(index, slice):
            return self._with(self.steps[index])
        return self.steps[index]

    def find(self, path: str) -> Step:
        """Return the first step, seen from the loss, inside a module.

        Parameters
        ----------
        path : str
            As in ``layer2.0`` or ``layer2.0.conv1``; also ``loss`` and ``flatten``.

        Raises
        ------
        KeyError
            If there is none.
        """
        return self.steps[self._positions(path)[0]]

    def check(self, *, seed: int = 0) -> StepChecks:
        """Check every step; see `Step.check`.

        Returns
        -------
        StepChecks
            A row per step; it counts as true if all have passed.
        """
        return StepChecks(tuple(step.check(seed=seed) for step in self.steps))

    def _positions(self, path: str) -> list[int]:
        inside = [
            i
            for i, step in enumerate(self.steps)
            if path in (step.path, "") or step.path.startswith(f"{path}.")
        ]
        if not inside:
            known = {
                ".".join(parts[: i + 1])
                for parts in (step.path.split(".") for step in self.steps)
                for i in range(len(parts))
            }
            near = difflib.get_close_matches(path, sorted(known), n=3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise KeyError(f"no step is inside a module called {path!r}{hint}")
        return inside

    def _with(self, steps: Any) -> Steps:
        facts = (self.network, self.images, self.training, self.loss, self.cache_bytes)
        return Steps(tuple(steps), *facts)

    # ---------------------------------------------------------- printing, saving

    def summary(self) -> str:
        """Say what was recorded, and what it takes."""
        ends = ""
        if self.steps:
            rows = self.rows
            ends = (
                f"\nnorms: |incoming| {rows[0].grad_output_norm:.3e} at the first of "
                f"these steps, |outgoing| {rows[-1].grad_input_norm:.3e} at the last"
            )
        return (
            f"{self.network}, {batch_note(self.images, self.training)}: loss "
            f"{self.loss:.4f} nats{ends}\n"
            f"{len(self)} steps; the forward pass kept {_mebibytes(self.cache_bytes)}; "
            f"recorded here: {_mebibytes(self.nbytes)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays as plain data."""
        return {
            "network": self.network,
            "images": self.images,
            "training": self.training,
            "loss": plain(self.loss),
            "cache_bytes": self.cache_bytes,
            "recorded_bytes": self.nbytes,
            "rows": [step.to_dict() for step in self.steps],
        }

    def plot(self) -> Figure:
        """Draw the norm of the gradient over the steps."""
        from npresnet.lens.steps.picture import gradient_steps

        return gradient_steps(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the steps to a file, whole or not at all.

        Parameters
        ----------
        path : path
            Its ending decides: ``.html`` for the page with slider and pictures, which
            needs neither a kernel nor a network; otherwise as for every `Result`.
        """
        super().save(path)

    def content(self, ending: str) -> bytes:
        """Return what `save` writes into a file whose name ends so."""
        return self.html().encode() if ending == ".html" else super().content(ending)

    def html(self) -> str:
        """Return the page with slider and pictures, as one HTML document."""
        from npresnet.lens.steps.page import render

        return render(self)

    def widget(self) -> Widget:
        """Show the page in a notebook: slider, buttons, arrow keys.

        It goes on working without a kernel, and in an exported notebook.
        """
        from npresnet.lens.steps.page import Widget

        return Widget(self.html())


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.2f} MiB"
