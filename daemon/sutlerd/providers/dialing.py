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
from functools import partial
from typing import Any, TypeVar

from sutlerd.providers.address import Address, Proxy, ip_literal
from sutlerd.providers.contract import AttemptFailed, Verdict
from sutlerd.providers.failures import not_sent
from sutlerd.providers.http_connection import HttpConnection
from sutlerd.providers.http_tunnel import Tunnel
from sutlerd.providers.racing import first_of
from sutlerd.providers.transport import CONNECT_LIMIT_S

#: RFC 8305: how long the first address has before the next is tried beside it.
_NEXT_ADDRESS_S = 0.25

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)


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
        trust = await self._load_trust() if self._address.tls else None
        if self._proxy is not None and trust is not None:
            return await self._tunnel(self._proxy, trust, make)
        target = self._address if self._proxy is None else self._proxy.address
        host = self._address.host if trust is not None else None
        _, connection = await self._reach(target, make, ssl=trust, server_hostname=host)
        return connection

    async def _reach(
        self, target: Address, make: Callable[[], _Protocol], **tls: Any
    ) -> tuple[asyncio.Transport, _Protocol]:
        """Connect to the first of a host's addresses that answers."""
        loop = asyncio.get_running_loop()
        try:
            found = await _addresses(target)
        except OSError as error:
            message = f"the address of {target.host} cannot be found: {reason(error)}"
            raise self._named("dns", message) from None
        # By host and port rather than with sockets of ours: who closes a socket that a loop
        # was handed, and when, differs between loops, and a number closed twice is another's.
        attempts = [
            partial(loop.create_connection, make, host, target.port, **tls) for host in found
        ]
        try:
            return await first_of(attempts, _NEXT_ADDRESS_S)
        except OSError as error:
            if tls.get("ssl") is not None and is_of_tls(error):
                raise self._untrusted(error) from None
            message = f"no connection to {target.authority}: {reason(error)}"
            raise self._named("connect", message) from None

    async def _tunnel(
        self, proxy: Proxy, trust: ssl.SSLContext, make: Callable[[], HttpConnection]
    ) -> HttpConnection:
        """Ask the proxy for a tunnel, then speak TLS with the provider through it."""
        loop = asyncio.get_running_loop()
        transport, asking = await self._reach(proxy.address, Tunnel)
        try:
            transport.write(asking.spell(self._address, proxy))
            status = await asking.status
            if status != 200:
                said = f"HTTP {status}" if status else "it gave no answer"
                raise self._named("proxy", f"no tunnel to {self._address.authority}: {said}")
            connection = make()
            secured = await loop.start_tls(
                transport, connection, trust, server_hostname=self._address.host
            )
        except OSError as error:  # ssl.SSLError is one
            transport.abort()
            raise self._untrusted(error) from None
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise self._untrusted(ConnectionResetError())
        connection.connection_made(secured)
        return connection

    async def _load_trust(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = asyncio.ensure_future(asyncio.to_thread(make_trust))
        # Shielded: one caller that leaves must not take the trust from the others.
        return await asyncio.shield(self._trust)

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


def is_of_tls(error: OSError) -> bool:
    """Say whether a connection failed in its handshake: a host that refuses, or that cannot
    be reached, is told apart from one that answers and then cuts."""
    return isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError)


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


async def _addresses(target: Address) -> list[str]:
    """Look up a host, this machine and literal addresses without asking anyone."""
    if target.host == "localhost" or target.host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    if ip_literal(target.host) is not None:
        return [target.host]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))
