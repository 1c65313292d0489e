"""Copies of standard output and error in files, of this process and of those that it starts."""

import contextlib
import os
import subprocess
import sys

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import open_in_place
from mlxpy_core._runs._directory import RunDirectory

_SECONDS_TO_DRAIN = 5.0


class StreamCopies:
    """Sends what comes out of descriptors 1 and 2 to files as well as where it went before.

    ``tee`` does the copying in a process of its own, so nothing is lost when this one is killed. Where a
    stream goes to its file already, it does nothing.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._logs = directory.logs
        self._copies = [(1, directory.path / "log.stdout"), (2, directory.path / "log.stderr")]
        self._running: list[tuple[int, int, subprocess.Popen[bytes]]] = []

    def start(self) -> None:
        """Starts the copies.

        Raises:
            StorageError: a file cannot be written.
        """
        _flush()
        for descriptor, path in self._copies:
            try:
                file = open_in_place(path, self._logs, os.O_WRONLY | os.O_APPEND)
                try:
                    if os.path.sameopenfile(file, descriptor):
                        continue  # a scheduler sends it there
                    # A session of its own: Ctrl-C must not end the copy before the program's last lines.
                    copy = subprocess.Popen(
                        ["tee", "-a", "--", f"/dev/fd/{file}"],
                        stdin=subprocess.PIPE,
                        stdout=descriptor,
                        pass_fds=[file],
                        start_new_session=True,
                    )
                finally:
                    os.close(file)
            except FileNotFoundError as error:
                raise MlxpyError(
                    "log_streams_to_file needs the program 'tee': install coreutils, or leave it out"
                ) from error
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
