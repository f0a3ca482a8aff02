"""What a call will probably use, learned from what such calls did use. Pure.

How long prompts turn out in a model's tokens corrects our estimates of them; how long its
answers usually are is what counts with providers that do not reserve ``max_tokens``.
"""

from __future__ import annotations

#: English text has about four bytes a token; other scripts, code and JSON fewer.
_BYTES_PER_TOKEN = 3.5
_FIRST_RATIO = 1.1
_LEARNING_RATE = 0.1
_RATIO_RANGE = (0.2, 5.0)
_OUTPUT_MARGIN = 1.5
_MAX_MODELS = 1024


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
