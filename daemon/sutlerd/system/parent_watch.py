"""How a child process makes sure that it never outlives the daemon. Runs in the child.

Two ways, because each has a hole. The kernel's parent-death signal works even while this
process is stuck in C code, but it is tied to the parent's *thread* and is lost if the parent
died before it was asked for. The end of a pipe whose other end only the parent holds needs
neither, but somebody here has to be able to read it.

Nothing heavy may be imported here: it is part of a child's start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, lifeline_fd: int) -> None:
    """End this process with the process ``parent_pid``, at once and without cleaning up.

    ``lifeline_fd`` is the reading end of a pipe; whatever is written to it is thrown away.
    Raises OSError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != parent_pid:  # it died before the line above
        os._exit(0)
    threading.Thread(target=_end_at_eof, args=(lifeline_fd,), daemon=True).start()


def ignore_terminal() -> None:
    """Leave it to the parent when to end: a signal to the whole group is the parent's alone.

    A service manager or Ctrl-C signals every process, but the daemon finishes the calls in
    flight first, and needs this process for them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _end_at_eof(lifeline_fd: int) -> None:
    while os.read(lifeline_fd, 4096):
        pass
    os._exit(0)
