"""In whose shape a request is refused that reached no route: by its path and its head. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sutlerd.http.anthropic_errors import ANTHROPIC
from sutlerd.http.door import Manners
from sutlerd.http.openai_errors import OPENAI
from sutlerd.http.plain import PLAIN

_APIS = "/v1/"
_ANTHROPICS = "/v1/messages"


def manners_at(path: str, headers: Mapping[str, str]) -> Manners:
    """Give how errors look to who asks for this path: its library can read no other shape."""
    if not path.startswith(_APIS):
        return PLAIN
    return ANTHROPIC if path.startswith(_ANTHROPICS) or wants_anthropic(headers) else OPENAI


def wants_anthropic(headers: Mapping[str, str]) -> bool:
    """Their SDK always names a version of its API; nobody else does."""
    return "Anthropic-Version" in headers
