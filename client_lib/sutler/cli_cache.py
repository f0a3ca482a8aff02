"""``sutler cache``: what is stored, without it, in a file and back from one."""

from __future__ import annotations

from sutler.cli_command import Command, open_client
from sutler.cli_exit import FAILED, OK, CommandFailed, UsageProblem
from sutler.cli_options import QUICK_S, add_timeout_option, number
from sutler.cli_show import print_sections
from sutler.cli_tables import pairs
from sutler.cli_terminal import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, Optional, Sequence

    from sutler.cli_terminal import Terminal

#: How many files each takes.
_FILES = {"stats": 0, "clear": 0, "export": 1, "import": 1, "diff": 2}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=tuple(_FILES), help="what to do")
    parser.add_argument("files", nargs="*", metavar="FILE", help="for export, import and diff")
    parser.add_argument("--scope", metavar="SCOPE", help="whose, e.g. uid:1000 (operators)")
    parser.add_argument(
        "--ttl-s", type=number, metavar="S", help="import: let them live so long from now"
    )
    parser.add_argument("--json", action="store_true", help="print the whole answer")
    add_timeout_option(parser, QUICK_S)


def run(args: argparse.Namespace, term: Terminal) -> int:
    if len(args.files) != _FILES[args.what]:
        takes = ("no file", "one FILE", "two FILEs")[_FILES[args.what]]
        raise UsageProblem("sutler cache %s takes %s" % (args.what, takes))
    if args.scope is not None and args.what not in ("export", "import"):
        raise UsageProblem("--scope goes with export and import")
    if args.ttl_s is not None and (args.what != "import" or args.ttl_s <= 0):
        raise UsageProblem("--ttl-s goes with import, and is more than 0")
    if args.what == "diff":
        return _diff(args, term)
    result = _moved(args) if args.files else _asked(args)
    if args.json:
        term.json(result)
        return OK
    if args.what == "stats":
        print_sections(term, result)
        return OK
    for line in pairs(_flat(result)):
        term.line(line)
    return OK


def _asked(args: argparse.Namespace) -> Dict[str, Any]:
    with open_client(args, args.timeout) as client:
        result: Dict[str, Any] = client.call("cache." + args.what, {})
    return result


def _moved(args: argparse.Namespace) -> Dict[str, Any]:
    from sutler.cache_moves import load, save

    path = args.files[0]
    with open_client(args, args.timeout) as client:
        if args.what == "import":
            return dict(load(client, path, args.scope, args.ttl_s))
        try:
            return save(client, path, args.scope)
        except OSError as error:
            raise CommandFailed("%s: %s" % (path, error.strerror)) from None


def _flat(result: Dict[str, Any]) -> Dict[str, Any]:
    """Give the manifest for people."""
    shown: Dict[str, Any] = {}
    for name, value in result.items():
        if not isinstance(value, dict):
            shown[name] = value
        elif value:
            shown[name] = ", ".join(value)
    return shown


def _diff(args: argparse.Namespace, term: Terminal) -> int:
    from sutler.cache_file import Opened
    from sutler.cache_moves import changes, differing_heads, shown

    counts = {"=": 0, "-": 0, "+": 0, "~": 0}
    with Opened(args.files[0]) as one, Opened(args.files[1]) as other:
        heads = list(differing_heads(one, other))
        for sign, before, after in changes(one, other):
            counts[sign] += 1
            if sign != "=" and not args.json:
                for mark, entry in _marked(sign, before, after):
                    term.raw_line("%s %s" % (mark, visible(shown(entry))))
    said = {"same": counts["="], "only_first": counts["-"], "only_second": counts["+"]}
    said["other_answer"] = counts["~"]
    if args.json:
        term.json({**said, "head": heads})
    else:
        for line in [*heads, *pairs(said)]:
            term.line(line)
    return OK if counts["="] == sum(counts.values()) else FAILED


def _marked(
    sign: str, before: Optional[Dict[str, Any]], after: Optional[Dict[str, Any]]
) -> Sequence[Any]:
    """Give a change as lines: what was with ``-``, what is with ``+``."""
    return [("-", before), ("+", after)] if sign == "~" else [(sign, before or after)]


_DETAILS = """\
Only what you stored yourself, unless you operate the daemon.

export writes your answers, and who gave them by which prompts and prices, to a file;
import brings such a file into your cache, in any daemon: what is there already stays,
and each answer lives as long as it would have, or for --ttl-s, but never longer than
the daemon's llm.cache.max_ttl_s. A file that is not whole changes nothing. Import what
you trust: it will be given to your programs as the models' answers.
diff compares two files, and exits with 1 if their answers differ.

examples:
  sutler cache stats
  sutler cache export answers.cache
  sutler cache import answers.cache --ttl-s 86400
  sutler cache diff before.cache after.cache
"""

CACHE = Command(
    "cache",
    "stats|clear|export|import|diff [FILE ...]",
    "show, empty, take along or bring in the stored answers",
    _DETAILS,
    _arguments,
    run,
)
