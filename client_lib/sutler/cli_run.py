"""``sutler run``: a daemon of its own for one command, gone when the command is.

The command's output stays its own: what is said here goes to the error stream.
"""

from __future__ import annotations

import argparse

from sutler.cli_command import Command
from sutler.cli_exit import UsageProblem
from sutler.cli_tables import pairs, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from sutler.cli_terminal import Terminal
    from sutler.client import Client
    from sutler.run_daemon import OwnDaemon

#: For the account, when the command has ended.
_REPORT_S = 20.0
_SHOWN = ("provider", "model", "calls", "cached", "tokens_in", "tokens_out", "cost_nanousd")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the daemon's configuration")
    parser.add_argument(
        "--budget", metavar="USD", help="the most that may be spent, with all in --ledger-dir"
    )
    parser.add_argument(
        "--ledger-dir", metavar="DIR", help="keep the account there, for budgets over many runs"
    )
    parser.add_argument(
        "--cache-file", metavar="FILE", help="take stored answers from there, and keep them there"
    )
    parser.add_argument("--log", metavar="FILE", help="the daemon's log (default: none is kept)")
    parser.add_argument("--quiet", action="store_true", help="no account at the end")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")


def run(args: argparse.Namespace, term: Terminal) -> int:
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise UsageProblem("name the command: sutler run -- mpiexec -n 8 python job.py")
    from sutler.run_command import Signals, run_command
    from sutler.run_daemon import OwnDaemon

    with Signals() as signals, OwnDaemon(
        config=args.config,
        budget=args.budget,
        ledger_dir=args.ledger_dir,
        cache_file=args.cache_file,
        log=args.log,
    ) as daemon:
        daemon.start(signals.end_was_asked)
        code = run_command(words, {"SUTLER_SOCKET": daemon.socket}, signals)
        if not args.quiet:
            _report(daemon, term)
        for trouble in daemon.stop():
            term.problem(trouble)
    return code


def _report(daemon: OwnDaemon, term: Terminal) -> None:
    """Say what the command has used. That it cannot be told is no failure of the command."""
    from sutler.client import Client
    from sutler.errors import SutlerError

    try:
        with Client(daemon.socket, timeout_s=_REPORT_S, reconnect_s=0.0) as client:
            lines = _account(client)
    except SutlerError as error:
        term.problem("no account: %s" % error)
        return
    for line in lines:
        term.say(line)


def _account(client: Client) -> List[str]:
    result: Dict[str, Any] = client.call("usage", {"by": ["provider", "model"]})
    rows = [row for row in result["rows"] if row.get("calls") or row.get("attempts")]
    if not rows:
        return ["sutler run: nothing was asked"]
    shown = [{name: row[name] for name in _SHOWN if name in row} for row in rows]
    total = {name: value for name, value in result["total"].items() if value}
    return ["sutler run: what was asked", *table(shown), *pairs(total)]


_DETAILS = """\
Starts a sutlerd for the command, below $TMPDIR, with SUTLER_SOCKET set for it; passes
signals on; and when the command ends, says what it used, keeps what --cache-file and
--ledger-dir name, and leaves nothing else behind. The exit code is the command's, or
128 and the number of the signal that ended it.

sutlerd is the one of $SUTLERD, else the one beside this command, else that on the path.

examples:
  sutler run -- mpiexec -n 8 python job.py
  sutler run --budget 5 --cache-file ~/answers.cache -- ./job.sh
"""

RUN = Command(
    "run", "-- COMMAND ...", "run a command with a daemon of its own", _DETAILS, _arguments, run
)
