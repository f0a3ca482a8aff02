"""Open-weight model families, as data: what is the same whoever serves them. First match wins.

Names as Ollama and as the weights' own repositories spell them. What depends on the server
(how a schema is enforced, which context it grants) is not told here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sutlerd.providers.contract import Capabilities
from sutlerd.providers.dialect import ModelTraits

_BLIND = frozenset({"images"})
_NO_TOOLS = frozenset({"images", "functions"})


def _text(context_tokens: int, *, refuses: frozenset[str] = _BLIND) -> ModelTraits:
    return ModelTraits(capabilities=Capabilities(context_tokens=context_tokens), refuses=refuses)


_GPT_OSS = replace(
    _text(131_072),
    reasoning=True,
    efforts=frozenset({"low", "medium", "high"}),
    thinking_modes=frozenset({"low", "medium", "high"}),
)
_SWITCHED = frozenset({"true", "false"})

#: Ollama: what a model cannot see or call is an error there, or is dropped without a word.
OLLAMA: Final = (
    (("llama3.2-vision*", "llava*", "bakllava*"), _text(131_072, refuses=frozenset())),
    (("llama3.1*", "llama3.2*", "llama3.3*"), _text(131_072)),
    (("llama3", "llama3:*"), _text(8_192, refuses=_NO_TOOLS)),
    (("llama2*",), _text(4_096, refuses=_NO_TOOLS)),
    (("codellama*",), _text(16_384, refuses=_NO_TOOLS)),
    (("mistral", "mistral:*", "mixtral*"), _text(32_768)),
    (("gpt-oss*",), _GPT_OSS),
    (
        ("deepseek-r1*", "qwen3*", "magistral*"),
        ModelTraits(reasoning=True, thinking_modes=_SWITCHED),
    ),
)

#: Servers of OpenAI's wire: the names carry the repository.
HUB: Final = ((("openai/gpt-oss*", "gpt-oss*"), _GPT_OSS),)
