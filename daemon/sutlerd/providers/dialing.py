"""A new connection to a provider: its addresses, TCP, a proxy's tunnel, TLS.

Whatever fails here failed before a byte of the request was sent. Nothing blocks the loop:
names are looked up in the loop's own threads, trust is loaded in another.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from sutlerd.providers.address import Address, Proxy, ip_literal
from sutlerd.providers.contract import AttemptFailed, Verdict
from sutlerd.providers.failures import not_sent
from sutlerd.providers.http_connection import HttpConnection
from sutlerd.providers.transport import CONNECT_LIMIT_S

#: RFC 8305: how long the first address has before the next is tried beside it.
_NEXT_ADDRESS_S = 0.25
_MAX_TUNNEL_HEAD_BYTES = 16 * 1024

_AddressInfo = tuple[int, int, int, str, Any]


class Dialer:
    """Makes connections to one address. Trust is loaded once, at the first need of it."""

    def __init__(self, address: Address, proxy: Proxy | None) -> None:
        self._address = address
        self._proxy = proxy
        self._trust: asyncio.Future[ssl.SSLContext] | None = None

    async def dial(self, make: Callable[[], HttpConnection], *, timeout_s: float) -> HttpConnection:
        """Give a connection that is ready for a request; raise ``AttemptFailed``, not sent."""
        limit_s = min(CONNECT_LIMIT_S, timeout_s)
        where = self._address.authority
        try:
            async with asyncio.timeout(limit_s):
                return await self._connect(make)
        except TimeoutError:
            raise self._named("connect", f"no connection to {where} in {limit_s:.1f} s") from None

    async def _connect(self, make: Callable[[], HttpConnection]) -> HttpConnection:
        sock = await self._reach(self._proxy.address if self._proxy else self._address)
        try:
            return await self._speak(sock, make)
        except BaseException:
            # A loop that fails before it takes the socket over leaves it open.
            sock.close()
            raise

    async def _speak(
        self, sock: socket.socket, make: Callable[[], HttpConnection]
    ) -> HttpConnection:
        """Make a connected socket the provider's connection."""
        loop = asyncio.get_running_loop()
        if not self._address.tls:
            try:
                _, connection = await loop.create_connection(make, sock=sock)
            except OSError as error:
                raise self._unreachable(error) from None
            return connection
        trust = await self._load_trust()
        try:
            if self._proxy is None:
                _, connection = await loop.create_connection(
                    make, sock=sock, ssl=trust, server_hostname=self._address.host
                )
                return connection
            return await self._tunnel(sock, trust, make)
        except OSError as error:  # ssl.SSLError is one
            raise self._untrusted(error) from None

    async def _reach(self, target: Address) -> socket.socket:
        """Connect to the first of a host's addresses that answers."""
        import aiohappyeyeballs

        try:
            infos = await _addresses(target)
        except OSError as error:
            raise self._named(
                "dns", f"the address of {target.host} cannot be found: {reason(error)}"
            ) from None
        try:
            return await aiohappyeyeballs.start_connection(
                infos, happy_eyeballs_delay=_NEXT_ADDRESS_S
            )
        except OSError as error:
            raise self._unreachable(error) from None

    async def _tunnel(
        self, sock: socket.socket, trust: ssl.SSLContext, make: Callable[[], HttpConnection]
    ) -> HttpConnection:
        """Ask the proxy for a tunnel, then speak TLS with the provider through it."""
        assert self._proxy is not None
        loop = asyncio.get_running_loop()
        transport, asking = await loop.create_connection(_Tunnel, sock=sock)
        target = f"{self._address.host}:{self._address.port}"
        if ":" in self._address.host:
            target = f"[{self._address.host}]:{self._address.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
        if self._proxy.authorization:
            lines.append(f"proxy-authorization: {self._proxy.authorization}")
        transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        status = await asking.status
        if status != 200:
            transport.abort()
            said = f"HTTP {status}" if status else "it closed the connection"
            raise self._named("proxy", f"no tunnel to {self._address.authority}: {said}")
        connection = make()
        secured = await loop.start_tls(
            transport, connection, trust, server_hostname=self._address.host
        )
        if secured is None:
            raise ConnectionResetError("closed in the handshake")
        connection.connection_made(secured)
        return connection

    async def _load_trust(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = asyncio.ensure_future(asyncio.to_thread(make_trust))
        # Shielded: one caller that leaves must not take the trust from the others.
        return await asyncio.shield(self._trust)

    def _unreachable(self, error: OSError) -> AttemptFailed:
        target = self._proxy.address if self._proxy else self._address
        return self._named("connect", f"no connection to {target.authority}: {reason(error)}")

    def _untrusted(self, error: OSError) -> AttemptFailed:
        message = f"no TLS with {self._address.authority}: {reason(error)}"
        return not_sent("tls", message, verdict=Verdict.CLOSED)

    def _named(self, kind: str, message: str) -> AttemptFailed:
        """Make a failure that names the proxy, if it went that way."""
        if self._proxy is None:
            return not_sent(kind, message)
        return not_sent("proxy", f"through the proxy {self._proxy.address.authority}: {message}")


def make_trust() -> ssl.SSLContext:
    """Load the system's trust store (or that of ``SSL_CERT_FILE``). Reads files: in a thread."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def trust_problem() -> str | None:
    """Say why no provider's certificate could be trusted here; ``None`` if all is well."""
    if ssl.create_default_context().cert_store_stats()["x509_ca"]:
        return None
    paths = ssl.get_default_verify_paths()
    try:
        # Certificates in a folder are read when they are needed, so they are not counted.
        if paths.capath and os.listdir(paths.capath):
            return None
    except OSError:
        pass
    return (
        "no certificate authorities were found, so no provider can be reached by https: install "
        "ca-certificates, or name a file of them in SSL_CERT_FILE"
    )


def reason(error: BaseException) -> str:
    """Give the cause in a few words, without addresses of memory or files of ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the handshake failed").replace("_", " ").lower()
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return "the connection was cut"
    if isinstance(error, socket.gaierror):
        return error.strerror or "the name is not known"
    if isinstance(error, OSError) and error.errno:
        # The system's own word: asyncio's says only that a call failed.
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


async def _addresses(target: Address) -> list[_AddressInfo]:
    """Look up a host, this machine and literal addresses without asking anyone."""
    hosts = [target.host]
    if target.host == "localhost" or target.host.endswith(".localhost"):
        hosts = ["127.0.0.1", "::1"]
    elif ip_literal(target.host) is None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        return cast(list[_AddressInfo], found)
    return [
        (
            socket.AF_INET6 if ":" in host else socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (host, target.port, 0, 0) if ":" in host else (host, target.port),
        )
        for host in hosts
    ]


class _Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT; ``status`` is 0 if there was none to be read."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._head = bytearray()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            words = bytes(self._head).split(None, 2)
            known = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
            self._tell(int(words[1][:3]) if known else 0)
        elif len(self._head) > _MAX_TUNNEL_HEAD_BYTES:
            self._tell(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(0)

    def _tell(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)
