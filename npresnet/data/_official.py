"""Checksums of CIFAR-10's official batches: files that claim to be them must be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

# The Python layout's MD5 as torchvision checks them, the binary layout's SHA-1 as
# MXNet does; neither is published by the authors.
_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_SHA1 = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
_KNOWN = {
    **{name: ("md5", digest) for name, digest in _MD5.items()},
    **{name: ("sha1", digest) for name, digest in _SHA1.items()},
}


def is_official(name: str, content: bytes) -> bool:
    """Tell whether a batch file is the official one, to the byte."""
    algorithm, expected = _KNOWN[name]
    digest = hashlib.new(algorithm, content, usedforsecurity=False)
    return digest.hexdigest() == expected


def refuse_mixture(official: Mapping[Path, bool]) -> None:
    """Refuse batches of which some are official and some are not.

    A copy of another make has none that are; of the official one, flipped bytes
    leave the others intact.

    Raises
    ------
    ValueError
        If there is such a mixture; it names the file that is not official.
    """
    wrong = [path for path, intact in official.items() if not intact]
    if wrong and len(wrong) < len(official):
        algorithm, expected = _KNOWN[wrong[0].name]
        name = {"md5": "MD5", "sha1": "SHA-1"}[algorithm]
        raise ValueError(
            f"{wrong[0]}: damaged or edited: its {name} is not the official "
            f"{expected}, while {len(official) - len(wrong)} of the "
            f"{len(official)} batches are official to the byte"
        )
