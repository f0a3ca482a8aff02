"""What a provider's own package is to us once it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sutlerd.domain.record import record


@record
class Sdk:
    """A loaded package. ``client`` has the SDKs' common low-level ``post`` and ``get``, with
    retries off, over ``sdk_http``'s client. ``status_error`` is what it raises for an answer
    that is no success (with ``response``); ``failures`` is all else that it may raise.
    ``response_type`` is what to ask it for to be given the HTTP answer as it is."""

    client: Any
    status_error: type[Exception]
    failures: tuple[type[Exception], ...]
    response_type: type[Any]
    make_timeout: Callable[..., Any]
