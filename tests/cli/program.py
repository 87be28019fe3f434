"""The program, as a test calls it, and how it tells an error."""

from click.testing import CliRunner

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
