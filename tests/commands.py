"""The command ``mlxpy`` in the process of the tests, for what needs no process of its own."""

from pathlib import Path

from click.testing import CliRunner, Result

from mlxpy_core._cli import main


def run(logs: Path, *arguments: str, exit_code: int = 0) -> Result:
    """Runs a command on a directory of runs and checks its exit code."""
    result = CliRunner().invoke(main, [arguments[0], "--logs", str(logs), *arguments[1:]])
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result


def printed(logs: Path, *arguments: str, exit_code: int = 0) -> tuple[str, str]:
    """Runs a command on a directory of runs: standard output and error."""
    result = run(logs, *arguments, exit_code=exit_code)
    return result.stdout, result.stderr
