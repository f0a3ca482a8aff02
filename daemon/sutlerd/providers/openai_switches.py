"""How servers that speak OpenAI's chat completions differ from one another. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sutlerd.providers.hints import LimitHeaders


def _limits(*kinds: tuple[str, str], stem: str = "x-ratelimit") -> tuple[LimitHeaders, ...]:
    """Give ``{stem}-{limit,remaining,reset}{suffix}`` for each kind and suffix."""
    return tuple(
        LimitHeaders(
            kind=kind,
            limit=f"{stem}-limit{suffix}",
            remaining=f"{stem}-remaining{suffix}",
            reset=f"{stem}-reset{suffix}",
        )
        for kind, suffix in kinds
    )


STANDARD_LIMITS = _limits(("requests", "-requests"), ("tokens", "-tokens"))
#: Groq counts requests by the day under the same names.
GROQ_LIMITS = _limits(("requests_per_day", "-requests"), ("tokens", "-tokens"))
OPENROUTER_LIMITS = _limits(("requests", ""))
MISTRAL_LIMITS = _limits(("requests", "-req-minute"), ("tokens", "-tokens-minute"))
TOGETHER_LIMITS = (*_limits(("requests", "")), *_limits(("tokens", ""), stem="x-tokenlimit"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISwitches:
    """One server's way of speaking it. The defaults suit most servers that are not OpenAI's.

    ``schema`` is the best means of having a reply fit a schema; with ``json_object`` and
    ``instruction`` the schema is written into the instructions. ``seed_field`` empty: not
    taken. ``counts`` is how the server counts tokens, if it does.
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
    limit_headers: tuple[LimitHeaders, ...] = STANDARD_LIMITS
    counts: Literal["llama_cpp", "vllm"] | None = None


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
LLAMA_CPP = OpenAISwitches(counts="llama_cpp")
VLLM = OpenAISwitches(counts="vllm")
COMPATIBLE = OpenAISwitches()
