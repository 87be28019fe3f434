"""State dicts from elsewhere: other people's names, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from npresnet._plain import plain_like
from npresnet.untrusted.pickle_values import Placeholder
from npresnet.untrusted.text import brief, shown

_NESTED = ("state_dict", "model_state_dict", "model", "net")
# Words that other implementations use: part of a name -> our part.
_SYNONYMS = {"shortcut": "downsample", "linear": "fc"}
# What wrappers of PyTorch put before all names: DataParallel and AveragedModel,
# torch.compile.
_WRAPPERS = ("module", "_orig_mod")
_SHOWN = 5  # names listed in an error


def translate(
    state_dict: Mapping[str, Any], own: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Find the arrays in `state_dict` and give them our names.

    A name that the model has is never touched.

    Raises
    ------
    TypeError
        If what should be an array is none.
    ValueError
        If two names become one.
    """
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise TypeError(f"state_dict must be a dict of name to array, got {kind}")
    for key in _NESTED:
        if isinstance(state_dict.get(key), Mapping):
            return translate(state_dict[key], own)
    translated: dict[str, NDArray[Any]] = {}
    for name, value in state_dict.items():
        if name == "n_averaged" and name not in own:  # how many AveragedModel took
            continue
        target = name if name in own else _our_name(str(name), own)
        if target in translated:
            raise ValueError(f"state_dict has two entries for {brief(target)}")
        translated[target] = _array(name, value)
    return translated


def _our_name(name: str, own: Mapping[str, Any]) -> str:
    parts = name.split(".")
    while parts[0] in _WRAPPERS and len(parts) > 1:
        parts = parts[1:]
    plain = ".".join(parts)
    if plain in own:
        return plain
    ours = ".".join(_SYNONYMS.get(part, part) for part in parts)
    return ours if ours in own else plain


def _array(name: str, value: Any) -> NDArray[Any]:
    if isinstance(value, Placeholder):
        raise TypeError(
            f"state_dict[{brief(name)}] must be an array of numbers, but the file has "
            f"{value}; in PyTorch, save model.state_dict()"
        )
    array = plain_like(f"state_dict[{brief(name)}]", value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"state_dict[{brief(name)}] must be an array of numbers, got "
            f"{type(value).__name__} of {array.dtype}"
        )
    return array


def compare(
    given: Mapping[str, NDArray[Any]],
    own: Mapping[str, NDArray[Any]],
    *,
    strict: bool,
) -> tuple[list[str], list[str]]:
    """List what is missing and what was not expected.

    Raises
    ------
    ValueError
        If a shape is wrong, or if `strict` and the lists are not empty.
    """
    # Files written before PyTorch 0.4.1 do not count batches; nothing depends on it.
    missing = [
        name
        for name in own
        if name not in given and not name.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in given if name not in own]
    wrong = [
        f"{shown(name)} {given[name].shape} instead of {own[name].shape}"
        for name in given
        if name in own and given[name].shape != own[name].shape
    ]
    complaints = []
    if strict:
        complaints += _complaint("missing", missing)
        complaints += _complaint("unexpected", unexpected)
    complaints += _complaint("wrong shape", wrong)
    if complaints:
        raise ValueError("state_dict does not fit the model: " + "; ".join(complaints))
    return missing, unexpected


def _complaint(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what}: {', '.join(map(shown, names[:_SHOWN]))}{more}"]
