"""Decompression that stops at a limit. Pure.

Ten megabytes of gzip can hold ten gigabytes: the limit is checked while inflating, so that no
more than it is ever in memory. Only what was asked for is taken (gzip; deflate for servers
that send it unasked), and only once over: nested encodings are refused.
"""

from __future__ import annotations

import zlib

#: Of what one read may become: no honest text shrinks to a sixty-fourth of the 256 KiB that
#: come at once, and the loop stands still while it grows.
MAX_BURST_BYTES = 16 * 1024 * 1024

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Inflater:
    """Takes the body's bytes, cut anywhere, and gives them as they were before encoding.

    ``limit_bytes`` bounds the sum of all that is given. ``ValueError`` says what is wrong.
    """

    def __init__(self, encoding: str, limit_bytes: int) -> None:
        encoding = encoding.strip().lower()
        self._left = limit_bytes
        self._inflate = None
        if encoding in ("", "identity"):
            return
        if encoding not in _WINDOW_BITS:
            raise ValueError(f"an encoding that was not asked for: {encoding[:40]}")
        self._inflate = zlib.decompressobj(_WINDOW_BITS[encoding])

    def feed(self, data: bytes) -> bytes:
        if self._inflate is not None:
            try:
                # One more than is left: enough to notice.
                data = self._inflate.decompress(data, min(self._left + 1, MAX_BURST_BYTES))
            except zlib.error as error:
                raise ValueError(f"broken compression: {error}") from None
            if self._inflate.unconsumed_tail:
                raise ValueError("over the limit of bytes, unpacked")
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("over the limit of bytes")
        return data

    def finish(self) -> None:
        """Say that the body ended; ``ValueError`` if the compressed data did not."""
        if self._inflate is not None and not self._inflate.eof:
            raise ValueError("compressed data that is cut short")
