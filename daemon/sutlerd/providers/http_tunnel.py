"""Asking a proxy for a tunnel: the request, and as much of the answer as counts."""

from __future__ import annotations

import asyncio

from sutlerd.providers.address import Address, Proxy

_MAX_HEAD_BYTES = 16 * 1024


class Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT; ``status`` is 0 if there was none to be read."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._head = bytearray()

    @staticmethod
    def spell(address: Address, proxy: Proxy) -> bytes:
        """Spell the request for a tunnel to ``address``."""
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = f"{host}:{address.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
        if proxy.authorization:
            lines.append(f"proxy-authorization: {proxy.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            words = bytes(self._head).split(None, 2)
            known = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
            self._tell(int(words[1][:3]) if known else 0)
        elif len(self._head) > _MAX_HEAD_BYTES:
            self._tell(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(0)

    def _tell(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)
