"""Build hook: an installed npresnet has the course's notebooks inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NotebooksInside(BuildHookInterface):  # type: ignore[type-arg]
    """Ships ``notebooks/*.ipynb`` as ``npresnet/course/notebooks/``.

    An editable install needs none: there the repository's own are found.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the notebooks to the wheel."""
        if version == "editable":
            return
        for path in sorted(Path(self.root, "notebooks").glob("*.ipynb")):
            inside = f"npresnet/course/notebooks/{path.name}"
            build_data["force_include"][str(path)] = inside
