"""What the exit codes of the ``sutler`` command mean: one table, shown by ``--help``.

Nothing here prints, reads or connects. A command ends in an exit code of this table, or by
raising `UsageProblem`, `CommandFailed` or one of the client's errors, which
`exit_code_for` maps.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

OK = 0
FAILED = 1
USAGE = 2
NO_DAEMON = 3
RETRYABLE = 4
INTERRUPTED = 130
BROKEN_PIPE = 141

#: code, short name, what it says to the script that reads it
EXIT_CODES: Tuple[Tuple[int, str, str], ...] = (
    (OK, "ok", "everything asked for was done"),
    (FAILED, "failed", "the call failed and would fail again; for map: some rows failed"),
    (USAGE, "usage", "the command line or an input file is wrong; nothing was sent"),
    (NO_DAEMON, "no daemon", "no sutlerd answers on the socket"),
    (RETRYABLE, "try again", "the call failed for now; the same command may succeed later"),
    (INTERRUPTED, "interrupted", "Ctrl-C; what was under way is cancelled in the daemon"),
    (BROKEN_PIPE, "broken pipe", "whoever read the output went away (head, less)"),
)


class UsageProblem(Exception):
    """The command line or an input file is wrong; the message names the mend."""


class CommandFailed(Exception):
    """The command could not be done; ``exit_code`` is one of `EXIT_CODES`."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code_for(error: BaseException) -> int:
    """Give the exit code that a command ends with when ``error`` ended it."""
    from sutler.errors import DaemonUnavailable

    if isinstance(error, UsageProblem):
        return USAGE
    if isinstance(error, CommandFailed):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, DaemonUnavailable):
        return NO_DAEMON
    if getattr(error, "retryable", False):
        return RETRYABLE
    return FAILED


def exit_code_table(codes: Tuple[Tuple[int, str, str], ...] = EXIT_CODES) -> str:
    """Lay ``codes`` out for ``--help``, one indented line each."""
    return "\n".join("  %3d  %-12s %s" % row for row in codes)
