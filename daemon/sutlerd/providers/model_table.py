"""What a model takes: the built-in table, and what the operator knows better. Pure.

``traits_of`` is the only way to ask. A kind of provider has its families in order; a model
that none of them names takes everything, and its provider says what it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Final

from sutlerd.config.group import settings_of
from sutlerd.config.retired import retirement
from sutlerd.config.schema_provider import CapabilityOverride, ProviderConfig
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.families_claude import ANTHROPIC, CLAUDE_WIRE
from sutlerd.providers.families_open import HUB, OLLAMA
from sutlerd.providers.families_openai import OPENAI

Families = tuple[tuple[tuple[str, ...], ModelTraits], ...]

#: kind of provider -> its families
FAMILIES: Final[Mapping[str, Families]] = {
    "anthropic": ANTHROPIC,
    "anthropic_compatible": CLAUDE_WIRE,
    "openai": OPENAI,
    "ollama": OLLAMA,
    "groq": HUB,
    "vllm": HUB,
    "together": HUB,
}
_UNKNOWN = ModelTraits()
#: What ``False`` makes of a setting, and ``True`` takes back.
_AS_REFUSED = {
    "functions": "functions",
    "forced_function": "forced_choice",
    "images": "images",
    "stop": "stop",
}
_AS_DROPPED = ("temperature", "top_p", "seed")


def traits_of(settings: ProviderConfig, model: str) -> ModelTraits:
    """Tell what a model of a configured provider takes."""
    traits = known_traits(settings.kind, model)
    embeds = model in settings.embed_models
    capabilities = replace(
        traits.capabilities,
        chat=traits.capabilities.chat and (not embeds or model in settings.models),
        embed=embeds,
        context_tokens=settings.context_tokens or traits.capabilities.context_tokens,
        dimension=settings.dimension if embeds else None,
    )
    traits = replace(traits, capabilities=capabilities)
    for override in _overrides(settings, model):
        traits = overridden(traits, override)
    capabilities = replace(
        traits.capabilities,
        functions=traits.capabilities.functions and "functions" not in traits.refuses,
        schema=traits.capabilities.schema and "schema" not in traits.refuses,
        json_mode=traits.capabilities.json_mode and "json_mode" not in traits.refuses,
    )
    return replace(traits, capabilities=capabilities)


def known_traits(kind: str, model: str) -> ModelTraits:
    """Tell what the built-in table knows of a model."""
    # Fine-tuned models take what their base takes.
    name = model.lower().removeprefix("ft:")
    for patterns, traits in FAMILIES.get(kind, ()):
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return traits
    return _UNKNOWN


def overridden(traits: ModelTraits, override: CapabilityOverride) -> ModelTraits:
    """Give the traits with what the operator set in place of the table's."""
    said = {
        name: value
        for name in settings_of(CapabilityOverride)
        if (value := getattr(override, name)) is not None
    }
    refuses, drops = set(traits.refuses), set(traits.drops)
    while_thinking = set(traits.drops_while_thinking)
    for name, word in _AS_REFUSED.items():
        if name in said:
            (refuses.discard if said[name] else refuses.add)(word)
    for name in _AS_DROPPED:
        if name in said:
            (drops.discard if said[name] else drops.add)(name)
            while_thinking.discard(name)
    capabilities = replace(
        traits.capabilities,
        **{
            name: said[name]
            for name in ("chat", "stream", "embed", "functions", "context_tokens", "dimension")
            if name in said
        },
    )
    return replace(
        traits,
        capabilities=capabilities,
        refuses=frozenset(refuses),
        drops=frozenset(drops),
        drops_while_thinking=frozenset(while_thinking),
        reasoning=said.get("reasoning", traits.reasoning),
        native_schema=said.get("schema_", traits.native_schema),
        native_json_mode=said.get("json_mode", traits.native_json_mode),
        max_output_tokens=said.get("max_output_tokens", traits.max_output_tokens),
    )


def gone(settings: ProviderConfig, model: str, today: date) -> str | None:
    """Say when a model went and what serves in its place; ``None``: not known to be gone.

    An operator for whom it is still served says so with ``capabilities: {MODEL: {chat: true}}``.
    """
    known = retirement(settings.kind, model)
    if known is None or known.last_day > today:
        return None
    if any(override.chat for override in _overrides(settings, model)):
        return None
    return f"{model} was shut down on {known.last_day.isoformat()}; use {known.successor}"


def _overrides(settings: ProviderConfig, model: str) -> Iterable[CapabilityOverride]:
    """Give those whose pattern the model matches, in the order of the file: the last counts."""
    return [
        override
        for pattern, override in settings.capabilities.items()
        if fnmatchcase(model, pattern)
    ]
