"""``sutler top``: what the daemon is doing, on a screen that stays."""

from __future__ import annotations

import sys

from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK
from sutler.cli_options import QUICK_S, add_timeout_option, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Union

    from sutler.cli_terminal import Terminal
    from sutler.top_plain import PlacePainter, ScrollPainter
    from sutler.top_rich import RichPainter
    from sutler.top_watch import Watch

    Painter = Union[PlacePainter, ScrollPainter, RichPainter]

_EVERY_S = 1.0
_LEAST_EVERY_S, _MOST_EVERY_S = 0.1, 86400.0
#: While the daemon is away, how often it is said for how long.
_COUNT_EVERY_S = 1.0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--every", type=_pace, default=_EVERY_S, metavar="S", help="look every S seconds (1)"
    )
    parser.add_argument("--once", action="store_true", help="print one screen and leave")
    parser.add_argument(
        "--plain", action="store_true", help="draw without rich, even if it is there"
    )
    add_timeout_option(parser, QUICK_S, "take a look that lasts S seconds for failed")


def _pace(text: str) -> float:
    return min(_MOST_EVERY_S, max(_LEAST_EVERY_S, seconds(text)))


def run_top(args: argparse.Namespace, term: Terminal) -> int:
    from sutler.top_watch import Watch

    with open_client(args, args.timeout, 0.0) as client:
        watch = Watch(client, args.every)
        first = watch.look()
        painter = _painter(args, term)
        if args.once:
            painter.paint(first)
            return OK
        return _stay(watch, painter, keyboard=term.out_is_terminal)


def _painter(args: argparse.Namespace, term: Terminal) -> Painter:
    from sutler.top_plain import PlacePainter, ScrollPainter

    if args.once or not term.can_replace_screen:
        return ScrollPainter(term, sys.stdout)
    if not args.plain:
        try:
            from sutler.top_rich import RichPainter

            return RichPainter(sys.stdout)
        except ImportError:
            pass  # the extra is not installed: plain is what there is
    return PlacePainter(term, sys.stdout)


def _stay(watch: Watch, painter: Painter, *, keyboard: bool) -> int:
    from sutler.top_keys import Keys

    with Keys(sys.stdin, keyboard=keyboard) as keys:
        painter.enter()
        try:
            watch.start(keys.wake)
            shown: object = None
            while not keys.quit and keys.ended_by is None:
                if painter.overwrites or watch.version != shown:
                    shown = watch.version
                    painter.paint(watch.screen())
                keys.wait(_COUNT_EVERY_S if watch.is_away else 3600.0)
                keys.suspend(painter)
        finally:
            watch.stop()
            painter.leave()
        import signal

        ended_by = keys.ended_by
    return OK if ended_by in (None, signal.SIGINT) else 128 + int(ended_by)


_DETAILS = """\
Budgets and limits as bars, who waits, how much the cache answers, providers, callers
and errors. q or Ctrl-C leaves. A daemon that goes away is waited for. Only your own
calls, unless you operate the daemon. On a pipe, one screen after another.

With rich installed (pip install 'sutler[top]') it fills the window.

examples:
  sutler top
  sutler top --once
"""

TOP = Command("top", "", "watch what the daemon is doing", _DETAILS, _arguments, run_top)
