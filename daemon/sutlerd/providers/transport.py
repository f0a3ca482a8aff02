"""How bytes get to a provider and back: the protocol that every transport obeys.

What belongs here: the shapes that cross the line between an endpoint and a transport, and the
limits that every transport keeps. Never here: a provider's spelling (that is a dialect's),
retries, waiting for permits, or anything heavy to import.

Every transport holds to these:

* one total time limit a request, from before the connection is looked for to the last byte;
* connecting (names, TCP, TLS, proxy) takes at most ``CONNECT_LIMIT_S`` of it;
* connections are kept alive, and idle ones closed after ``IDLE_LIMIT_S``;
* nothing is retried and no redirect is followed;
* a failure is an ``AttemptFailed`` whose outcome says whether bytes may have been sent:
  ``NOT_SENT`` up to the first byte of the request, ``UNKNOWN`` from there on;
* ``asyncio.CancelledError`` passes through and closes the connection it was using.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import Protocol, Self

from sutlerd.domain.record import record

#: Names, TCP, proxy and TLS together.
CONNECT_LIMIT_S = 5.0
#: Servers drop idle connections after 5 s (uvicorn, node) to 75 s (nginx). A request written
#: into a connection that is being closed has an unknown outcome and is paid in full, so ours
#: go sooner than the soonest of theirs.
IDLE_LIMIT_S = 4.0
#: Of a whole reply after decompression. Vectors are the largest: 1,024 of 4,096 floats each
#: take 22 MB in base64.
MAX_BODY_BYTES = 48 * 1024 * 1024
#: Of one stream after decompression, over its whole life.
MAX_STREAM_BYTES = 64 * 1024 * 1024
#: Of an answer that is not a success: only its first words are used.
MAX_ERROR_BODY_BYTES = 256 * 1024
#: For what follows a stream's terminal event: the end of the body, if it is an honest one.
LINGER_S = 1.0
#: Of the status line and all headers.
MAX_HEAD_BYTES = 64 * 1024


@record
class Request:
    """One HTTP request as a transport sends it.

    ``path`` starts with ``/`` and is put behind the base address's own path; if it starts with
    ``/../``, the last part of that is left off (``/v1`` is, for ``/../tokenize``). ``headers`` are
    those of this request alone; credential and fixed headers are the transport's. ``body`` is
    JSON, or empty with ``GET``.
    """

    path: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


@record
class Response:
    """A whole answer. Header names are in lower case; of repeated ones the last counts.

    ``arrived_unix_s`` is our wall clock when the head came; use the reply's own ``date``
    before it, since provider's clock and ours may differ.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrived_unix_s: float = 0.0


@record
class StreamingResponse:
    """An answer whose head is here and whose body comes in ``chunks``, never empty ones.

    The chunks are decompressed, and cut wherever the network cut them. The iterator raises
    ``AttemptFailed`` on a reset, on silence, at the total limit and over the byte limit; it
    ends quietly where the server ended its answer in good order.

    Call ``finish`` when all that matters has come (a terminal event): leaving then reads what
    little may follow in the background, and keeps the connection if it ends soon.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    finish: Callable[[], None]
    arrived_unix_s: float = 0.0


class Transport(Protocol):
    """Moves bytes to one base address with one credential.

    Entered once; loads nothing heavy and contacts nobody before its first request.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """Send and read the whole answer, of whatever status; raise ``AttemptFailed``.

        At most ``MAX_BODY_BYTES`` are read of a success, ``MAX_ERROR_BODY_BYTES`` of others
        (the rest of those is cut off, which is no failure).
        """

    def stream(
        self, request: Request, *, timeout_s: float, silence_s: float
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        """Send, and give the answer as soon as its head is there.

        ``silence_s`` bounds the wait for each piece after the head; the head itself may take
        all of ``timeout_s``. Leaving the context before the end closes the connection.
        """

    def open_connections(self) -> int:
        """Count the connections that are open now, idle ones included."""
