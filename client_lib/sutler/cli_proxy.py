"""``sutler proxy`` and ``sutler token``: the daemon for programs that speak HTTP."""

from __future__ import annotations

import os

from sutler.cli_command import Command, open_client
from sutler.cli_exit import OK, UsageProblem
from sutler.cli_options import QUICK_S, add_timeout_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Dict, List

    from sutler.cli_terminal import Terminal

_PROXY_DETAILS = """\
Runs COMMAND with OPENAI_BASE_URL, OPENAI_API_KEY, ANTHROPIC_BASE_URL and
ANTHROPIC_API_KEY set, so that a tool made for OpenAI's or Anthropic's API asks
this node's sutlerd instead, as this user. The port and the token are the
command's own and end with it. The exit code is that of COMMAND.

examples:
  sutler proxy -- llm "Name three noble gases"
  sutler proxy -- python my_agent.py
"""
_TOKEN_DETAILS = """\
For programs that reach the daemon's HTTP side over TCP (http.listen in its
configuration). Operators only. A user has one token: a new one voids the one
before. It is shown once; the daemon keeps a hash.

examples:
  export OPENAI_API_KEY=$(sutler token)
  sutler token --user alice
  sutler token --user alice --revoke
"""


def beside(path: str) -> str:
    """Give the HTTP socket that belongs to a daemon's socket, where nobody says another."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    return os.path.join(folder, stem + "-http" + suffix)


def _proxy_arguments(parser: argparse.ArgumentParser) -> None:
    import argparse

    parser.add_argument(
        "--http-socket", metavar="PATH", help="the daemon's HTTP socket (default: beside the other)"
    )
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run")


def run_proxy(args: argparse.Namespace, term: Terminal) -> int:
    from sutler.dial import locate
    from sutler.relay import CommandDoor, Relay

    argv: List[str] = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise UsageProblem("name a command to run: sutler proxy -- COMMAND (--help tells more)")
    path = args.http_socket or beside(locate(args.socket, os.environ, os.geteuid()))
    check(path)
    door = CommandDoor()
    with Relay(path, door) as relay:
        return _run(argv, _environment(door.variables(relay.port)))


def check(path: str) -> None:
    """Say at once that nobody is there, not in the words of some tool's library."""
    from sutler.dial import connect

    connect(path, (), 10.0).close()


def _environment(variables: Dict[str, str]) -> Dict[str, str]:
    environ = dict(os.environ)
    environ.pop("ANTHROPIC_AUTH_TOKEN", None)
    environ.update(variables)
    for name in ("NO_PROXY", "no_proxy"):
        # A proxy of the site must not be asked for this machine.
        environ[name] = ",".join(filter(None, [environ.get(name), "127.0.0.1"]))
    return environ


def _run(argv: List[str], environ: Dict[str, str]) -> int:
    """Run the command in the foreground; signals for us are for it."""
    import signal
    import subprocess

    try:
        child = subprocess.Popen(argv, env=environ)
    except OSError as error:
        raise UsageProblem("%s: %s" % (argv[0], error.strerror)) from None

    def pass_on(number: int, frame: Any) -> None:
        child.send_signal(number)

    # Ctrl-C reaches the command by itself; it decides what that means.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, pass_on)
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _token_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help="whom it stands for (default: you)")
    parser.add_argument("--revoke", action="store_true", help="void the user's token instead")
    add_timeout_option(parser, QUICK_S)


def run_token(args: argparse.Namespace, term: Terminal) -> int:
    asked: Dict[str, Any] = {} if args.user is None else {"user": args.user}
    with open_client(args, args.timeout) as client:
        if args.revoke:
            had = client.call("token.revoke", asked)["revoked"]
            term.say("sutler: the token is void" if had else "sutler: there was no token")
        else:
            term.line(client.call("token.create", asked)["token"])
    return OK


PROXY = Command(
    "proxy",
    "-- COMMAND [argument ...]",
    "run a command whose OpenAI or Anthropic API is this daemon",
    _PROXY_DETAILS,
    _proxy_arguments,
    run_proxy,
)
TOKEN = Command(
    "token",
    "",
    "make a user's token for the daemon's HTTP side over TCP",
    _TOKEN_DETAILS,
    _token_arguments,
    run_token,
)
