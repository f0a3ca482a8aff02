"""The command line of ``sutlerd``: options of the daemon itself, and commands beside it."""

from __future__ import annotations

import argparse
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from sutlerd import __version__
from sutlerd.system.exits import Exit

_EPILOG = """\
Without a command the daemon runs in the foreground. With no configuration the embedded model
is served, with no key and no network. Stop it with SIGTERM or Ctrl-C: calls under way are
finished first; a second one ends at once. SIGHUP has the configuration read again.

exit codes:
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser. ``options.command`` is ``None`` for the daemon itself."""
    codes = "\n".join(f"  {int(code):>3}  {code.sentence}" for code in Exit)
    top = argparse.ArgumentParser(
        prog="sutlerd",
        description="Own language-model access for every process on this node.",
        epilog=_EPILOG + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _daemon_options(top, None)
    top.add_argument(
        "--job",
        action="store_true",
        help="for one batch job: everything is below $TMPDIR, apart from other jobs",
    )
    tape = top.add_mutually_exclusive_group()
    tape.add_argument("--record", type=Path, metavar="FILE", help="keep every reply in a new file")
    tape.add_argument("--replay", type=Path, metavar="FILE", help="answer from such a file alone")
    top.add_argument("--version", action="version", version=f"sutlerd {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    check = commands.add_parser("check", help="look at all that a start and the calls will need")
    shown = commands.add_parser("config", help="show the configuration in force")
    shown.add_argument("what", choices=("show",), help="secrets masked, each with its origin")
    for command in (check, shown):
        # Said after the command or before it, they mean the same.
        _daemon_options(command, argparse.SUPPRESS)
        command.add_argument("--json", action="store_true", help="for programs")
    _ledger_options(commands.add_parser("ledger", help="check, back up or restore the ledger"))
    for name, does in (("install", "lay the systemd units down"), ("uninstall", "remove them")):
        _unit_options(commands.add_parser(name, help=does))
    commands.add_parser("grafana", help="print a dashboard for Grafana, as JSON")
    commands.add_parser("alerts", help="print alert rules for Prometheus, as YAML")
    return top


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Give what the command line sets, by dotted path of the configuration."""
    given = {
        "daemon.socket": options.socket,
        "daemon.state_dir": options.state_dir,
        "daemon.cache_dir": options.cache_dir,
        "daemon.log_level": options.log_level,
        "daemon.log_format": options.log_format,
        "llm.budget.total_limit_usd": options.budget,
    }
    if options.job:
        given = {**_job_places(), **{path: it for path, it in given.items() if it is not None}}
    return {path: value for path, value in given.items() if value is not None}


def _job_places() -> dict[str, Any]:
    """Choose a job's own places, by the id that its batch system gave it."""
    base = os.environ.get("TMPDIR") or "/tmp"
    own = os.path.join(os.path.abspath(base), f"sutler-{os.geteuid()}")
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PBS_JOBID")
    if job and job.isprintable() and "/" not in job:
        own = os.path.join(own, f"job-{job}")
    return {
        "daemon.socket": os.path.join(own, "sutler.sock"),
        "daemon.state_dir": os.path.join(own, "state"),
        "daemon.cache_dir": os.path.join(own, "cache"),
    }


def _daemon_options(parser: argparse.ArgumentParser, default: Any) -> None:
    def option(name: str, **how: Any) -> None:
        parser.add_argument(name, default=default, **how)

    option("--config", type=Path, metavar="FILE", help="the YAML configuration")
    option("--socket", type=_absolute, metavar="FILE", help="where clients find it")
    option("--state-dir", type=_absolute, metavar="DIR", help="what must last")
    option("--cache-dir", type=_absolute, metavar="DIR", help="stored answers")
    option("--budget", type=_usd, metavar="USD", help="limit of all that this daemon ever spends")
    option("--log-level", choices=("debug", "info", "warning", "error"))
    option("--log-format", choices=("text", "json"))


def _unit_options(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--system", action="store_true", help="one for the node, as user sutler")
    whose.add_argument("--user", action="store_true", help="one for yourself")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="of another system's tree"
    )


def _ledger_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("check", "backup", "restore"),
        help="check and backup may be run beside a daemon, restore may not",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the backup")
    _daemon_options(parser, argparse.SUPPRESS)


def _absolute(text: str) -> str:
    return os.path.abspath(text)


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError("must be an amount in dollars, e.g. 12.50") from None
