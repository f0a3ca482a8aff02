"""``sutlerd``: the command line of the daemon."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sutlerd import __version__
from sutlerd.system import garbage
from sutlerd.system.exits import CannotStart, Exit

_STDERR = 2

_EPILOG = """\
With no configuration the embedded model is served, with no key and no network.
Stop it with SIGTERM or Ctrl-C: calls under way are finished first; a second one ends at once.

exit codes:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(_run(options))
    except CannotStart as refusal:
        _complain(refusal.message)
        return int(refusal.exit_code)


def _run(options: argparse.Namespace) -> Exit:
    garbage.put_off()
    # Imported here so that --help and --version answer at once.
    import uvloop

    from sutlerd.config.loader import Loaded, load
    from sutlerd.config.problems import ConfigError
    from sutlerd.lifecycle import live
    from sutlerd.system.hardening import harden
    from sutlerd.telemetry.logs import Log, is_journal

    # Until somebody can act on it, it would end us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hardened = harden()

    def load_again() -> Loaded:
        return load(options.config, os.environ, overrides=_overrides(options))

    try:
        loaded = load_again()
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
        return Exit.CONFIGURATION
    daemon = loaded.config.daemon
    log = Log(
        level=daemon.log_level,
        log_format=daemon.log_format,
        journal=is_journal(_STDERR, os.environ),
        secrets=loaded.secrets,
    )
    try:
        for problem in loaded.warnings:
            log.event("error" if problem.loud else "warning", "configuration", said=str(problem))
        return uvloop.run(live(load_again, loaded, os.environ, hardened, log))
    except CannotStart as refusal:
        log.event("error", "cannot_start", said=refusal.message, exit_code=int(refusal.exit_code))
        return refusal.exit_code
    finally:
        log.close(timeout_s=1.0)


def _complain(message: str) -> None:
    try:
        os.write(_STDERR, f"sutlerd: {message}\n".encode(errors="backslashreplace"))
    except OSError:
        pass  # closed or full: the exit code has to say it alone


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Give what the command line sets, by dotted path of the configuration."""
    given = {
        "daemon.socket": options.socket,
        "daemon.state_dir": options.state_dir,
        "daemon.cache_dir": options.cache_dir,
        "daemon.log_level": options.log_level,
        "daemon.log_format": options.log_format,
    }
    return {path: value for path, value in given.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {int(code):>3}  {code.sentence}" for code in Exit)
    parser = argparse.ArgumentParser(
        prog="sutlerd",
        description="Own language-model access for every process on this node.",
        epilog=_EPILOG + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the YAML configuration")
    parser.add_argument("--socket", type=_absolute, metavar="FILE", help="where clients find it")
    parser.add_argument("--state-dir", type=_absolute, metavar="DIR", help="what must last")
    parser.add_argument("--cache-dir", type=_absolute, metavar="DIR", help="stored answers")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", choices=("text", "json"))
    parser.add_argument("--version", action="version", version=f"sutlerd {__version__}")
    return parser


def _absolute(text: str) -> str:
    return os.path.abspath(text)


if __name__ == "__main__":
    sys.exit(main())
