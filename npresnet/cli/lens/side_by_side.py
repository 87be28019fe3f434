"""An instrument on one network after another, and one picture of them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from npresnet.cli.busy import busy
from npresnet.cli.lens.output import Destination, Folder, SeveralFiles, show

if TYPE_CHECKING:
    from npresnet.cli.lens.probe import Probe
    from npresnet.lens.shared.passes import Progress
    from npresnet.plots.style import Figure


def look_at(
    name: str,
    probes: Sequence[Probe],
    instrument: Callable[[Probe, Progress | None], Any],
    out: Destination,
    as_json: bool,
    draw: Callable[..., Figure] | None = None,
) -> None:
    """Run an instrument with a bar for each network; print, write and draw results.

    Parameters
    ----------
    name : str
        Of the instrument: files are called after it and the networks.
    probes : sequence of Probe
        Networks with their images.
    instrument : callable
        ``instrument(probe, progress)`` returns a Result that can be drawn beside
        others.
    out, as_json
        The options of the same names.
    draw : callable, optional
        ``draw(result, others)``; by default ``result.plot(beside=others)``.
    """
    files = SeveralFiles(name, [one.label for one in probes])
    folder = Folder(out)
    results = []
    for one, label in zip(probes, files.labels, strict=True):
        with busy(label) as progress:
            result = instrument(one, progress)
        results.append(({"model": one.name, "dataset": one.dataset}, result))
    show(results, as_json)
    first, *others = [result for _, result in results]

    def picture() -> Figure:
        return draw(first, others) if draw else first.plot(beside=others)

    files.save(folder, [first, *others], picture)
