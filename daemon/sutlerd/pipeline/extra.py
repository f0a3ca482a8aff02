"""A provider's own fields, passed through: which of them may not be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Fields of ``extra`` that would change what is paid, who answers or how much: they have
#: parameters of their own, which are counted.
_FORBIDDEN = frozenset(
    {
        "api_key",
        "audio",
        "background",
        "base_url",
        "best_of",
        "echo",
        "enable_search",
        "extra_body",
        "extra_headers",
        "extra_query",
        "format",
        "function_call",
        "functions",
        "headers",
        "input",
        "instructions",
        "max_output_tokens",
        "max_completion_tokens",
        "max_new_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "models",
        "n",
        "n_predict",
        "n_probs",
        "num_predict",
        "options",
        "plugins",
        "prediction",
        "previous_response_id",
        "prompt",
        "provider",
        "response_format",
        "route",
        "search_parameters",
        "service_tier",
        "speed",
        "stream",
        "stream_options",
        "system",
        "tool_choice",
        "tools",
        "transforms",
        "web_search_options",
    }
)


def forbidden_extra(extra: Mapping[str, Any]) -> list[str]:
    """Give a problem for each field of ``params.extra`` that a call may not set that way."""
    if not extra:
        return []
    return [
        f"params.extra.{name}: sets price, model or length; not allowed here"
        for name in sorted(_FORBIDDEN & extra.keys())
    ]
