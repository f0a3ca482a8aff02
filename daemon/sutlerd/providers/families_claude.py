"""Claude's model families, as data: name patterns and what such a model takes. First match wins.

From API version 2026-10-21 on no model takes sampling parameters. Where the vendor's papers
do not say, the word is left to the provider: its refusal is as clear as ours.
"""

from __future__ import annotations

from typing import Final

from sutlerd.providers.contract import Capabilities
from sutlerd.providers.dialect import ModelTraits

_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
#: From Opus 4.7 on one tokenizer makes about 30 % more tokens of a text than the older one,
#: which itself makes about 20 % more than tiktoken's.
_OLD_FACTOR, _NEW_FACTOR = 1.2, 1.5


def _claude(
    *,
    context_tokens: int,
    cache_from_tokens: int | None,
    thinking: tuple[str, ...] | None = None,
    efforts: frozenset[str] | None = _EFFORTS,
    refuses: tuple[str, ...] = (),
    structured: bool = True,
    factor: float = _NEW_FACTOR,
    max_output_tokens: int | None = None,
) -> ModelTraits:
    return ModelTraits(
        capabilities=Capabilities(context_tokens=context_tokens),
        drops=_SAMPLING,
        refuses=frozenset(refuses),
        reasoning=True,
        efforts=efforts,
        thinking_modes=None if thinking is None else frozenset(thinking),
        native_schema=structured,
        max_output_tokens=max_output_tokens,
        cache_from_tokens=cache_from_tokens,
        estimate_factor=factor,
    )


_FREE = _claude(context_tokens=1_000_000, cache_from_tokens=512, refuses=("prefill",))
_ALWAYS_THINKING = _claude(
    context_tokens=1_000_000,
    cache_from_tokens=512,
    thinking=("adaptive",),
    refuses=("prefill", "forced_choice"),
)
_SONNET_5_5 = _claude(
    context_tokens=1_000_000,
    cache_from_tokens=512,
    thinking=("adaptive", "between_tools"),
    refuses=("prefill", "forced_choice"),
)
_HAIKU_5_5 = _claude(
    context_tokens=1_000_000,
    cache_from_tokens=512,
    refuses=("prefill",),
    max_output_tokens=128_000,
)
_SONNET_5 = _claude(
    context_tokens=1_000_000,
    cache_from_tokens=1024,
    thinking=("adaptive", "disabled"),
    refuses=("prefill",),
)
_OPUS_4_8 = _claude(context_tokens=1_000_000, cache_from_tokens=1024, refuses=("prefill",))
_OPUS_4_7 = _claude(context_tokens=1_000_000, cache_from_tokens=2048, refuses=("prefill",))
_OPUS_4_6 = _claude(
    context_tokens=1_000_000,
    cache_from_tokens=4096,
    thinking=("adaptive", "enabled", "disabled"),
    refuses=("prefill",),
    factor=_OLD_FACTOR,
)
_SONNET_4_6 = _claude(
    context_tokens=1_000_000, cache_from_tokens=1024, refuses=("prefill",), factor=_OLD_FACTOR
)
_OPUS_4_5 = _claude(
    context_tokens=200_000,
    cache_from_tokens=4096,
    thinking=("enabled", "disabled"),
    factor=_OLD_FACTOR,
)
_SONNET_4_5 = _claude(
    context_tokens=200_000,
    cache_from_tokens=1024,
    thinking=("enabled", "disabled"),
    efforts=None,
    factor=_OLD_FACTOR,
)
_HAIKU_4_5 = _claude(
    context_tokens=200_000,
    cache_from_tokens=4096,
    thinking=("enabled", "disabled"),
    efforts=None,
    factor=_OLD_FACTOR,
)
#: 4.1 and before: retired by the vendor, and still served by others under these names.
_OLD = _claude(
    context_tokens=200_000,
    cache_from_tokens=1024,
    thinking=("enabled", "disabled"),
    efforts=frozenset(),
    structured=False,
    factor=_OLD_FACTOR,
)

CLAUDE: Final = (
    (("claude-opus-5-5*", "claude-fable-5-1*"), _ALWAYS_THINKING),
    (("claude-sonnet-5-5*",), _SONNET_5_5),
    (("claude-haiku-5-5*",), _HAIKU_5_5),
    (("claude-sonnet-5*",), _SONNET_5),
    (("claude-opus-4-8*",), _OPUS_4_8),
    (("claude-opus-4-7*",), _OPUS_4_7),
    (("claude-opus-4-6*",), _OPUS_4_6),
    (("claude-sonnet-4-6*",), _SONNET_4_6),
    (("claude-opus-4-5*",), _OPUS_4_5),
    (("claude-sonnet-4-5*",), _SONNET_4_5),
    (("claude-haiku-4-5*",), _HAIKU_4_5),
    (("claude-[123]*", "claude-instant*", "claude-opus-4*", "claude-sonnet-4*"), _OLD),
    # Opus 5, Fable and Mythos, and what comes after them.
    (("claude-*",), _FREE),
)

#: The vendor's own service: a name that nobody knows is of a newer model.
ANTHROPIC: Final = (*CLAUDE, (("*",), _FREE))
#: Other models behind the same wire: they sample, and know none of the newer means.
CLAUDE_WIRE: Final = (*CLAUDE, (("*",), ModelTraits(native_schema=False)))
