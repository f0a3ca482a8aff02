"""The connection that asks, as far as the methods may know it."""

from __future__ import annotations

from typing import Any, Protocol

from sutlerd.domain.caller import Caller


class Session(Protocol):
    """What a method may know of the connection that asks."""

    @property
    def caller(self) -> Caller: ...

    @property
    def scope(self) -> str: ...

    labels: dict[str, Any]

    def cancel_request(self, request_id: int | str) -> bool: ...
