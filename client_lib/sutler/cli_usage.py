"""``sutler usage`` and ``sutler report``: who used what, what it cost, what the cache saved."""

from __future__ import annotations

import argparse
import csv
import io
from datetime import date, datetime, timedelta, timezone

from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK
from sutler.cli_options import QUICK_S, add_timeout_option, whole
from sutler.cli_tables import cell, dollars, duration, table
from sutler.cli_terminal import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from sutler.cli_terminal import Terminal

GROUPS = ("day", "uid", "job", "component", "project", "provider", "model")
#: Always shown; what else nobody has is left out.
_ALWAYS = ("calls", "cost_nanousd")
_FIGURES = (
    "calls",
    "cached",
    "coalesced",
    "errors",
    "tokens_in",
    "tokens_out",
    "cached_tokens_in",
    "cache_write_tokens_in",
    "reasoning_tokens_out",
    "cost_nanousd",
    "saved_nanousd",
    "unpriced",
    "unknown",
    "waited_s",
)


def _day(text: str) -> str:
    """Read a day: ``2026-11-23``, ``today``, ``yesterday``, or ``7d`` for the last 7 days."""
    back = {"today": 0, "yesterday": 1}.get(text)
    if back is None and text.endswith("d") and text[:-1].isdigit() and int(text[:-1]) > 0:
        back = min(int(text[:-1]) - 1, 36600)
    if back is not None:
        # As the daemon counts days, unless its budgets are set to another zone.
        return (datetime.now(timezone.utc).date() - timedelta(days=back)).isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        said = "%r is no day: give YYYY-MM-DD, today, yesterday, or 7d" % text
        raise argparse.ArgumentTypeError(said) from None


def _groups(text: str) -> List[str]:
    names = text.split(",")
    for name in names:
        if name not in GROUPS and names != ["request"]:
            raise argparse.ArgumentTypeError(
                "%r is not one of %s; or give request alone" % (name, ", ".join(GROUPS))
            )
    return names


def _day_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", type=_day, metavar="DAY", help="first day: YYYY-MM-DD, today, 7d (31d)"
    )
    parser.add_argument("--until", type=_day, metavar="DAY", help="last day (today)")


def _usage_arguments(parser: argparse.ArgumentParser) -> None:
    _day_arguments(parser)
    parser.add_argument(
        "--by",
        type=_groups,
        metavar="WHAT",
        default=["day"],
        help="one or several of %s, with commas; or request" % ", ".join(GROUPS),
    )
    parser.add_argument("--job", metavar="N", help="only this job")
    parser.add_argument("--uid", type=whole, metavar="N", help="only this user (operators)")
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    parser.add_argument("--csv", action="store_true", help="print all figures with commas")
    add_timeout_option(parser, QUICK_S)


def run_usage(args: argparse.Namespace, term: Terminal) -> int:
    by = args.by
    asked: Dict[str, Any] = {"by": "request" if by == ["request"] else by}
    for name in ("since", "until", "job", "uid"):
        if getattr(args, name) is not None:
            asked[name] = getattr(args, name)
    with open_client(args, args.timeout) as client:
        result = client.call("usage", asked)
    if args.json:
        term.json(result)
    elif args.csv:
        term.write(csv_text(result["rows"]))
    elif not result["rows"]:
        term.say("sutler: nothing was asked from %s to %s" % (result["since"], result["until"]))
    else:
        _print_usage(term, result, by)
    return OK


def _print_usage(term: Terminal, result: Dict[str, Any], by: List[str]) -> None:
    single = by == ["request"]
    first = ["ended_unix_s", "request_id", "uid", "component", "model", "error"] if single else by
    rows = [_shown(row) for row in result["rows"]]
    if not single and len(rows) > 1:
        total = _shown(result["total"])
        total[by[0]] = "total"
        rows.append(total)
    print_figures(term, rows, first, last_is_total=not single and len(rows) > 1)
    if result["left_out"]:
        term.say("sutler: %d more are left out; ask for fewer days" % result["left_out"])


def print_figures(
    term: Terminal, rows: List[Dict[str, Any]], first: List[str], last_is_total: bool = False
) -> None:
    """Print a table of figures; those that are nothing everywhere are left out."""
    for row in rows:
        for name in first:
            if name != "ended_unix_s" and row.get(name) is not None:
                row[name] = visible(str(row[name]))
    figures = [n for n in _FIGURES if n in _ALWAYS or any(row.get(n) for row in rows)]
    lines = table(rows, first + figures)
    for at, line in enumerate(lines):
        if at == 0 or (last_is_total and at == len(lines) - 1):
            line = term.styled(line, "bold")
        term.raw_line(line)


