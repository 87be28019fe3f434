"""An installed package has the notebooks inside."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_the_notebooks_and_not_their_workshop(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run([*command, "-d", str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if "notebooks" in name or name.startswith("hatch")
    }
    notebooks = (ROOT / "notebooks").glob("*.ipynb")
    assert inside == {f"npresnet/course/notebooks/{path.name}" for path in notebooks}
    assert inside
