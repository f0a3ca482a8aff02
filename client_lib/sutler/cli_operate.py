"""``sutler reload`` and ``sutler drain``: what operators do to the daemon itself."""

from __future__ import annotations

from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK, CommandFailed
from sutler.cli_options import QUICK_S, add_timeout_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Dict, Optional

    from sutler.cli_terminal import Terminal


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    add_timeout_option(parser, QUICK_S)


def run_reload(args: argparse.Namespace, term: Terminal) -> int:
    with open_client(args, args.timeout) as client:
        result = client.call("reload", {})
    if args.json:
        term.json(result)
    else:
        for problem in result["problems"]:
            term.line(problem)
        for change in result["changes"]:
            term.line("%(path)s: %(before)s -> %(after)s" % _named(change))
            if change["waits"]:
                term.line("  waits for a restart: " + change["waits"])
        for warning in result["warnings"]:
            term.note("warning: " + warning)
    if not result["applied"]:
        raise CommandFailed("the new configuration is wrong; the old one stays in force")
    if not args.json and not result["changes"]:
        term.say("sutler: nothing has changed")
    return OK


def _named(change: Dict[str, Optional[str]]) -> Dict[str, str]:
    return {name: "nothing" if value is None else value for name, value in change.items()}


def run_drain(args: argparse.Namespace, term: Terminal) -> int:
    with open_client(args, args.timeout, 0.0) as client:
        result = client.call("drain", {})
    if args.json:
        term.json(result)
    else:
        term.say("sutler: the daemon finishes what is under way, and stops")
    return OK


_RELOAD_DETAILS = """\
The daemon reads its configuration once more. A wrong one changes nothing: every
problem is listed and the exit code is 1. Calls under way go on by the old one.
For operators; the same as SIGHUP or systemctl reload sutlerd.

examples:
  sutler reload
  sutler reload --json | jq '.changes[].path'
"""

_DRAIN_DETAILS = """\
Calls under way are finished, new ones are told to come back. For operators; the
same as SIGTERM or systemctl stop sutlerd.

examples:
  sutler drain
"""

RELOAD = Command(
    "reload", "", "have the configuration read again", _RELOAD_DETAILS, _arguments, run_reload
)
DRAIN = Command(
    "drain", "", "stop the daemon when its calls are done", _DRAIN_DETAILS, _arguments, run_drain
)
