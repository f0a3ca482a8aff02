"""The most tokens that a request's prompt can be, from the bytes that are sent. Pure.

Every tokenizer's tokens stand for at least one byte, so bytes bound them without counting;
what providers add themselves (roles, separators, a preamble for tools) is allowed for. Media
have no such relation: a picture of few bytes is thousands of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: What a provider may put around a prompt, and around each of its parts.
_AROUND_ALL: Final = 64
_AROUND_EACH: Final = 8
#: The preamble that some providers put before tools.
_TOOLS: Final = 1024
#: More than any provider is known to count for one picture.
_MEDIUM: Final = 40_000
_PICTURES: Final = frozenset({"image", "image_url", "input_image"})
_FILES: Final = frozenset(
    {"audio", "document", "file", "input_audio", "input_file", "video", "video_url"}
)
_NUMBER: Final = 24


def tokens_in_at_most(body: Mapping[str, Any]) -> int:
    """Bound the prompt of a request with this whole JSON body."""
    return _AROUND_ALL + (_TOOLS if body.get("tools") else 0) + _of(body)


def _of(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
    if isinstance(value, Mapping):
        kind = value.get("type")
        if isinstance(kind, str) and kind in _PICTURES:
            return _MEDIUM
        inside = sum(_AROUND_EACH + len(name) + _of(each) for name, each in value.items())
        return max(_MEDIUM, inside) if isinstance(kind, str) and kind in _FILES else inside
    if isinstance(value, (list, tuple)):
        return sum(map(_of, value)) + _AROUND_EACH * len(value)
    return _NUMBER
