"""``sutler budget``: what may be spent, what is spent, what is held, when it ends."""

from __future__ import annotations

from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK, UsageProblem
from sutler.cli_options import QUICK_S, add_timeout_option, whole
from sutler.cli_tables import dollars, table
from sutler.cli_terminal import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, List, Tuple

    from sutler.cli_terminal import Terminal

_BAR = 24
_NANO = 1000000000
_CLOCK = {
    "jumped": "was set: budgets go by it when it has stood for ten minutes",
    "behind": "is behind the ledger: its newest day is charged until it has caught up",
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unknown", action="store_true", help="list attempts whose outcome nobody knows"
    )
    parser.add_argument(
        "--amend", type=whole, metavar="ATTEMPT", help="say what an unknown attempt cost"
    )
    parser.add_argument("--cost-usd", metavar="USD", help="its true cost, with --amend")
    parser.add_argument("--why", metavar="TEXT", help="how you know, with --amend")
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    add_timeout_option(parser, QUICK_S)


def run_budget(args: argparse.Namespace, term: Terminal) -> int:
    method, asked = "budget", {}  # type: Tuple[str, Dict[str, Any]]
    if args.amend is not None:
        method, asked = "budget.amend", _amendment(args)
    elif args.cost_usd is not None or args.why is not None:
        raise UsageProblem("--cost-usd and --why go with --amend ATTEMPT")
    with open_client(args, args.timeout) as client:
        result = client.call(method, asked)
    if args.json:
        term.json(result)
    elif method == "budget.amend":
        said = (result["attempt"], dollars(result["cost_nanousd"]))
        term.line("attempt %s: %s" % said)
    elif args.unknown:
        _print_unknown(term, result["unknown"])
    else:
        _print_budgets(term, result)
    return OK


def _amendment(args: argparse.Namespace) -> Dict[str, Any]:
    if args.cost_usd is None or not args.why:
        raise UsageProblem("--amend needs --cost-usd USD and --why TEXT")
    return {"attempt": args.amend, "cost_nanousd": nanousd(args.cost_usd), "why": args.why}


def nanousd(text: str) -> int:
    """Read dollars exactly, rounded up to a nano-dollar. Raises `UsageProblem`."""
    from decimal import ROUND_CEILING, Decimal, InvalidOperation

    try:
        amount = Decimal(text)
        if amount.is_finite() and 0 <= amount <= _NANO:
            return int((amount * _NANO).to_integral_value(rounding=ROUND_CEILING))
    except InvalidOperation:
        pass
    raise UsageProblem("--cost-usd: %r is no amount in dollars, e.g. 0.0125" % text)


def _print_budgets(term: Terminal, result: Dict[str, Any]) -> None:
    if not result["budgets"]:
        term.say("sutler: no budget is set; llm.budget.daily_limit_usd sets one")
    names = ["%s  %s" % (row["name"], row["scope"]) for row in result["budgets"]]
    width = max([len(visible(name)) for name in names] or [0])
    for name, row in zip(names, result["budgets"]):
        bar, style = _bar(row)
        term.raw_line(
            "%s  %s  %s" % (visible(name).ljust(width), term.styled(bar, style), _said(row))
        )
    if result["ledger"] != "open":
        term.say("sutler: the ledger is %s: calls that cost money wait" % result["ledger"])
    clock = result.get("clock") or {"state": "ok"}
    if clock["state"] != "ok":
        said = _CLOCK.get(clock["state"], "is not believed")
        term.say("sutler: the wall clock %s (%s s)" % (said, clock.get("by_s")))
    if result["unknown"]:
        charged = dollars(sum(row["charged_nanousd"] for row in result["unknown"]))
        count = len(result["unknown"])
        term.line(
            "unknown: %d attempt%s under way when the daemon died, charged %s (--unknown)"
            % (count, "" if count == 1 else "s", charged)
        )


def _bar(row: Dict[str, Any]) -> Tuple[str, str]:
    """Draw ``#`` for what is spent and ``~`` for what is held; give its colour, too."""
    limit, spent = row["limit_nanousd"], row["settled_nanousd"]
    taken = spent + row["pending_nanousd"]
    if limit <= 0:
        return "[" + "#" * _BAR + "]", "red"
    full = min(_BAR, spent * _BAR // limit)
    held = min(_BAR, -(-taken * _BAR // limit)) - full if taken > spent else 0
    bar = "[" + "#" * full + "~" * held + "." * (_BAR - full - held) + "]"
    style = "red" if spent >= limit else "yellow" if spent * 5 >= limit * 4 else "green"
    return bar, style


def _said(row: Dict[str, Any]) -> str:
    limit, spent = row["limit_nanousd"], row["settled_nanousd"]
    part = " (%d %%)" % (spent * 100 // limit) if limit > 0 else ""
    said = ["%s of %s%s" % (dollars(spent), dollars(limit), part)]
    if row["pending_nanousd"]:
        said.append("%s held" % dollars(row["pending_nanousd"]))
    if row["ends_at"]:
        said.append("at this pace empty at %s" % row["ends_at"])
    if row["resets_at"]:
        said.append("anew at %s" % row["resets_at"])
    return visible(", ".join(said))


def _print_unknown(term: Terminal, unknown: List[Dict[str, Any]]) -> None:
    if not unknown:
        term.say("sutler: every attempt's outcome is known")
        return
    for at, line in enumerate(table(unknown)):
        term.raw_line(term.styled(line, "bold") if not at else line)


_DETAILS = """\
Each budget with a bar: # is spent, ~ is held for calls under way. Your own and the
node's; operators see all. What was under way when the daemon died is charged at
its worst case until an operator who has seen the bill says better.

examples:
  sutler budget
  sutler budget --unknown
  sutler budget --amend 4711 --cost-usd 0.0125 --why "the provider's bill"
"""

BUDGET = Command(
    "budget", "", "show what may be spent and what is", _DETAILS, _arguments, run_budget
)
