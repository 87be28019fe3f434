"""JSON that any reader takes: it has no NaN and no infinities, so they become null.

Reading what others wrote is another matter: `npresnet.untrusted.json_text`.
"""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """Write plain data as JSON.

    Examples
    --------
    >>> to_json({"loss": float("nan"), "shape": (3, 8)})
    '{"loss": null, "shape": [3, 8]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
