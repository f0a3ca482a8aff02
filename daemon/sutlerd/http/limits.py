"""Rate-limit headers as OpenAI and as Anthropic spell them: the caller's own share. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from sutlerd.http.headers import Shares

_OPENAI = {"requests": "requests", "tokens": "tokens"}
_ANTHROPIC = {
    "requests": "requests",
    "tokens": "tokens",
    "tokens_in": "input-tokens",
    "tokens_out": "output-tokens",
}


def openai_limits(shares: Shares) -> dict[str, str]:
    said: dict[str, str] = {}
    for bucket, word in _OPENAI.items():
        if bucket in shares:
            limit, remaining, reset_s = shares[bucket]
            said[f"x-ratelimit-limit-{word}"] = str(int(limit))
            said[f"x-ratelimit-remaining-{word}"] = str(int(remaining))
            said[f"x-ratelimit-reset-{word}"] = f"{reset_s:.3f}s"
    return said


def anthropic_limits(shares: Shares, *, now_unix_s: float) -> dict[str, str]:
    said: dict[str, str] = {}
    for bucket, word in _ANTHROPIC.items():
        if bucket in shares:
            limit, remaining, reset_s = shares[bucket]
            full = datetime.fromtimestamp(int(now_unix_s + reset_s), UTC)
            said[f"anthropic-ratelimit-{word}-limit"] = str(int(limit))
            said[f"anthropic-ratelimit-{word}-remaining"] = str(int(remaining))
            said[f"anthropic-ratelimit-{word}-reset"] = full.strftime("%Y-%m-%dT%H:%M:%SZ")
    return said
