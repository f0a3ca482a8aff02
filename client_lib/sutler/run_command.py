"""A command as a child that gets every signal that is meant for it. Loaded by ``sutler run``."""

from __future__ import annotations

import os
import signal
import subprocess

from sutler.cli_exit import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, FrozenSet, List, Optional

#: Passed on as they come. Not those of a terminal's job control, nor of our own faults.
PASSED_ON = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGCONT,
        signal.SIGWINCH,
        signal.SIGXCPU,
    }
)
ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
#: si_code of what the kernel itself sends, as Ctrl-C does: to the whole group, the command too.
_SI_KERNEL = 0x80
NOT_FOUND = 127
NOT_RUNNABLE = 126


class Signals:
    """Holds signals back while it is entered: they are taken one by one, none is lost."""

    def __init__(self) -> None:
        self._before: FrozenSet[int] = frozenset()

    def __enter__(self) -> Signals:
        wanted = PASSED_ON | {signal.SIGCHLD}
        self._before = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, wanted))
        return self

    def __exit__(self, *_: object) -> None:
        # What came too late for the command was meant for it, and not for us.
        while signal.sigtimedwait(PASSED_ON, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def end_was_asked(self) -> Optional[int]:
        """Give a signal that asks to end and has come already, or None. It is taken."""
        found = signal.sigtimedwait(ENDING, 0)
        return None if found is None else found.si_signo

    def restore(self) -> None:
        """Let a child begin as we did; called in it."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self) -> Optional[int]:
        """Wait for the next one to pass on, or give None where a child may have ended."""
        found = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        if found.si_signo == signal.SIGCHLD or found.si_code == _SI_KERNEL:
            return None
        return found.si_signo


def run_command(words: List[str], variables: Dict[str, str], signals: Signals) -> int:
    """Run it to its end and give its exit code, or 128 and the signal's number.

    Raises CommandFailed where it cannot be started.
    """
    environ = dict(os.environ)
    environ.update(variables)
    try:
        child = subprocess.Popen(words, env=environ, preexec_fn=signals.restore)
    except FileNotFoundError:
        raise CommandFailed("%s: not found" % words[0], NOT_FOUND) from None
    except OSError as error:
        raise CommandFailed("%s: %s" % (words[0], error.strerror), NOT_RUNNABLE) from None
    while child.poll() is None:
        number = signals.wait()
        if number is not None:
            child.send_signal(number)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode
