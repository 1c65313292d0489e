"""How a command ends that cannot go on."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._interrupts import exit_code_of
from mlxpy_core._io._text import printable


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """Has errors and signals end a command with a message and an exit code."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise click.exceptions.Exit(exit_code_of(interrupt)) from None
    except MlxpyError as error:
        # It may quote names that somebody else has given to fields.
        click.ClickException(printable(str(error))).show()
        raise click.exceptions.Exit(error.exit_code) from error
