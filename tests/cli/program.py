"""The program, as a test calls it, and how it tells an error."""

import json

from click.testing import CliRunner

import npresnet as nr
from npresnet.cli import main


def invoke(*args, **options):
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def assert_one_error_line(result, *parts):
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("npresnet: error: ")
    for part in parts:
        assert part in line
    assert "Traceback" not in result.output


def save_weights(path, model, **choices):
    """Save a resnet8's weights with a header that says it is one, for the digits."""
    note = {
        "model": {"name": "resnet8", **choices},
        "dataset": {
            "name": "digits",
            "classes": list("0123456789"),
            "image_shape": [3, 8, 8],
            "mean": [0.3, 0.3, 0.3],
            "std": [0.4, 0.4, 0.4],
        },
    }
    nr.weights.save(path, model, metadata={"npresnet": json.dumps(note)})
    return path
