"""The house: imports run one way, and nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import npresnet

PACKAGE = Path(npresnet.__file__).parent

# Which rooms a room may import from. backend <- functional <- nn <- models <- compiler
# is the column of the house; the rooms beside it know of the column, not of each other,
# and not of its top: the compiler takes an optimiser's step, and draws its programs.
# What opens, reads and shows the files of others lies below them all.
BELOW = ["untrusted"]
COLUMN = ["backend", "functional", "nn", "models", "compiler"]
BESIDE = ["optim", "data", "weights", "plots", "testing"]
ABOVE = ["training", "lens"]  # the lens trains networks to compare them
ALLOWED = (
    {room: set() for room in BELOW}
    | {room: {*BELOW, *COLUMN[:floor]} for floor, room in enumerate(COLUMN)}
    | {room: {*BELOW, *COLUMN} - {"compiler"} for room in BESIDE}
    | {"compiler": {*BELOW, *COLUMN, "optim", "plots"} - {"compiler"}}
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


def is_part_of_an_instrument(path, name):
    """Tell ``lens/ledger/command.py`` and the like from all other files."""
    return path.match(f"npresnet/lens/*/{name}")


def imported_names(path, *, for_types=True):
    """List the full name of everything that is imported anywhere in a file.

    Not `for_types`: without what only type checkers import.
    """
    package = ["npresnet", *path.relative_to(PACKAGE).parent.parts]
    names = []
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if not for_types and isinstance(node, ast.If):
            if ast.unparse(node.test) == "TYPE_CHECKING":
                continue
        nodes += ast.iter_child_nodes(node)
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
            if parts[1] == "cli" and is_part_of_an_instrument(path, "command.py"):
                continue  # what the command line's commands share
            assert parts[1] == room or parts[1] in ALLOWED[room], (
                f"{room} may not import {name}"
            )


def test_nothing_in_the_package_imports_torch():
    for path in SOURCES:
        roots = {name.split(".")[0] for name in imported_names(path)}
        assert not roots & {"torch", "torchvision"}, path


def test_only_pictures_import_matplotlib():
    for path in SOURCES:
        roots = {name.split(".")[0] for name in imported_names(path)}
        if room_of(path) != "plots" and not is_part_of_an_instrument(
            path, "picture.py"
        ):
            assert "matplotlib" not in roots, path


def module_of(path):
    """Return the name that a file is imported by."""
    parts = ("npresnet", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def test_no_file_imports_itself_by_way_of_others():
    """Not even in a function: a circle can only be understood as a whole."""
    files = {module_of(path): path for path in SOURCES}
    imports = {}
    for module, path in files.items():
        names = imported_names(path, for_types=False)
        found = (name if name in files else name.rpartition(".")[0] for name in names)
        imports[module] = {name for name in found if name in files} - {module}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_nobody_replaces_a_pass_of_a_module():
    """Who looks on uses `nn.watching`; who changes something, another module."""
    passes = ("forward", "backward")
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                replaced = isinstance(target, ast.Attribute) and target.attr.endswith(
                    passes
                )
                assert not replaced, f"{path}: {ast.unparse(target)}"


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
