"""``sutler providers check``: the first thing to run with real keys."""

from __future__ import annotations

from sutler.cli_command import Command, open_client
from sutler.cli_exit import FAILED, OK
from sutler.cli_options import add_timeout_option
from sutler.cli_tables import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict

    from sutler.cli_terminal import Terminal

#: A local model may have to be loaded first.
CHECK_S = 300.0

_DETAILS = """\
Asks every configured endpoint for one tiny completion, stream, token count and
embedding, as far as it offers them. It costs a few tokens; only operators may.
Exits with 1 if anything failed.

examples:
  sutler providers check
  sutler providers check anthropic openai
"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("check",), help="make the calls and judge them")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these providers")
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    add_timeout_option(parser, CHECK_S)


def run_providers(args: argparse.Namespace, term: Terminal) -> int:
    asked: Dict[str, Any] = {"names": args.names} if args.names else {}
    with open_client(args, args.timeout) as client:
        result = client.call("providers.check", asked)
    checks = result["checks"]
    if args.json:
        term.json(result)
    else:
        lines = table(checks)
        term.raw_line(term.styled(lines[0], "bold"))
        for line in lines[1:]:
            term.line(line)
    return FAILED if any(check["verdict"] == "failed" for check in checks) else OK


PROVIDERS = Command(
    "providers",
    "check [NAME ...]",
    "try every provider with one tiny call of each kind",
    _DETAILS,
    _arguments,
    run_providers,
)
