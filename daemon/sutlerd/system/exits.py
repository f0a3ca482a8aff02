"""How the daemon ends: one table of exit codes, and the error that stops a start.

The numbers are those of ``sysexits.h`` where it has a fitting one, so that systemd and
shells can tell a mistake that a restart cannot mend from one that it can.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    CLEAN = 0
    USAGE = 64
    INTERNAL = 70
    CANNOT_CREATE = 73
    STORAGE = 74
    ALREADY_RUNNING = 75
    CONFIGURATION = 78
    CUT_SHORT = 143

    @property
    def sentence(self) -> str:
        """What this code means, for the last line of the log and for ``--help``."""
        return SENTENCES[self]


SENTENCES: dict[Exit, str] = {
    Exit.CLEAN: "Stopped as asked; every accepted call was answered.",
    Exit.USAGE: "The command line is wrong.",
    Exit.INTERNAL: "A fault of the daemon itself; the log holds the traceback.",
    Exit.CANNOT_CREATE: "A folder or the socket cannot be used; the message says which and why.",
    Exit.STORAGE: "The state on disk is damaged or cannot be read or written.",
    Exit.ALREADY_RUNNING: "Another daemon holds the same folder or socket.",
    Exit.CONFIGURATION: "The configuration is wrong; every problem is listed with its place.",
    Exit.CUT_SHORT: "Ended at once by a second signal; calls in flight were not answered.",
}


class CannotStart(Exception):
    """The daemon must not go on. The message says what is wrong and what to do."""

    def __init__(self, exit_code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
