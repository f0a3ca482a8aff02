"""What one command of ``sutler`` consists of, and how a command gets its client."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Callable, Optional

    from sutler.cli_terminal import Terminal
    from sutler.client import Client

    Arguments = Callable[[argparse.ArgumentParser], None]
    Run = Callable[[argparse.Namespace, Terminal], int]


class Command:
    """A command: ``words`` it takes after its name, what ``--help`` says, options, work.

    ``run`` gives an exit code of `sutler.cli_exit` or raises.
    """

    __slots__ = ("arguments", "details", "name", "run", "summary", "words")

    def __init__(
        self, name: str, words: str, summary: str, details: str, arguments: Arguments, run: Run
    ) -> None:
        self.name = name
        self.words = words
        self.summary = summary
        self.details = details
        self.arguments = arguments
        self.run = run


def open_client(
    args: argparse.Namespace, timeout_s: Optional[float] = None, reconnect_s: Optional[float] = None
) -> Client:
    """Open the client that ``--socket`` and ``--label`` describe, with these limits if given."""
    from sutler.client import DEFAULT_RECONNECT_S, Client

    return Client(
        args.socket,
        timeout_s=timeout_s,
        labels=dict(getattr(args, "label", None) or ()),
        reconnect_s=DEFAULT_RECONNECT_S if reconnect_s is None else reconnect_s,
    )
