"""What a provider's words teach about its limits. Pure.

Its rate-limit headers move our buckets towards its view, never above what the operator
configured; how long prompts turn out in its tokens corrects our estimates.
"""

from __future__ import annotations

from collections.abc import Mapping

from sutlerd.admission.bucket import Bucket
from sutlerd.admission.quota import Quota
from sutlerd.domain.record import record

#: English text has about four bytes a token; other scripts, code and JSON fewer.
_BYTES_PER_TOKEN = 3.5
_FIRST_RATIO = 1.1
_LEARNING_RATE = 0.1
_RATIO_RANGE = (0.2, 5.0)
_OUTPUT_MARGIN = 1.5
_MAX_MODELS = 1024
_DAY_S = 86_400.0
_MINUTE_S = 60.0


@record
class Seen:
    """One limit as the provider tells it."""

    limit: float | None = None
    remaining: float | None = None


def heed(quota: Quota, seen: Mapping[str, Seen], *, learns: bool, now_s: float) -> None:
    """Move the buckets to the provider's view.

    A lower limit or less remaining than we thought is believed. With ``learns`` (no numbers
    are configured) a bucket is made of each limit that is told, and follows it up, too.
    """
    for name, view in seen.items():
        bucket = quota.buckets.get(name)
        window_s = _DAY_S if name.endswith("_per_day") else _MINUTE_S
        if view.limit is not None and view.limit > 0:
            if bucket is None and learns:
                level = view.limit if view.remaining is None else view.remaining
                quota.buckets[name] = Bucket(
                    per_s=view.limit / window_s, capacity=view.limit, now_s=now_s, level=level
                )
                continue
            if bucket is not None and (learns or view.limit < bucket.per_s * window_s):
                bucket.resize(
                    per_s=view.limit / window_s,
                    capacity=view.limit if learns else min(bucket.capacity, view.limit),
                    now_s=now_s,
                )
        if bucket is not None and view.remaining is not None and view.remaining >= 0:
            bucket.lower_to(view.remaining, now_s)


class Estimates:
    """How many tokens a model makes of so many bytes, and how many it usually answers."""

    def __init__(self) -> None:
        self._in_ratio: dict[str, float] = {}
        self._out: dict[str, float] = {}

    def tokens_in(self, model: str, size_bytes: int) -> float:
        return size_bytes / _BYTES_PER_TOKEN * self._in_ratio.get(model, _FIRST_RATIO) + 1.0

    def tokens_out(self, model: str, max_tokens: int) -> float:
        """Give what the model will probably answer, for providers that count only that."""
        return min(float(max_tokens), self._out.get(model, float(max_tokens)) * _OUTPUT_MARGIN)

    def learn(
        self, model: str, *, size_bytes: int, tokens_in: int | None, tokens_out: int | None
    ) -> None:
        if len(self._in_ratio) >= _MAX_MODELS and model not in self._in_ratio:
            return
        if tokens_in and size_bytes:
            lowest, highest = _RATIO_RANGE
            ratio = min(highest, max(lowest, tokens_in * _BYTES_PER_TOKEN / size_bytes))
            known = self._in_ratio.get(model, _FIRST_RATIO)
            # Up at once, down slowly: an estimate too low is a refusal, one too high a pause.
            rate = 1.0 if ratio > known else _LEARNING_RATE
            self._in_ratio[model] = known + rate * (ratio - known)
        if tokens_out is not None:
            known = self._out.get(model, float(tokens_out))
            rate = 0.5 if tokens_out > known else _LEARNING_RATE
            self._out[model] = known + rate * (tokens_out - known)
