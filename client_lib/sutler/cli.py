"""The ``sutler`` command: which commands there are, and how every one of them ends.

What a command does is in a module of its own. Whatever goes wrong becomes one line that
begins with ``sutler:`` and an exit code of `sutler.cli_exit`; no traceback is for users.
"""

from __future__ import annotations

import argparse
import os
import sys

from sutler import (
    cli_budget,
    cli_cache,
    cli_chat,
    cli_embed,
    cli_map,
    cli_operate,
    cli_page,
    cli_prompts,
    cli_providers,
    cli_proxy,
    cli_raw,
    cli_run,
    cli_show,
    cli_top,
    cli_usage,
)
from sutler.cli_exit import (
    OK,
    CommandFailed,
    UsageProblem,
    exit_code_for,
    exit_code_table,
)
from sutler.cli_terminal import Terminal, prepare_standard_streams
from sutler.errors import SutlerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, NoReturn, Optional, Sequence

    from sutler.cli_command import Command

COMMANDS = (
    cli_chat.CHAT,
    cli_chat.COMPLETE,
    cli_map.MAP,
    cli_prompts.PROMPTS,
    cli_embed.EMBED,
    cli_embed.COUNT_TOKENS,
    cli_show.MODELS,
    cli_show.STATUS,
    cli_show.QUEUE,
    cli_top.TOP,
    cli_usage.USAGE,
    cli_budget.BUDGET,
    cli_usage.REPORT,
    cli_cache.CACHE,
    cli_providers.PROVIDERS,
    cli_run.RUN,
    cli_operate.RELOAD,
    cli_operate.DRAIN,
    cli_show.PING,
    cli_proxy.PROXY,
    cli_proxy.TOKEN,
    cli_page.PAGE,
    cli_raw.RAW,
)

_DETAILS = """\
The daemon, sutlerd, is found at $SUTLER_SOCKET; without it, at the first of
$XDG_RUNTIME_DIR/sutler, $TMPDIR/sutler-UID, /tmp/sutler-UID and /run/sutler
that holds a sutler.sock. --socket PATH goes before all of them.

exit codes:
%s

examples:
  sutler chat "What is the capital of France?"
  sutler map prompts.jsonl answers.jsonl
  sutler chat --help
"""


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Room for the longest name of a command before what it does."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are ours to print."""

    def error(self, message: str) -> NoReturn:
        raise UsageProblem("%s (%s --help tells more)" % (message, self.prog))


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    top = _Parser(
        prog="sutler",
        description="Ask the language models that this node's sutlerd shares.",
        epilog=_DETAILS % exit_code_table(),
        usage="sutler [--socket PATH] COMMAND ...",
        formatter_class=_Wide,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version="sutler " + _version())
    top.add_argument("--socket", metavar="PATH", default=None, help="where the daemon listens")
    commands = top.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=_Parser
    )
    for command in COMMANDS:
        _add(commands, command)
    return top


def _add(commands: argparse._SubParsersAction[_Parser], command: Command) -> None:
    sub = commands.add_parser(
        command.name,
        usage="sutler %s [option ...] %s" % (command.name, command.words),
        help=command.summary,
        description=command.summary[0].upper() + command.summary[1:] + ".",
        epilog=command.details,
        formatter_class=_Wide,
        allow_abbrev=False,
    )
    command.arguments(sub)
    sub.add_argument(
        "--socket", metavar="PATH", default=argparse.SUPPRESS, help="where the daemon listens"
    )
    sub.set_defaults(run=command.run)


def _version() -> str:
    from sutler import __version__

    return __version__


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line (default: that of the process) and give its exit code."""
    prepare_standard_streams()
    term = Terminal(sys.stdout, sys.stderr, os.environ)
    listed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(listed, term)
        term.flush()
        return code
    except KeyboardInterrupt as interrupt:
        term.note("(interrupted)")
        return exit_code_for(interrupt)
    except (UsageProblem, CommandFailed, SutlerError) as error:
        term.problem(_advice(error))
        return exit_code_for(error)
    except (OSError, MemoryError) as error:
        _leave_quietly()
        if not isinstance(error, BrokenPipeError):
            term.problem(str(error) or type(error).__name__)
        return exit_code_for(error)


def _run(listed: List[str], term: Terminal) -> int:
    _check_command(listed)
    try:
        args = parser().parse_args(listed)
    except SystemExit as leaving:  # --help and --version have been printed
        return int(leaving.code or OK)
    code: int = args.run(args, term)
    return code


def _check_command(listed: List[str]) -> None:
    """Say what was probably meant, which argparse does not."""
    names = [command.name for command in COMMANDS]
    waits_for_value = False
    for word in listed:
        if waits_for_value:
            waits_for_value = False
        elif word == "--socket":
            waits_for_value = True
        elif not word.startswith("-"):
            if word in names:
                return
            from difflib import get_close_matches

            near = get_close_matches(word, names, 1)
            hint = "did you mean %r?" % near[0] if near else "there are " + ", ".join(names)
            raise UsageProblem("there is no command %r; %s" % (word, hint))
        elif word in ("-h", "--help", "--version"):
            return
    raise UsageProblem("name a command: %s (sutler --help tells more)" % ", ".join(names))


def _advice(error: Exception) -> str:
    """Give the message of ``error``, with when to try again and what to quote to whom."""
    message = str(error)
    if not isinstance(error, SutlerError):
        return message
    if error.retryable and error.retry_after_s:
        message += " (try again in %.3g s)" % error.retry_after_s
    if error.request_id and error.type in ("internal_error", "outcome_unknown"):
        message += " (request %s in the daemon's log)" % error.request_id
    return message


def _leave_quietly() -> None:
    """Keep the interpreter from writing what is left to an output that takes no more."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass  # no descriptor left, or no standard output: nothing to keep quiet
