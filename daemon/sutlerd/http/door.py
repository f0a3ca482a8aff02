"""What a route is: a function from what was asked to what is answered. No HTTP library here.

A group of routes is one function that gives a list of ``Door``; see ``http.groups``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError
from sutlerd.domain.record import record
from sutlerd.http.client import Client


@dataclass(slots=True, kw_only=True)
class Ask:
    """One request, checked as far as HTTP goes.

    ``headers`` are looked up without regard to case; ``rest`` is what follows the path of a
    door that ends in ``/``. ``json`` is the parsed body of a ``POST``, else ``None``.
    """

    path: str
    rest: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    caller: Caller
    client: Client
    json: Any
    body_bytes: int


@dataclass(slots=True, kw_only=True)
class Page:
    """A whole answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Stream:
    """Server-sent events as they come; each of ``pieces`` is written at once.

    ``done`` is called when the last was written, or nobody is there to read it.
    """

    pieces: AsyncIterator[bytes]
    done: Callable[[], None]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Refusal:
    """A request that is refused as such, before anybody looks at what it asks.

    ``kind`` is one of ``invalid``, ``unauthorised``, ``forbidden``, ``not_found``,
    ``method``, ``too_large``, ``media_type``, ``timeout``.
    """

    status: int
    kind: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


#: How an API tells a failed call, and a request refused as such.
TellError = Callable[[CallError, str | None], Page]
TellRefusal = Callable[[Refusal], Page]


@record
class Manners:
    """How one API spells what went wrong."""

    error: TellError
    refusal: TellRefusal


@record
class Door:
    """``path`` ends in ``/`` where more may follow it. ``is_open`` needs no token.

    ``for_browsers`` takes a token from a cookie or, once, from the address, as well: only for
    what changes nothing. ``manners`` is how this route's errors look; ``None`` for the site's
    plain ones. ``operation`` is the kind of call that is made here, if any: a refused request
    is a refused call.
    """

    method: str
    path: str
    run: Callable[[Ask], Awaitable[Page | Stream]]
    is_open: bool = False
    for_browsers: bool = False
    manners: Manners | None = None
    operation: str | None = None


def json_page(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Page:
    return Page(body=orjson.dumps(value), status=status, headers=headers or {})
