"""A file to which lines are appended that arrive, also where its file system is away for a while."""

import contextlib
import errno
import os
from collections.abc import Callable

from mlxpy_core._errors import StorageError
from mlxpy_core._io._retries import OUTAGE_S, Retries, can_pass
from mlxpy_core._runs._metrics_files import count_lines, cut_torn_line


class AppendedFile:
    """Appends whole lines, each by one ``write(2)``.

    A network file system may take a line and lose it when its server goes away. So lines are kept until
    the file has their length, and those that it lost are appended again.

    Args:
        open_file: opens it, where it is now, to be read and appended to; makes it where there is none.
        refusal: what is to be said where that is refused, or what is done next.
    """

    def __init__(self, open_file: Callable[[], int], refusal: str) -> None:
        self._open_file = open_file
        self._refusal = refusal
        self._descriptor = -1
        self._start = 0  # the file's length before the lines that are kept
        self._end = 0  # and after them
        self._lines: list[bytes] = []

    def open(self) -> None:
        """Opens the file and appends what of the kept lines it lacks.

        Raises:
            OSError: the file system refused.
        """
        descriptor = self._open_file()
        try:
            cut_torn_line(descriptor)
            if self._lines:
                _append_missing(descriptor, self._start, b"".join(self._lines))
            else:
                self._start = os.fstat(descriptor).st_size
        except BaseException:
            os.close(descriptor)
            raise
        self._end = self._start + sum(map(len, self._lines))
        self._descriptor = descriptor

    def count_lines(self) -> int:
        """Counts the lines of the file, which is open.

        Raises:
            OSError: it cannot be read.
        """
        return count_lines(self._descriptor) if self._end else 0

    def append(self, line: bytes) -> None:
        """Appends a line whole; waits where the file system is away.

        Raises:
            OSError: the file system refused; no part of the line is written.
        """
        try:
            if self._descriptor < 0:
                self.open()
            written = os.write(self._descriptor, line)
            if written != len(line):
                _finish_line(self._descriptor, line, written)
        except OSError as error:
            if not can_pass(error):
                raise
            self._append_again(line)
        else:
            self._lines.append(line)
            self._end += len(line)

    def look(self) -> None:
        """Drops the kept lines that the file has.

        Raises:
            OSError: it does not have them, and the file system refused to take them again.
        """
        if not self._lines:
            return
        try:
            self._check()
        except OSError as error:
            if not can_pass(error):
                raise
            self._retry(Retries(OUTAGE_S, announce=True), self._open_again)

    def detach(self) -> None:
        """Closes the file for now; the next line opens it again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # the lines are kept
                os.close(descriptor)

    def close(self, retries: Retries) -> None:
        """Closes the file; its lines are there.

        Args:
            retries: bounds the time that a file system is waited for.

        Raises:
            OSError: they are not.
        """
        if self._descriptor < 0 and not self._lines:
            return
        try:
            self._check_and_close()
        except OSError as error:
            if not can_pass(error):
                raise
            self._retry(retries, self._open_again_and_close)

    def _append_again(self, line: bytes) -> None:
        # Kept first: nobody knows whether it has arrived.
        self._lines.append(line)
        try:
            self._retry(Retries(OUTAGE_S, announce=True), self._open_again)
        except BaseException:
            self._lines.pop()
            raise

    def _retry(self, retries: Retries, action: Callable[[], None]) -> None:
        def act() -> None:
            try:
                action()
            except OSError as error:  # most name no file
                raise StorageError(self._refusal, error) from error

        retries(act)

    def _open_again(self) -> None:
        self.detach()
        self.open()

    def _open_again_and_close(self) -> None:
        self._open_again()
        self._check_and_close()

    def _check(self) -> None:
        if self._descriptor < 0 or os.fstat(self._descriptor).st_size < self._end:
            raise OSError(errno.ESTALE, "the file system has lost what was appended")
        self._start = self._end
        self._lines.clear()

    def _check_and_close(self) -> None:
        # The lines are dropped only if closing, which waits for what is on its way, succeeds as well.
        lines, start = self._lines.copy(), self._start
        try:
            self._check()
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
        except OSError:
            self._lines, self._start = lines, start
            raise


def _append_missing(descriptor: int, start: int, expected: bytes) -> None:
    """Appends what a file lacks of what was appended to it when it had a length of `start`."""
    there = os.pread(descriptor, len(expected), start)
    common = len(there)
    if not expected.startswith(there):
        pairs = zip(there, expected, strict=False)
        common = next(index for index, (one, other) in enumerate(pairs) if one != other)
    common = expected.rfind(b"\n", 0, common) + 1
    if b"\0" in there:  # of what was on its way, the end arrived without what came before
        os.ftruncate(descriptor, start + common)
    missing = expected[common:]
    while missing:
        missing = missing[os.write(descriptor, missing) :]


def _finish_line(descriptor: int, line: bytes, written: int) -> None:
    """Writes the rest of a line that the kernel took only in part, or takes it all back."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    start = end - written
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, start)
        raise
