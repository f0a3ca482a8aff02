"""``sutler map``: ask every row of a file, in parallel, and write the answers in order."""

from __future__ import annotations

import os
import stat
import sys
import time

from sutler.cli_command import Command, open_client
from sutler.cli_exit import FAILED, OK, UsageProblem
from sutler.cli_map_output import OutputFile
from sutler.cli_map_rows import read_rows
from sutler.cli_map_run import Reporter, Run
from sutler.cli_options import QUICK_S, add_call_options, at_most, call_parameters, seconds
from sutler.cli_progress import Progress
from sutler.errors import DaemonUnavailable, ShuttingDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import BinaryIO, Iterator, List, Optional

    from sutler.cli_map_rows import Row
    from sutler.cli_terminal import Terminal

#: The daemon reads no more requests of one connection than this before it has answered some.
MOST_IN_FLIGHT = 256

_DETAILS = """\
A row of INPUT is a JSON string (a prompt), a list of messages, or an object with "prompt"
or "messages" and any other parameters of a call, which go before the options given here.
An "id" in the object is carried over. A row of OUTPUT, in the order of INPUT:
  {"index": 0, "input": "digest", "result": {"content": …, "usage": …, "cached": …, …}}
  {"index": 1, "input": "digest", "error": {"type": …, "message": …, "retryable": …, …}}

Run the same command again after an interruption: rows that OUTPUT holds are not asked
again. A row that fails is written as an error and the others go on.

exit codes: 0 all rows answered, 1 some rows hold errors, 2 nothing was asked,
3 the daemon went away (run it again to go on), 130 interrupted (the same)

examples:
  sutler map prompts.jsonl answers.jsonl --model gpt-4o-mini --max-tokens 200
  sutler map prompts.jsonl answers.jsonl --retry-errors
  jq -c .question survey.jsonl | sutler map - - | jq -r .result.content
"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="a JSON document a line; -: standard input")
    parser.add_argument("output", metavar="OUTPUT", help="written or resumed; -: standard output")
    parser.add_argument(
        "--in-flight",
        type=at_most(MOST_IN_FLIGHT),
        default=32,
        metavar="N",
        help="ask N rows at once (32, at most %d)" % MOST_IN_FLIGHT,
    )
    parser.add_argument(
        "--retry-errors", action="store_true", help="ask rows again whose error may pass"
    )
    parser.add_argument(
        "--retry-all-errors", action="store_true", help="ask all rows again that hold an error"
    )
    parser.add_argument("--overwrite", action="store_true", help="begin OUTPUT anew")
    parser.add_argument(
        "--wait",
        type=seconds,
        default=30.0,
        metavar="S",
        help="go on if the daemon comes back within S seconds (30)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    add_call_options(parser)


def run_map(args: argparse.Namespace, term: Terminal) -> int:
    options = call_parameters(args)
    _refuse_same_file(args.input, args.output)
    with _open_input(args.input) as source, open_client(args, args.timeout, args.wait) as client:
        total = _count_rows(source)
        client.ping(timeout_s=QUICK_S)  # without a daemon no file is touched
        output = OutputFile(args.output)
        try:
            output.open(args.overwrite)
            rows = read_rows(source, options)
            again = _resume(args, output, rows)
            there = len(output.rows) - len(again)
            progress = Progress(total, there, time.monotonic())
            # Rows and a line that is written over would fight for the same screen.
            quiet = args.quiet or (args.output == "-" and term.out_is_terminal)
            with Reporter(term, progress, quiet) as reporter:
                run = Run(client, progress, args.in_flight, args.wait, reporter.say)
                if again:
                    run.replace(output, again)
                run.append(output, rows)
        except (KeyboardInterrupt, DaemonUnavailable, ShuttingDown):
            if output.resumable:
                term.say(
                    "sutler: %s is whole so far; the same command goes on from there" % args.output
                )
            raise
        finally:
            output.close()
    failed_before = sum(row.error is not None for row in output.rows) - len(again)
    return FAILED if failed_before + progress.failed else OK


def _refuse_same_file(source: str, target: str) -> None:
    if "-" not in (source, target) and os.path.exists(target) and os.path.samefile(source, target):
        raise UsageProblem("INPUT and OUTPUT are the same file; name another OUTPUT")


def _open_input(path: str) -> BinaryIO:
    if path == "-":
        if sys.stdin is None:
            raise UsageProblem("standard input is closed; name a file")
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except OSError as error:
        raise UsageProblem("%s: %s" % (path, error.strerror)) from None


def _count_rows(source: BinaryIO) -> Optional[int]:
    """Count the lines that are not blank, if the input can be read twice."""
    if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        return None
    start = source.tell()
    total = sum(1 for line in source if line.strip())
    source.seek(start)
    return total


def _resume(args: argparse.Namespace, output: OutputFile, rows: Iterator[Row]) -> List[Row]:
    """Pass over the rows that are written already; give those of them to ask again.

    Raises UsageProblem if what is written belongs to another input or other options.
    """
    again = []
    for written in output.rows:
        row = next(rows, None)
        if row is None:
            raise UsageProblem(
                "%s holds more rows than %s; name another OUTPUT, or --overwrite it"
                % (args.output, args.input)
            )
        if row.digest != written.digest:
            raise UsageProblem(
                "row %d of %s was asked otherwise in %s: resume with the same INPUT and options, "
                "name another OUTPUT, or --overwrite it" % (row.index, args.input, args.output)
            )
        if written.error is not None and (
            args.retry_all_errors or (args.retry_errors and written.retryable)
        ):
            again.append(row)
    return again


MAP = Command("map", "INPUT OUTPUT", "ask every row of a file", _DETAILS, _arguments, run_map)
