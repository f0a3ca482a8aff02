"""The output file of ``sutler map``: rows appended in order, one writer, safe to resume.

Each line is handed to the kernel whole, so that a killed run leaves at most one torn line,
the last; that one is cut off by the next run. Rows that are asked again are replaced in a
copy, which then takes the file's place at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from sutler.cli_exit import CommandFailed, UsageProblem
from sutler.cli_map_rows import is_torn, read_written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

    from sutler.cli_map_rows import WrittenRow


class OutputFile:
    """An output file that this process alone writes, positioned behind its last whole row.

    ``rows`` are those that were there when it was opened, in order, their index their place.
    A pipe or a device (``-`` is standard output) has none, and nothing to ask again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows: List[WrittenRow] = []
        self.resumable = False
        self._fd = -1

    def open(self, overwrite: bool) -> None:
        """Open, lock and read the file, or begin it anew.

        Raises UsageProblem if it holds anything but rows of ``sutler map`` or another run
        is writing it.
        """
        if self.path == "-":
            self._fd = os.dup(1)
            return
        # A link's target is what gets replaced later, not the link.
        self.path = os.path.realpath(self.path)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageProblem("%s: %s" % (self.path, error.strerror)) from None
        self.resumable = stat.S_ISREG(os.fstat(self._fd).st_mode)
        if not self.resumable:
            return
        self._lock()
        if overwrite:
            os.ftruncate(self._fd, 0)
        else:
            self._read()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UsageProblem(
                    "another sutler map is writing %s; wait for it or name another file" % self.path
                ) from None
            # Some network file systems have no locks: then nothing guards but the user.

    def _read(self) -> None:
        end_bytes = 0
        with os.fdopen(os.dup(self._fd), "rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    if not is_torn(raw):
                        raise self._foreign(len(self.rows))
                    break
                row = read_written(raw)
                if row is None or row.index != len(self.rows):
                    raise self._foreign(len(self.rows))
                self.rows.append(row)
                end_bytes += len(raw)
        os.ftruncate(self._fd, end_bytes)
        os.lseek(self._fd, end_bytes, os.SEEK_SET)

    def _foreign(self, line_index: int) -> UsageProblem:
        return UsageProblem(
            "line %d of %s is not a row that sutler map wrote there; name another file, or "
            "--overwrite this one" % (line_index + 1, self.path)
        )

    def append(self, line: bytes) -> None:
        """Write a line behind the last one. Raises CommandFailed if the disk is full."""
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from None

    def replace(self, lines: Dict[int, bytes]) -> None:
        """Put ``lines`` (row index → line) in the place of those rows, all at once."""
        copy_path = self.path + ".retry"
        try:
            copy_fd = os.open(copy_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.lseek(self._fd, 0, os.SEEK_SET)
            with os.fdopen(os.dup(self._fd), "rb") as old, os.fdopen(copy_fd, "wb") as new:
                for index, raw in enumerate(old):
                    new.write(lines.get(index, raw))
                new.flush()
                os.fchmod(copy_fd, os.fstat(self._fd).st_mode & 0o777)
                os.fsync(copy_fd)
                copy_fd = os.dup(copy_fd)
            os.close(self._fd)
            self._fd = copy_fd
            self._lock()
            os.replace(copy_path, self.path)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CommandFailed:
        return CommandFailed(
            "%s: %s; what was written before is whole, and the same command goes on from there"
            % (self.path, error.strerror)
        )

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
