"""OTLP over HTTP with the standard library: a connection for each batch, on the queue's own thread.

To be imported there, too: HTTP and the protocol's classes take their time to load.

Redirects are not followed and proxies are not looked for: what is sent has the operator's
headers with it, and goes where the operator said.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from sutlerd.domain.record import record
from sutlerd.telemetry.otlp import available, encode, refused_spans
from sutlerd.telemetry.span_queue import Sent
from sutlerd.telemetry.spans import Span, Value

#: Where a collector listens that nobody has configured otherwise.
DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
TRACES_PATH: Final = "/v1/traces"
_MAX_ANSWER_BYTES: Final = 64 * 1024
_LEAST_LIMIT_S: Final = 0.05
#: Of the protocol: the same request may be taken later.
_AGAIN: Final = frozenset({429, 502, 503, 504})


@record
class Destination:
    """``endpoint`` is a base URL, to which the protocol's path is added unless it ends so."""

    endpoint: str
    headers: Mapping[str, str]


class Collector:
    """A ``Courier``. ``mask`` takes secrets out of every text that is sent."""

    def __init__(
        self,
        destination: Destination,
        *,
        resource: Mapping[str, Value],
        mask: Callable[[str], str],
    ) -> None:
        parts = urlsplit(destination.endpoint)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        path = parts.path.rstrip("/")
        self._path = path if path.endswith(TRACES_PATH) else path + TRACES_PATH
        self._headers = {
            **destination.headers,
            "Content-Type": "application/x-protobuf",
            "User-Agent": "sutlerd",
            "Connection": "close",
        }
        self._resource = resource
        self._mask = mask

    def bring(self, spans: Sequence[Span], *, limit_s: float) -> Sent:
        if not available():
            return Sent(trouble="install sutlerd[otel]")
        body = encode(spans, resource=self._resource, mask=self._mask)
        connection = self._new(max(_LEAST_LIMIT_S, limit_s))
        try:
            connection.request("POST", self._path, body=body, headers=self._headers)
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return Sent(trouble=type(error).__name__, again=True)
        except ValueError:
            return Sent(trouble="a configured header is none")
        finally:
            connection.close()
        if response.status in _AGAIN:
            return Sent(trouble=f"it answered {response.status}", again=True)
        if not 200 <= response.status < 300:
            return Sent(trouble=f"it answered {response.status}")
        return Sent(refused=refused_spans(answer))

    def _new(self, limit_s: float) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=limit_s)
        import ssl

        context: Any = ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=limit_s, context=context)
