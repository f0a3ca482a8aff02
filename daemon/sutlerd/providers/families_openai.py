"""OpenAI's model families, as data: name patterns and what such a model takes. First match wins.

Where the vendor's papers do not say, the word is left to the provider: its refusal is as
clear as ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sutlerd.providers.contract import Capabilities
from sutlerd.providers.dialect import ModelTraits

_SAMPLING = frozenset({"temperature", "top_p"})
_ALL = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_CLASSIC = frozenset({"low", "medium", "high"})

_PLAIN = ModelTraits(capabilities=Capabilities(context_tokens=128_000), efforts=frozenset())
_GPT_4_1 = replace(_PLAIN, capabilities=Capabilities(context_tokens=1_000_000))
#: Before schemas could be enforced. Retired by the vendor.
_GPT_4 = ModelTraits(
    capabilities=Capabilities(context_tokens=8_192),
    native_schema=False,
    efforts=frozenset(),
)
_GPT_4_TURBO = replace(_GPT_4, capabilities=Capabilities(context_tokens=128_000))
_GPT_3_5 = replace(
    _GPT_4, capabilities=Capabilities(context_tokens=16_385), refuses=frozenset({"images"})
)

_REASONING = ModelTraits(
    capabilities=Capabilities(context_tokens=400_000),
    # Unless no effort is asked for, which only the newer ones can be.
    drops_while_thinking=_SAMPLING,
    refuses=frozenset({"stop"}),
    system_role="developer",
    reasoning=True,
    efforts=_ALL,
)
_FIRST_O1 = replace(
    _REASONING,
    capabilities=Capabilities(context_tokens=128_000, functions=False, schema=False),
    refuses=frozenset({"stop", "functions", "images"}),
    native_schema=False,
    native_json_mode=False,
    # They know no instructions but the user's.
    system_role="user",
    efforts=frozenset(),
)
_O_SERIES = replace(
    _REASONING,
    capabilities=Capabilities(context_tokens=200_000),
    drops=_SAMPLING | {"parallel_tool_calls"},
    efforts=_CLASSIC,
)
_GPT_5 = replace(_REASONING, drops=_SAMPLING, efforts=frozenset({"minimal", *_CLASSIC}))
#: Function tools are refused at /v1/chat/completions unless the effort is "none".
_GPT_5_4 = replace(
    _REASONING,
    capabilities=Capabilities(context_tokens=1_000_000),
    api="responses_for_functions",
)
_NEWEST = replace(_GPT_5_4, capabilities=Capabilities(context_tokens=1_050_000))
_EMBEDDING = ModelTraits(
    capabilities=Capabilities(
        chat=False,
        stream=False,
        embed=True,
        functions=False,
        json_mode=False,
        schema=False,
        context_tokens=8_192,
    ),
)

OPENAI: Final = (
    (("text-embedding-*",), _EMBEDDING),
    (("o1-preview*", "o1-mini*"), _FIRST_O1),
    # Those that are reached by the Responses interface alone.
    (
        ("o1-pro*", "o3-pro*", "o3-deep-research*", "o4-mini-deep-research*", "codex-mini*"),
        replace(_O_SERIES, api="responses"),
    ),
    (("gpt-5*-pro*", "gpt-5*-codex*"), replace(_NEWEST, api="responses")),
    (("o1*", "o3*", "o4-mini*"), _O_SERIES),
    # Chat models under the name of a reasoning one.
    (("gpt-5*-chat-latest", "gpt-5-search-api*", "gpt-chat-latest", "chatgpt-*"), _PLAIN),
    (("gpt-5", "gpt-5-*"), _GPT_5),
    (("gpt-5.1*", "gpt-5.2*", "gpt-5.3*"), _REASONING),
    (
        ("gpt-5.4-mini*", "gpt-5.4-nano*"),
        replace(_GPT_5_4, capabilities=Capabilities(context_tokens=400_000)),
    ),
    (("gpt-5.5*",), _GPT_5_4),
    (("gpt-6-astra*", "gpt-6.1-sol*"), replace(_NEWEST, efforts=_ALL - {"none"})),
    (("gpt-4.1*",), _GPT_4_1),
    (("gpt-4o*", "gpt-4.5*", "gpt-audio*"), _PLAIN),
    (("gpt-4-turbo*", "gpt-4-*-preview*"), _GPT_4_TURBO),
    (("gpt-4*",), _GPT_4),
    (("gpt-3.5*",), _GPT_3_5),
    # 5.4, 5.6, 6 and what comes after them.
    (("gpt-*",), _NEWEST),
)
