"""``sutlerd``: the command line of the daemon."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from sutlerd.commands.arguments import overrides, parser
from sutlerd.system import garbage
from sutlerd.system.exits import CannotStart, Exit

_STDERR = 2
_FOR_GOOD = (Exit.CANNOT_CREATE, Exit.STORAGE, Exit.ALREADY_RUNNING, Exit.CONFIGURATION)
_HELD_BACK_S = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.command is None:
            return int(_held_back(_run(options)))
        return int(_command(options))
    except CannotStart as refusal:
        _complain(refusal.message)
        return int(refusal.exit_code)


def _command(options: argparse.Namespace) -> Exit:
    """Do what stands beside the daemon."""
    if options.command in ("install", "uninstall"):
        from sutlerd.commands import install

        return install.run(options)
    if options.command in ("grafana", "alerts"):
        from sutlerd.commands import drawn

        return drawn.print_alerts() if options.command == "alerts" else drawn.print_dashboard()
    from sutlerd.commands import check, config_show
    from sutlerd.config.loader import Loaded, load
    from sutlerd.config.problems import ConfigError

    def load_now() -> Loaded:
        return load(options.config, os.environ, overrides=overrides(options))

    if options.command == "check":
        return check.run(load_now, os.environ, as_json=options.json)
    if options.command == "ledger":
        from sutlerd.commands import ledger

        return ledger.run(load_now, os.environ, what=options.what, file=options.file)
    try:
        return config_show.run(load_now(), as_json=options.json)
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
        return Exit.CONFIGURATION


def _run(options: argparse.Namespace) -> Exit:
    garbage.put_off()
    # Imported here so that --help and --version answer at once.
    import uvloop

    from sutlerd.config.loader import Loaded, load
    from sutlerd.config.problems import ConfigError
    from sutlerd.lifecycle import live
    from sutlerd.pipeline.tape import Taped
    from sutlerd.system.hardening import harden
    from sutlerd.telemetry.logs import Log, is_journal, journal_of

    # Until somebody can act on it, it would end us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hardened = harden()
    taped = Taped(into=options.record, out_of=options.replay)

    def load_again() -> Loaded:
        return load(options.config, os.environ, overrides=overrides(options))

    try:
        loaded = load_again()
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
        return Exit.CONFIGURATION
    daemon = loaded.config.daemon
    entrance = journal_of(_STDERR, os.environ, daemon.log_format)
    log = Log(
        _STDERR if entrance is None else entrance,
        level=daemon.log_level,
        log_format=daemon.log_format,
        journal=is_journal(_STDERR, os.environ),
        secrets=loaded.secrets,
    )
    try:
        for problem in loaded.warnings:
            log.event("error" if problem.loud else "warning", "configuration", said=str(problem))
        ended = uvloop.run(live(load_again, loaded, os.environ, hardened, log, taped))
    except CannotStart as refusal:
        log.event("error", "cannot_start", said=refusal.message, exit_code=int(refusal.exit_code))
        return refusal.exit_code
    finally:
        log.close(timeout_s=1.0)
    return _leave(ended)


def _leave(ended: Exit) -> NoReturn:
    """End the process, of which nothing is left to be written.

    The interpreter would take everything apart first: up to a second for a provider's package,
    for which whoever restarts the daemon, and all its clients, would wait.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(ended)


def _held_back(ended: Exit) -> Exit:
    """Wait a little before the end of a start that failed for good under socket activation.

    Whoever waits on the socket has us started over and over until somebody mends what is wrong:
    so it is found mended soon, and the machine has its peace meanwhile.
    """
    if ended in _FOR_GOOD and os.environ.get("LISTEN_PID") == str(os.getpid()):
        time.sleep(_HELD_BACK_S)
    return ended


def _complain(message: str) -> None:
    try:
        os.write(_STDERR, f"sutlerd: {message}\n".encode(errors="backslashreplace"))
    except OSError:
        pass  # closed or full: the exit code has to say it alone


if __name__ == "__main__":
    sys.exit(main())
