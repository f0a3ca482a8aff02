"""What became of an endpoint's attempts, as ``status`` shows it; and the mask over its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from sutlerd.domain.ports import Clock
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.contract import AttemptFailed


class Tally:
    """Counts attempts; each enters it, and leaves it at its end.

    ``mask`` takes secrets out of a text.
    """

    def __init__(self, *, clock: Clock, mask: Callable[[str], str]) -> None:
        self._clock = clock
        self._mask = mask
        self.in_flight = self.attempts = self.failures = 0
        self._success_s: float | None = None
        self._failure_s = 0.0
        self._failure: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        """Count an attempt as under way, until it is left."""
        self.attempts += 1
        self.in_flight += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1

    def failed(self, failure: AttemptFailed) -> AttemptFailed:
        """Count a failure and mask its words. Raise it ``from None``: its cause may hold what
        the message no longer does."""
        failure.message = self._mask(failure.message)
        failure.args = (failure.message,)
        self.failures += 1
        self._failure = failure.kind, failure.message
        self._failure_s = self._clock.monotonic_s()
        return failure

    def succeeded(self) -> None:
        self._success_s = self._clock.monotonic_s()

    def masked(self, reply: Reply, model: str) -> Reply:
        """Give a reply whose words about itself hold no secret: its model, if it is not the one
        that was asked, and an ending that nobody knows. What was said is left as it is."""
        if reply.model != model:
            reply = replace(reply, model=self._mask(reply.model))
        if reply.raw_finish_reason is not None:
            reply = replace(reply, raw_finish_reason=self._mask(reply.raw_finish_reason))
        return reply

    def masked_embedded(self, embedded: Embedded, model: str) -> Embedded:
        if embedded.model == model:
            return embedded
        return replace(embedded, model=self._mask(embedded.model))

    def mask(self, text: str) -> str:
        return self._mask(text)

    def to_wire(self) -> dict[str, Any]:
        now_s = self._clock.monotonic_s()
        last_failure = None
        if self._failure is not None:
            kind, message = self._failure
            age_s = _age_s(self._failure_s, now_s)
            last_failure = {"kind": kind, "message": message, "age_s": age_s}
        return {
            "in_flight": self.in_flight,
            "attempts": self.attempts,
            "failures": self.failures,
            "last_success_age_s": _age_s(self._success_s, now_s),
            "last_failure": last_failure,
        }


def _age_s(moment_s: float | None, now_s: float) -> float | None:
    return None if moment_s is None else round(now_s - moment_s, 3)
