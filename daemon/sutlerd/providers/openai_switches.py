"""How servers that speak OpenAI's chat completions differ from one another. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

LimitHeaders = Mapping[str, tuple[str, str, str]]


def _headers(*names: tuple[str, str]) -> LimitHeaders:
    """Map kinds to ``x-ratelimit-{limit,remaining,reset}`` with a suffix each."""
    return MappingProxyType(
        {
            kind: (
                f"x-ratelimit-limit{suffix}",
                f"x-ratelimit-remaining{suffix}",
                f"x-ratelimit-reset{suffix}",
            )
            for kind, suffix in names
        }
    )


STANDARD_LIMITS = _headers(("requests", "-requests"), ("tokens", "-tokens"))
#: Groq counts requests by the day under the same names.
GROQ_LIMITS = _headers(("requests_per_day", "-requests"), ("tokens", "-tokens"))
OPENROUTER_LIMITS = _headers(("requests", ""))
MISTRAL_LIMITS = _headers(("requests", "-req-minute"), ("tokens", "-tokens-minute"))
TOGETHER_LIMITS = MappingProxyType(
    {
        "requests": ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
        "tokens": ("x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-reset"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISwitches:
    """One server's way of speaking it. The defaults suit most servers that are not OpenAI's.

    ``schema`` is the best means of having a reply fit a schema; with ``json_object`` and
    ``instruction`` the schema is written into the instructions. ``seed_field`` empty: not
    taken. ``count_path`` is where the server counts tokens, if it does.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    seed_field: str = "seed"
    required_choice: str = "required"
    names: bool = True
    user: bool = True
    parallel_flag: bool = True
    schema: Literal["json_schema", "json_object", "instruction"] = "json_schema"
    stream_usage: bool = True
    obfuscation_flag: bool = False
    embeddings: bool = True
    embed_encoding: Literal["base64", "float"] = "base64"
    limit_headers: LimitHeaders = STANDARD_LIMITS
    count_path: str | None = None


OPENAI = OpenAISwitches(max_tokens_field="max_completion_tokens", obfuscation_flag=True)
GROQ = OpenAISwitches(
    max_tokens_field="max_completion_tokens",
    names=False,
    embeddings=False,
    limit_headers=GROQ_LIMITS,
)
MISTRAL = OpenAISwitches(
    seed_field="random_seed",
    required_choice="any",
    user=False,
    embed_encoding="float",
    limit_headers=MISTRAL_LIMITS,
)
#: Its guided schema mode is not OpenAI's; seeds and users are unknown fields to it.
DEEPSEEK = OpenAISwitches(
    schema="json_object", seed_field="", user=False, parallel_flag=False, embeddings=False
)
GEMINI = OpenAISwitches(seed_field="", user=False, parallel_flag=False, embed_encoding="float")
TOGETHER = OpenAISwitches(embed_encoding="float", limit_headers=TOGETHER_LIMITS)
OPENROUTER = OpenAISwitches(embed_encoding="float", limit_headers=OPENROUTER_LIMITS)
LLAMA_CPP = OpenAISwitches(count_path="/chat/completions/input_tokens")
COMPATIBLE = OpenAISwitches()
