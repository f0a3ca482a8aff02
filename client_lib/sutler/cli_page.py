"""``sutler page``: the daemon's status page in a browser, here or at the end of a tunnel."""

from __future__ import annotations

import os

from sutler.cli_command import Command
from sutler.cli_exit import OK, CommandFailed, UsageProblem
from sutler.cli_options import at_most
from sutler.cli_proxy import beside, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Mapping

    from sutler.cli_terminal import Terminal

#: Where batch systems say which host a job was handed in on: the way in to its nodes.
_WAYS_IN = ("SLURM_SUBMIT_HOST", "PBS_O_HOST")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=at_most(65535), metavar="PORT", help="listen there (default: a free port)"
    )
    parser.add_argument("--no-open", action="store_true", help="open no browser")
    parser.add_argument(
        "--http-socket", metavar="PATH", help="the daemon's HTTP socket (default: beside the other)"
    )


def run_page(args: argparse.Namespace, term: Terminal) -> int:
    from sutler.dial import locate
    from sutler.errors import DaemonUnavailable
    from sutler.relay import Relay
    from sutler.relay_page import PageDoor

    path = args.http_socket or beside(locate(args.socket, os.environ, os.geteuid()))
    try:
        check(path)
    except DaemonUnavailable as error:
        said = "%s The page is on the daemon's HTTP side: is http.enabled on?" % error
        raise DaemonUnavailable(said, retryable=error.retryable, data=error.data) from None
    door = PageDoor()
    relay = Relay(path, door, port=args.port or 0)
    try:
        relay.__enter__()
    except OSError as error:
        said = "port %s of 127.0.0.1 is not to be had: %s" % (args.port or "", error.strerror)
        raise UsageProblem(said) from None
    try:
        _show(door.address(relay.port), relay.port, args.no_open, term)
        relay.wait()
    except KeyboardInterrupt:
        return OK  # the way to end it
    finally:
        relay.__exit__()
    raise CommandFailed("the relay has ended")


def _show(address: str, port: int, no_open: bool, term: Terminal) -> None:
    if is_far(os.environ):
        term.say("sutler: on the machine with the browser, first: " + tunnel(port, os.environ))
    term.say("sutler: the address opens once, in one browser; Ctrl-C ends the page")
    term.line(address)
    if no_open or is_far(os.environ):
        return
    import webbrowser

    if not webbrowser.open(address):
        term.say("sutler: no browser could be started here; open the address yourself")


def is_far(environ: Mapping[str, str]) -> bool:
    """Say whether the person's browser is on another machine than this."""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return True
    return not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def tunnel(port: int, environ: Mapping[str, str]) -> str:
    """Give the command that brings ``port`` of this machine to another, by its way in if known."""
    user, host = _user(), os.uname().nodename
    ways = [environ[name] for name in _WAYS_IN if environ.get(name)]
    jump = ""
    if ways and ways[0].split(".")[0] != host.split(".")[0]:
        jump = "-J %s@%s " % (user, ways[0])
    return "ssh -N -L %d:127.0.0.1:%d %s%s@%s" % (port, port, jump, user, host)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return os.environ.get("USER") or "USER"


_DETAILS = """\
Relays the status page of the daemon's HTTP side to a port of 127.0.0.1, for one
browser of this user, until Ctrl-C. Where there is a display it is opened; over ssh
or without one, the ssh command is printed that brings the port to your machine:
run it there, then open the address there. The address opens once; a cookie that
no script can read does the rest. Nothing but the page can be asked through it.

examples:
  sutler page
  sutler page --port 8790 --no-open
"""

PAGE = Command(
    "page", "", "see the daemon's status page in a browser", _DETAILS, _arguments, run_page
)