def csv_text(rows: List[Dict[str, Any]]) -> str:
    """Write rows as they came, with a line of names; errors by type are left to JSON."""
    names = [name for name in rows[0] if name != "error_types"] if rows else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_harmless(row.get(name)) for name in names])
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """Keep a spreadsheet from running a name that a user chose as a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def _shown(row: Dict[str, Any]) -> Dict[str, Any]:
    shown = dict(row)
    shown["waited_s"] = row.get("waited_ms", 0) / 1000.0
    shown["ended_unix_s"] = row.get("unix_s")
    return shown


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--job", metavar="N", help="the job (the one this runs in)")
    _day_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the daemon's whole answer")
    add_timeout_option(parser, QUICK_S)


def run_report(args: argparse.Namespace, term: Terminal) -> int:
    asked = {name: getattr(args, name) for name in ("job", "since", "until")}
    with open_client(args, args.timeout) as client:
        report = client.call("report", {k: v for k, v in asked.items() if v is not None})
    if args.json:
        term.json(report)
        return OK
    days = report["since"]
    if report["until"] != report["since"]:
        days += " to " + report["until"]
    term.raw_line(term.styled("job %s, %s" % (visible(report["job"]), days), "bold"))
    for title, said in _sentences(report["total"]):
        term.line("%-8s%s" % (title, said))
    if report["models"]:
        term.line()
        print_figures(term, [_shown(row) for row in report["models"]], ["provider", "model"])
    named = [row for row in report["components"] if row["component"] or row["project"]]
    if named:
        term.line()
        rows = [_shown(row) for row in report["components"]]
        print_figures(term, rows, ["component", "project"])
    return OK


def _sentences(total: Dict[str, Any]) -> List[Tuple[str, str]]:
    """Say a job's figures in words, leaving out what did not happen."""
    said = [("asked", _asked(total))]
    if total["errors"]:
        types = ", ".join("%s %s" % item for item in total["error_types"].items())
        said.append(("failed", "%s: %s" % (cell("n", total["errors"]), types)))
    said.append(("cost", dollars(total["cost_nanousd"])))
    if total["unknown"]:
        said.append(("", "%d attempts of unknown outcome at their worst case" % total["unknown"]))
    if total["unpriced"]:
        said.append(("", "and %d attempts whose price nobody knows" % total["unpriced"]))
    if total["saved_nanousd"]:
        said.append(("saved", dollars(total["saved_nanousd"])))
    if total["tokens_in"] or total["tokens_out"]:
        numbers = tuple(cell("n", total[name]) for name in ("tokens_in", "tokens_out"))
        said.append(("tokens", "%s in, %s out" % numbers))
    if total["waited_ms"]:
        said.append(("waited", duration(total["waited_ms"] / 1000.0) + " in all"))
    return said


def _asked(total: Dict[str, Any]) -> str:
    calls = total["calls"]
    if not calls:
        return "nothing"
    bought = calls - total["cached"] - total["coalesced"] - total["errors"]
    parts = [(bought, "answered by a model"), (total["cached"], "from the cache")]
    parts += [(total["coalesced"], "shared with a call under way"), (total["errors"], "failed")]
    told = ", ".join("%s %s" % (cell("n", count), what) for count, what in parts if count)
    return "%s call%s: %s" % (cell("n", calls), "" if calls == 1 else "s", told)


_USAGE_DETAILS = """\
Your own, or everyone's if you operate the daemon. Costs are those of attempts,
also of calls that failed. --by request shows single calls, as long as they are
kept; hits that were answered from memory are only in the sums.

examples:
  sutler usage
  sutler usage --since 7d --by component,model
  sutler usage --by job --csv > november.csv
"""

_REPORT_DETAILS = """\
For the end of a job, such as Slurm's epilog: what was asked, what it cost, what
the cache saved, how long calls waited, what failed, which models really served.

examples:
  sutler report
  sutler report --job 4711 --json
"""

USAGE = Command(
    "usage", "", "show who used what and what it cost", _USAGE_DETAILS, _usage_arguments, run_usage
)
REPORT = Command(
    "report", "", "account for one batch job", _REPORT_DETAILS, _report_arguments, run_report
)
