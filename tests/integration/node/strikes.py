"""Restarts and kills of a node's daemon while many clients ask."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Sequence

from sutlerd.domain.record import record
from tests.contract.scripted import ScriptedProvider
from tests.integration.node.reloads import until
from tests.support.booted_node import PYTHON, Node

RESTART = ("systemctl", "restart", "sutlerd.service")
KILL = ("systemctl", "kill", "-sKILL", "sutlerd.service")
_ROW = 20


@record
class Seen:
    """``ends`` counts how calls ended, by kind, as their clients saw it; ``asked`` how often the
    provider heard each question; ``pids`` are those who served after each strike. The ledger has
    booked one amount for what the provider bills the other for."""

    ends: dict[str, int]
    asked: collections.Counter[bytes]
    pids: list[str]
    bill_nanousd: int
    booked_nanousd: int


def under_load(
    node: Node, provider: ScriptedProvider, clients: int, strikes: Sequence[Sequence[str]]
) -> Seen:
    """Strike time after time while clients ask, each of them at least once between two."""
    first, billed, booked = len(provider.requests), _bill(provider), _booked(node)
    end = f"/tmp/end-{first}"
    script = "/opt/sutler/checkout/tests/integration/node/load.py"
    load = node.start(PYTHON, script, str(clients), end, user="alice")
    until(lambda: len(provider.requests) > first + clients)
    pids = []
    for number, strike in enumerate(strikes):
        if number % _ROW == 0:
            # More than that in a row would be held for one that crashes over and over.
            node.run("systemctl", "reset-failed", "sutlerd.service")
        node.run(*strike)
        count = len(provider.requests)
        # Each of them: a call that is lost in two ends in a row is given up by its client.
        until(lambda count=count: _asked_again(provider, count, clients), within_s=60)  # type: ignore[misc]
        pids.append(node.show("sutlerd.service", "MainPID"))
    node.path(end).touch()
    out, _ = load.communicate(timeout=120)
    asked = b"".join(request.body for request in provider.requests[first:])
    return Seen(
        ends=json.loads(out),
        asked=collections.Counter(re.findall(rb"client \d+ question \d+ end", asked)),
        pids=pids,
        bill_nanousd=_bill(provider) - billed,
        booked_nanousd=_booked(node) - booked,
    )


def _asked_again(provider: ScriptedProvider, since: int, clients: int) -> bool:
    """Tell whether each client has asked twice since: once at least after the strike."""
    asked = b"".join(request.body for request in provider.requests[since:])
    times = collections.Counter(re.findall(rb"client (\d+) question", asked))
    return len(times) == clients and min(times.values()) > 1


def _bill(provider: ScriptedProvider) -> int:
    """Give what the provider has for all its answers, at a dollar for a million tokens."""
    return sum(provider.billed_tokens()) * 1000


def _booked(node: Node) -> int:
    usage = json.loads(node.sutler("usage", "--json", user="root").stdout)
    return int(usage["total"]["cost_nanousd"] or 0)
