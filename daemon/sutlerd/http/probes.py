"""``/healthz`` and ``/readyz``: whether the process answers, and whether it takes new calls."""

from __future__ import annotations

from sutlerd.http.door import Ask, Door, Page
from sutlerd.http.house import House


def probes(house: House) -> list[Door]:
    async def health(ask: Ask) -> Page:
        return _said("ok")

    async def readiness(ask: Ask) -> Page:
        return _said("draining", 503) if house.draining else _said("ready")

    return [
        Door(method="GET", path="/healthz", run=health, is_open=True),
        Door(method="GET", path="/readyz", run=readiness, is_open=True),
    ]


def _said(word: str, status: int = 200) -> Page:
    return Page(body=f"{word}\n".encode(), status=status, content_type="text/plain; charset=utf-8")
