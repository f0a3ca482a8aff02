"""How servers that speak OpenAI's chat completions differ from one another. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from sutlerd.domain.record import record
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


@record
class OpenAISwitches:
    """One server's way of speaking it. The defaults suit most servers that are not OpenAI's.

    ``schema`` is the best means of having a reply fit a schema; with ``json_object`` and
    ``instruction`` the schema is written into the instructions. ``seed_field`` empty: not
    taken. ``counts`` is how the server counts tokens, if it does. ``refused_extra`` are fields
    of ``extra`` that the server refuses or overlooks, each with what to do instead.
    ``short_tool_ids``: ids of calls must be nine letters and digits.
    ``hinted_402``: no credit with a hint when to try again is no more than a pause.
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
    refused_extra: Mapping[str, str] = field(default_factory=dict)
    short_tool_ids: bool = False
    hinted_402: bool = False


OPENAI = OpenAISwitches(max_tokens_field="max_completion_tokens", obfuscation_flag=True)
GROQ = OpenAISwitches(
    max_tokens_field="max_completion_tokens",
    names=False,
    embeddings=False,
    limit_headers=GROQ_LIMITS,
    refused_extra=dict.fromkeys(
        ("logit_bias", "logprobs", "top_logprobs"), "Groq refuses it; leave it out"
    ),
)
MISTRAL = OpenAISwitches(
    seed_field="random_seed",
    required_choice="any",
    # Fields that it does not know are errors there, not overlooked.
    user=False,
    names=False,
    stream_usage=False,
    embed_encoding="float",
    limit_headers=MISTRAL_LIMITS,
    short_tool_ids=True,
)
#: Its guided schema mode is not OpenAI's; seeds and users are unknown fields to it.
DEEPSEEK = OpenAISwitches(
    schema="json_object",
    seed_field="",
    user=False,
    parallel_flag=False,
    embeddings=False,
)
GEMINI = OpenAISwitches(seed_field="", user=False, parallel_flag=False, embed_encoding="float")
TOGETHER = OpenAISwitches(embed_encoding="float", limit_headers=TOGETHER_LIMITS)
OPENROUTER = OpenAISwitches(
    embed_encoding="float", limit_headers=OPENROUTER_LIMITS, hinted_402=True
)
LLAMA_CPP = OpenAISwitches(counts="llama_cpp")
#: Its older fields are overlooked since they were gathered in one: the answer would be free text.
VLLM = OpenAISwitches(
    counts="vllm",
    refused_extra={
        f"guided_{name}": f'say structured_outputs: {{"{name}": …}}'
        for name in ("json", "regex", "choice", "grammar")
    },
)
COMPATIBLE = OpenAISwitches()
