"""Model tokens used by one reply. ``None`` means that the provider did not say."""

from __future__ import annotations

from sutlerd.domain.record import record


@record
class Usage:
    """Counts of model tokens.

    ``tokens_in`` is the whole prompt, cached part included; ``tokens_out`` is all that was
    produced, reasoning included. On the wire: ``prompt_tokens`` and ``completion_tokens``.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    cached_tokens_in: int | None = None
    cache_write_tokens_in: int | None = None
    reasoning_tokens_out: int | None = None

    @property
    def total_tokens(self) -> int | None:
        if self.tokens_in is None or self.tokens_out is None:
            return None
        return self.tokens_in + self.tokens_out

    def to_wire(self) -> dict[str, int | None]:
        return {
            "prompt_tokens": self.tokens_in,
            "cached_tokens": self.cached_tokens_in,
            "cache_write_tokens": self.cache_write_tokens_in,
            "completion_tokens": self.tokens_out,
            "reasoning_tokens": self.reasoning_tokens_out,
            "total_tokens": self.total_tokens,
        }

    @classmethod
    def from_wire(cls, counts: dict[str, int | None]) -> Usage:
        return cls(
            tokens_in=counts.get("prompt_tokens"),
            tokens_out=counts.get("completion_tokens"),
            cached_tokens_in=counts.get("cached_tokens"),
            cache_write_tokens_in=counts.get("cache_write_tokens"),
            reasoning_tokens_out=counts.get("reasoning_tokens"),
        )


UNKNOWN_USAGE = Usage()
