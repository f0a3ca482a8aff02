"""What the SDKs' exceptions mean: whether a request was sent, and what went wrong.

The SDKs wrap httpx2's exceptions, which wrap aiohttp's, which wrap the system's: the chain of
causes is walked to aiohttp's, since only that tells a connection that was never made from one
that broke. Imports aiohttp when called, by when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator

from sutlerd.providers.address import Address
from sutlerd.providers.contract import AttemptFailed, Verdict
from sutlerd.providers.dialing import reason
from sutlerd.providers.failures import bad_body, lost, not_sent


def judge_exception(error: BaseException, address: Address) -> AttemptFailed:
    """Make the failure of a request to ``address``."""
    import aiohttp

    where = address.authority
    cause = next((e for e in _chain(error) if isinstance(e, aiohttp.ClientError)), None)
    if cause is None:
        return lost("reset", f"{where}: {reason(_last(error))}")
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return not_sent("connect", f"no connection to {where} in time")
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        proxy = f"{cause.host}:{cause.port}"
        return not_sent("proxy", f"no connection to the proxy {proxy}: {reason(cause.os_error)}")
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return not_sent("proxy", f"no tunnel to {where}: HTTP {cause.status}")
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        said = reason(cause.os_error)
        return not_sent("dns", f"the address of {where} cannot be found: {said}")
    if isinstance(cause, aiohttp.ClientSSLError):
        return _untrusted(where, _last(cause))
    if isinstance(cause, aiohttp.ClientConnectorError):
        # Nothing listening is told apart from this: it is refused, not reset.
        if address.tls and isinstance(cause.os_error, ConnectionResetError):
            return _untrusted(where, cause.os_error)
        return not_sent("connect", f"no connection to {where}: {reason(cause.os_error)}")
    if isinstance(cause, aiohttp.ClientResponseError):
        return bad_body(f"{where} does not speak HTTP: {cause.message}")
    if isinstance(cause, aiohttp.ClientPayloadError):
        if any(isinstance(e, ConnectionResetError) for e in _chain(cause)):
            return lost("reset", f"{where} reset the connection within its answer")
        return lost("cut", f"{where} closed the connection within its answer")
    return lost("reset", f"{where} closed the connection before its answer")


def _untrusted(where: str, error: BaseException) -> AttemptFailed:
    return not_sent("tls", f"no TLS with {where}: {reason(error)}", verdict=Verdict.CLOSED)


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
