"""How a journey's failure is told to its callers: in the words of the wire. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sutlerd.domain.call import Route
from sutlerd.domain.errors import (
    CallError,
    ContextLengthExceeded,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from sutlerd.pipeline.circuits import RouteClosed
from sutlerd.pipeline.nearest import nearest
from sutlerd.providers.contract import AttemptFailed, Provider, Verdict

_TOO_MANY = 429

Told = list[dict[str, Any]]


def told(route: Route, outcome: str, passed_s: float) -> dict[str, Any]:
    """Give an attempt's entry in ``attempts``."""
    return {
        "provider": route.provider,
        "model": route.model,
        "outcome": outcome,
        "ms": round(passed_s * 1000, 3),
    }


def error_of(
    failure: AttemptFailed,
    route: Route,
    provider: Provider,
    attempts: Told,
    is_asked: Callable[[Route], bool],
) -> CallError:
    """Say the failure of the last attempt; ``is_asked`` tells routes that are not left alone."""
    said = f"{route}: {failure.message}"
    verdict, status = failure.verdict, failure.status
    if verdict is Verdict.TOO_LONG:
        return ContextLengthExceeded(
            said,
            tokens_needed=failure.tokens_needed,
            tokens_allowed=failure.tokens_allowed,
            attempts=attempts,
        )
    if verdict is Verdict.MODEL_GONE:
        hint = _instead(route, provider, failure.message, is_asked)
        return ProviderError(said + hint, attempts=attempts, status=status)
    refused = verdict is Verdict.CLOSED and status is not None and 400 <= status < 500
    if verdict is Verdict.REFUSED or refused:
        return ProviderError(said, attempts=attempts, status=status)
    if status == _TOO_MANY:
        return RateLimited(said, retry_after_s=failure.retry_after_s, attempts=attempts)
    return ProviderUnavailable(said, retry_after_s=failure.retry_after_s, attempts=attempts)


def error_of_closed(
    closed: Sequence[RouteClosed],
    providers: Mapping[str, Provider],
    attempts: Told,
    is_asked: Callable[[Route], bool],
) -> CallError:
    """Say that no route of the chain is asked for now. ``closed`` is not empty."""
    said = "; ".join(
        each.message
        + (
            _instead(each.route, providers[each.route.provider], each.message, is_asked)
            if each.model_gone
            else ""
        )
        for each in closed
    )
    waits_s = [each.retry_after_s for each in closed if each.retry_after_s is not None]
    nearest_s = min(waits_s, default=None)
    if all(each.lasting for each in closed):
        # Keys, credit and names are mended by people, not by asking again.
        return ProviderError(said, retry_after_s=nearest_s, attempts=attempts, status=None)
    return ProviderUnavailable(said, retry_after_s=nearest_s, attempts=attempts)


def _instead(route: Route, provider: Provider, said: str, is_asked: Callable[[Route], bool]) -> str:
    """Name the nearest model that works, unless a provider that knows it has named one."""
    listed = (*provider.models, provider.default_model)
    others = [
        model
        for model in listed
        if model != route.model and is_asked(Route(provider=route.provider, model=model))
    ]
    near = nearest(route.model, others) or (others[-1] if others else None)
    known = near is None or any(model in said for model in others)
    return "" if known else f"; {near} is served there"
