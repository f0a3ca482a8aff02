"""The status page at ``/``: one file with everything in it, kept live by server-sent events."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from sutlerd.domain.caller import Caller
from sutlerd.http.door import Ask, Door, Page, Stream
from sutlerd.http.entry import TOKEN_COOKIE
from sutlerd.http.house import House

STATUS_EVERY_S: Final = 1.0
_FILE: Final = Path(__file__).parents[1] / "_data" / "page.html"


def page(house: House) -> list[Door]:
    async def show(ask: Ask) -> Page:
        if ask.client.over_tcp and "token" in ask.query:
            return _remember(ask.query["token"])
        body, policy = await asyncio.to_thread(_read)
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        return Page(body=body, content_type="text/html; charset=utf-8", headers=headers)

    async def events(ask: Ask) -> Stream:
        return Stream(pieces=_live(house, ask.caller), done=lambda: None)

    return [
        Door(method="GET", path="/", run=show, for_browsers=True),
        Door(method="GET", path="/events", run=events, for_browsers=True),
    ]


async def _live(house: House, caller: Caller) -> AsyncIterator[bytes]:
    """Give the last hour, then the state every second and each new point of the history."""
    points = house.accounting.history.points()
    last_unix_s = points[-1]["unix_s"] if points else 0
    yield _event("history", points)
    while not house.draining:
        yield _event("status", house.services.status(caller))
        for point in house.accounting.history.points():
            if point["unix_s"] > last_unix_s:
                last_unix_s = point["unix_s"]
                yield _event("point", point)
        await asyncio.sleep(STATUS_EVERY_S)


def _event(name: str, value: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (
        name.encode(),
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS),
    )


def _remember(token: str) -> Page:
    """Take the token out of the address, where it would be seen and kept, into a cookie.

    It was found good before this is called: no other door is open to it without the header.
    """
    cookie = f"{TOKEN_COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
    headers = {"Location": "/", "Set-Cookie": cookie, "Cache-Control": "no-store"}
    return Page(body=b"", status=303, headers=headers)


@cache
def _read() -> tuple[bytes, str]:
    """Read the page, and make the policy that lets it run its own script and nothing else."""
    body = _FILE.read_bytes()
    policy = (
        f"default-src 'none'; script-src {_hash_of(body, b'script')}; style-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return body, policy


def _hash_of(body: bytes, tag: bytes) -> str:
    inside = re.search(b"<%b>(.*?)</%b>" % (tag, tag), body, re.DOTALL)
    assert inside is not None, "the page has one script"
    digest = base64.b64encode(hashlib.sha256(inside.group(1)).digest()).decode()
    return f"'sha256-{digest}'"
