"""Running a notebook, and keeping of its outputs what the next run repeats."""

from __future__ import annotations

import copy
import os
import re
from typing import TYPE_CHECKING

from notebooks.make.pair import COURSE, ROOT, code_cells

if TYPE_CHECKING:
    from nbformat import NotebookNode

_SECONDS_PER_CELL = 240
_WIDGET = "application/vnd.jupyter.widget-view+json"


class NotRepeatable(Exception):
    """An output has no place in a committed notebook."""


def run(notebook: NotebookNode) -> NotebookNode:
    """Return a copy with fresh outputs.

    It computes with the digits, whatever data sets this machine has: pictures of
    CIFAR-10 do not go into the repository.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails, as one with a false claim does.
    NotRepeatable
        If a cell writes to standard error, or shows an address or a path of here.
    """
    from nbclient import NotebookClient

    fresh = copy.deepcopy(notebook)
    environment = {k: v for k, v in os.environ.items() if k != "NPRESNET_DATA_DIR"}
    path = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    client = NotebookClient(
        fresh,
        timeout=_SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        store_widget_state=False,
        resources={"metadata": {"path": str(COURSE)}},
    )
    client.execute(env=environment)
    for cell in code_cells(fresh):
        cell.execution_count = None
        cell.metadata.pop("execution", None)
        kept = [_kept(output, cell.source) for output in cell.outputs]
        cell.outputs = _joined(kept)
    return fresh


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Make one text of consecutive ones: how they are cut is chance."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if joined and joined[-1].output_type == output.output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _kept(output: NotebookNode, source: str) -> NotebookNode:
    where = f"in the cell that begins {source.strip().partition(chr(10))[0]!r}"
    if output.output_type == "stream" and output.name == "stderr":
        raise NotRepeatable(f"standard error {where}: {output.text.strip()}")
    if "execution_count" in output:
        output.execution_count = None
    data = output.get("data", {})
    data.pop(_WIDGET, None)  # a widget without its kernel is dead; the picture stays
    if data.get("text/plain") == "" and len(data) > 1:
        del data["text/plain"]
    text = output.get("text", "") + str(data.get("text/plain", ""))
    if found := re.search(rf" at 0x[0-9a-f]+|{re.escape(str(ROOT))}", text):
        raise NotRepeatable(f"{found[0].strip()!r} {where} differs between machines")
    return output
