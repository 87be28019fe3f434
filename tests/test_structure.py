"""The house: imports run one way, and nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import npresnet

PACKAGE = Path(npresnet.__file__).parent

# Which rooms a room may import from. backend <- functional <- nn <- models <- compiler
# is the column of the house; the rooms beside it know of the column, not of each other.
# What opens, reads and shows the files of others lies below them all.
BELOW = ["untrusted"]
COLUMN = ["backend", "functional", "nn", "models", "compiler"]
BESIDE = ["optim", "data", "weights", "plots", "testing"]
ABOVE = ["training", "lens"]  # the lens trains networks to compare them
ALLOWED = (
    {room: set() for room in BELOW}
    | {room: {*BELOW, *COLUMN[:floor]} for floor, room in enumerate(COLUMN)}
    | {room: {*BELOW, *COLUMN} for room in BESIDE}
    | {
        room: {*BELOW, *COLUMN, *BESIDE, *ABOVE[:floor]}
        for floor, room in enumerate(ABOVE)
    }
    | {"course": {*BELOW, *COLUMN, *BESIDE, *ABOVE}}
    | {"cli": {*BELOW, *COLUMN, *BESIDE, *ABOVE, "course"}}
)
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    """Return the room a file stands in; None for the files at the door."""
    first = path.relative_to(PACKAGE).parts[0]
    return None if first.endswith(".py") else first


def imported_names(path):
    """List the full name of everything that is imported anywhere in a file."""
    package = ["npresnet", *path.relative_to(PACKAGE).parent.parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def test_every_folder_of_the_package_is_a_known_room():
    folders = {room_of(path) for path in SOURCES} - {None}
    assert folders <= set(ALLOWED)


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if room_of(path)],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_imports_run_one_way(path):
    room = room_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "npresnet" and len(parts) > 1 and parts[1] in ALLOWED:
            assert parts[1] == room or parts[1] in ALLOWED[room], (
                f"{room} may not import {name}"
            )


def test_nothing_in_the_package_imports_torch():
    for path in SOURCES:
        roots = {name.split(".")[0] for name in imported_names(path)}
        assert not roots & {"torch", "torchvision"}, path


def test_only_plots_imports_matplotlib():
    for path in SOURCES:
        roots = {name.split(".")[0] for name in imported_names(path)}
        if room_of(path) != "plots":
            assert "matplotlib" not in roots, path


def loaded_after(statement):
    """Return the names of the modules that a fresh interpreter has loaded then."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


HEAVY = {
    "numba",
    "matplotlib",
    "torch",
    "PIL",
    "pooch",
    "tqdm",
    "safetensors",
    "rich",
    "jinja2",
    "latex2mathml",
}


def test_importing_npresnet_loads_nothing_heavy():
    assert not loaded_after("import npresnet") & HEAVY


def test_building_a_model_loads_neither_numba_nor_matplotlib_nor_torch():
    statement = "import npresnet as nr; nr.models.resnet8()"
    assert not loaded_after(statement) & {"numba", "matplotlib", "torch"}


def test_the_reference_backend_never_loads_numba():
    statement = """
import numpy as np, npresnet as nr
nr.set_backend("reference")
model = nr.models.resnet8()
logits = model(np.zeros((2, 3, 8, 8), np.float32))
criterion = nr.nn.CrossEntropyLoss()
criterion(logits, np.array([0, 1]))
model.backward(criterion.backward())
"""
    assert not loaded_after(statement) & {"numba", "torch"}
