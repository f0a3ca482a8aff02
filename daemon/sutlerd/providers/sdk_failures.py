"""What the SDKs' exceptions mean: whether a request was sent, and what went wrong.

The SDKs wrap httpx2's exceptions, which wrap aiohttp's, which wrap the system's: the chain of
causes is walked to aiohttp's, since only that tells a connection that was never made from one
that broke. Imports aiohttp when called, by when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator

from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.contract import AttemptFailed, Verdict
from sutlerd.providers.dialing import reason
from sutlerd.providers.failures import bad_body, lost, not_sent


def judge_exception(
    error: BaseException, address: Address, *, proxy: Proxy | None, connecting: bool
) -> AttemptFailed:
    """Make the failure of a request to ``address``; ``connecting``: it was not connected."""
    import aiohttp

    where = address.authority
    cause = next((e for e in _chain(error) if isinstance(e, aiohttp.ClientError)), None)
    if connecting or isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ClientSSLError):
        return _not_connected(cause, _last(error), address, proxy)
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return _not_connected(cause, _last(error), address, proxy)
    if cause is None:
        return lost("reset", f"{where}: {reason(_last(error))}")
    if isinstance(cause, aiohttp.ClientResponseError):
        return bad_body(f"{where} does not speak HTTP: {cause.message}")
    if isinstance(cause, aiohttp.ClientPayloadError):
        if any(isinstance(e, ConnectionResetError) for e in _chain(cause)):
            return lost("reset", f"{where} reset the connection within its answer")
        return lost("cut", f"{where} closed the connection within its answer")
    return lost("reset", f"{where} closed the connection before its answer")


def _not_connected(
    cause: BaseException | None, last: BaseException, address: Address, proxy: Proxy | None
) -> AttemptFailed:
    """Make the failure of a request that found no connection."""
    import aiohttp

    where = address.authority
    said = reason(cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else last)
    cut_in_handshake = address.tls and isinstance(last, ConnectionResetError)
    if isinstance(cause, aiohttp.ClientSSLError) or (cut_in_handshake and proxy is None):
        return not_sent("tls", f"no TLS with {where}: {said}", verdict=Verdict.CLOSED)
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        said = "not in time"
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        said = f"HTTP {cause.status}"
    if proxy is not None:
        message = f"through the proxy {proxy.address.authority}: no connection to {where}: {said}"
        return not_sent("proxy", message)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return not_sent("dns", f"the address of {address.host} cannot be found: {said}")
    return not_sent("connect", f"no connection to {where}: {said}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and its causes, nearest first."""
    seen: BaseException | None = error
    for _ in range(16):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _last(error: BaseException) -> BaseException:
    *_, last = _chain(error)
    return last
