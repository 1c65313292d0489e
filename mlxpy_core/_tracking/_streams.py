"""Copies of standard output and error in files, of this process and of those that it starts."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError

_SECONDS_TO_DRAIN = 5.0


class StreamCopies:
    """Sends what comes out of descriptors 1 and 2 to files as well as where it went before.

    ``tee`` does the copying in a process of its own, so nothing is lost when this one is killed. Where a
    stream goes to its file already, it does nothing.
    """

    def __init__(self, stdout: Path, stderr: Path) -> None:
        self._copies = [(1, stdout), (2, stderr)]
        self._running: list[tuple[int, int, subprocess.Popen[bytes]]] = []

    def start(self) -> None:
        """Starts the copies.

        Raises:
            StorageError: a file cannot be written.
        """
        _flush()
        for descriptor, path in self._copies:
            try:
                with path.open("ab") as file:
                    if os.path.sameopenfile(file.fileno(), descriptor):
                        continue  # a scheduler sends it there
                # A session of its own: Ctrl-C must not end the copy before the program's last lines.
                copy = subprocess.Popen(
                    ["tee", "-a", "--", path],
                    stdin=subprocess.PIPE,
                    stdout=descriptor,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise MlxpyError("log_streams_to_file needs the program 'tee'") from error
            except OSError as error:
                raise StorageError(f"cannot write {path}", error) from error
            assert copy.stdin is not None
            original = os.dup(descriptor)
            os.dup2(copy.stdin.fileno(), descriptor)
            copy.stdin.close()
            self._running.append((descriptor, original, copy))

    def stop(self) -> None:
        """Restores the descriptors and waits until all that was written is in the files."""
        _flush()
        for descriptor, original, copy in self._running:
            os.dup2(original, descriptor)
            os.close(original)
            # A process that the program left behind may still write: its copy then goes on.
            with contextlib.suppress(subprocess.TimeoutExpired):
                copy.wait(_SECONDS_TO_DRAIN)
        self._running = []


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
