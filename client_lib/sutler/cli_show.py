"""``sutler status``, ``queue``, ``models`` and ``ping``: what the daemon says of itself."""

from __future__ import annotations

import time

from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK
from sutler.cli_options import QUICK_S, add_timeout_option, count
from sutler.cli_tables import sections, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict

    from sutler.cli_terminal import Terminal


def _quick_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    add_timeout_option(parser, QUICK_S)


def _call(args: argparse.Namespace, method: str, parameters: Dict[str, Any]) -> Dict[str, Any]:
    with open_client(args, args.timeout) as client:
        result: Dict[str, Any] = client.call(method, parameters)
    return result


def run_status(args: argparse.Namespace, term: Terminal) -> int:
    result = _call(args, "status", {})
    if args.json:
        term.json(result)
    else:
        print_sections(term, result)
    return OK


def print_sections(term: Terminal, result: Dict[str, Any]) -> None:
    """Print an answer of any shape as titled, aligned parts."""
    for at, (title, lines) in enumerate(sections(result)):
        if at:
            term.line()
        if title:
            term.raw_line(term.styled(title, "bold"))
        for line in lines:
            term.line("  " + line if title else line)


def run_models(args: argparse.Namespace, term: Terminal) -> int:
    result = _call(args, "models", {})
    if args.json:
        term.json(result)
        return OK
    models = result["models"]
    if not models:
        term.say("sutler: the daemon serves no model; sutler status says which providers are off")
        return OK
    first = ["id", "provider", "default", "available"]
    others = [name for row in models for name in row if name not in first]
    lines = table(models, first + list(dict.fromkeys(others)))
    term.raw_line(term.styled(lines[0], "bold"))
    for line in lines[1:]:
        term.line(line)
    return OK


def run_queue(args: argparse.Namespace, term: Terminal) -> int:
    result = _call(args, "queue", {})
    if args.json:
        term.json(result)
        return OK
    if not result["waiting"]:
        term.say("sutler: nobody waits")
        return OK
    lines = table(result["waiting"])
    term.raw_line(term.styled(lines[0], "bold"))
    for line in lines[1:]:
        term.line(line)
    return OK


def _ping_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--count", type=count, default=1, metavar="N", help="ask N times")
    _quick_arguments(parser)


def run_ping(args: argparse.Namespace, term: Terminal) -> int:
    times_ms = []
    with open_client(args, args.timeout) as client:
        hello = client.hello()
        for _ in range(args.count):
            started_s = time.perf_counter()
            client.ping()
            times_ms.append((time.perf_counter() - started_s) * 1e3)
    fastest_ms = min(times_ms)
    answer = {
        "version": hello.get("version"),
        "protocol": hello.get("protocol"),
        "instance": hello.get("instance"),
        "round_trip_ms": round(fastest_ms, 3),
    }
    if args.json:
        term.json(answer)
    else:
        term.line("sutlerd %s answers in %.3g ms" % (answer["version"], fastest_ms))
    return OK


_STATUS_DETAILS = """\
examples:
  sutler status
  sutler status --json | jq .queue
"""

_MODELS_DETAILS = """\
A call may name a model by its id, or as PROVIDER/ID.

examples:
  sutler models
  sutler chat --model groq/llama-3.3-70b-versatile "Hello"
"""

_PING_DETAILS = """\
Exits with 0 if a daemon answers and with 3 if there is none, so that a script can wait:
  until sutler ping; do sleep 1; done
"""

_QUEUE_DETAILS = """\
A call waits when a limit is reached: bucket says which. Only your own calls,
unless you operate the daemon.

examples:
  sutler queue
  watch -n 1 sutler queue
"""

STATUS = Command(
    "status", "", "show what the daemon is doing", _STATUS_DETAILS, _quick_arguments, run_status
)
QUEUE = Command(
    "queue", "", "show who waits, for what, since when", _QUEUE_DETAILS, _quick_arguments, run_queue
)
MODELS = Command("models", "", "list the models", _MODELS_DETAILS, _quick_arguments, run_models)
PING = Command(
    "ping", "", "ask whether a daemon is there", _PING_DETAILS, _ping_arguments, run_ping
)
