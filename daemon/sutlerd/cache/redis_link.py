"""The connection to a Redis or Valkey server, in the few words the second tier needs.

The only file that knows the ``redis`` package, which is imported when a server is first
needed and is an extra: a daemon without it serves all the same. Knows nothing of time
limits; whoever calls sets them, and a call that is cut off closes its connection, so that
no late answer can be taken for the next question's.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

INSTALL_HINT = "pip install 'sutlerd[redis]'"


class LinkDown(Exception):
    """The server cannot be talked to; the message says why, without the password."""


class LinkUnusable(Exception):
    """There will never be a connection in this process: no package, or a wrong address."""


def place_of(url: str) -> str:
    """Give the part of a server's URL that may be shown: no user, password or options."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


class RedisLink:
    """One server. ``load`` comes first; then every method may raise LinkDown."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._failures: tuple[type[BaseException], ...] = (OSError,)

    async def load(self) -> None:
        """Import the package, in a thread, and read the address. Raises LinkUnusable."""
        try:
            redis: Any = await asyncio.to_thread(importlib.import_module, "redis.asyncio")
            backoff: Any = importlib.import_module("redis.backoff")
            retry: Any = importlib.import_module("redis.asyncio.retry")
        except ImportError as error:
            raise LinkUnusable(
                f"the package redis is not installed; {INSTALL_HINT} installs it"
            ) from error
        self._failures = (OSError, redis.RedisError)
        try:
            self._client = redis.Redis.from_url(
                self._url,
                protocol=2,
                # One layer decides about trying again, and it is not this one.
                retry=retry.Retry(backoff.NoBackoff(), 0),
                socket_timeout=None,
                socket_connect_timeout=None,
                max_connections=4,
            )
        except ValueError as error:
            raise LinkUnusable(f"{place_of(self._url)}: {error}") from error

    async def ping(self) -> None:
        await self._carry_out(self._connected().ping())

    async def get_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Give the values in the names' order; ``None`` for a missing or foreign one."""
        values = await self._carry_out(self._connected().mget(names))
        return [value if isinstance(value, bytes) else None for value in values]

    async def set_many(self, items: Sequence[tuple[bytes, bytes, int]]) -> int:
        """Store (name, value, milliseconds to live); give how many the server took."""
        pipeline = self._connected().pipeline(transaction=False)
        for name, value, ttl_ms in items:
            pipeline.set(name, value, px=ttl_ms)
        results = await self._carry_out(pipeline.execute(raise_on_error=False))
        return sum(result is True for result in results)

    async def close(self) -> None:
        if self._client is not None:
            try:
                await self._client.aclose()
            except self._failures:
                return  # it was gone already

    def _connected(self) -> Any:
        if self._client is None:
            raise LinkDown("not connected")
        return self._client

    async def _carry_out(self, command: Any) -> Any:
        try:
            return await command
        except self._failures as error:
            raise LinkDown(f"{place_of(self._url)}: {error}") from error
