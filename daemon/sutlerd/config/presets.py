"""What is known of each kind of provider, as data: a few lines a kind, no code.

A new kind is a new entry here. What an operator writes always wins over a preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from sutlerd.domain.record import record


@record
class Preset:
    """Defaults of one kind.

    ``key_env`` is the variable that holds the key unless the configuration names another
    source; with ``key_needed`` the provider is off without one. ``local`` means that the
    node's own machine does the work, so its price is 0. ``attempt_timeout_s`` is ``None``
    where the general one holds. ``price_list`` is the seller's name in published price lists;
    without it an endpoint is known there by its address or by the name it is given.
    """

    dialect: str
    transport: str = "lean"
    base_url: str | None = None
    key_env: str | None = None
    key_needed: bool = False
    default_model: str | None = None
    embed_models: tuple[str, ...] = ()
    dimension: int | None = None
    attempt_timeout_s: float | None = None
    local: bool = False
    price_list: str | None = None


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "anthropic": Preset(
            dialect="anthropic",
            transport="sdk",
            base_url="https://api.anthropic.com",
            key_env="ANTHROPIC_API_KEY",
            key_needed=True,
            default_model="claude-sonnet-5-5",
            price_list="anthropic",
        ),
        "openai": Preset(
            dialect="openai_chat",
            transport="sdk",
            base_url="https://api.openai.com/v1",
            key_env="OPENAI_API_KEY",
            key_needed=True,
            default_model="gpt-5.4-mini",
            embed_models=("text-embedding-3-small", "text-embedding-3-large"),
            price_list="openai",
        ),
        "ollama": Preset(
            dialect="ollama",
            base_url="http://127.0.0.1:11434",
            # A cold load of a large model takes minutes before the first byte.
            attempt_timeout_s=300.0,
            local=True,
        ),
        "vllm": Preset(
            dialect="openai_chat",
            base_url="http://127.0.0.1:8000/v1",
            key_env="VLLM_API_KEY",
            local=True,
        ),
        "together": Preset(
            dialect="openai_chat",
            base_url="https://api.together.ai/v1",
            key_env="TOGETHER_API_KEY",
            key_needed=True,
            price_list="together",
        ),
        "groq": Preset(
            dialect="openai_chat",
            base_url="https://api.groq.com/openai/v1",
            key_env="GROQ_API_KEY",
            key_needed=True,
            price_list="groq",
        ),
        "voyage": Preset(
            dialect="voyage",
            base_url="https://api.voyageai.com/v1",
            key_env="VOYAGE_API_KEY",
            key_needed=True,
            default_model="voyage-4",
            embed_models=("voyage-4", "voyage-4-large", "voyage-4-lite"),
            dimension=1024,
            price_list="voyageai",
        ),
        "embedded": Preset(
            dialect="openai_chat",
            # The daemon's own child process says where it listens once it does.
            base_url="http://127.0.0.1:0/v1",
            default_model="smollm2",
            embed_models=("smollm2",),
            # A full context at the speed of two busy cores.
            attempt_timeout_s=300.0,
            local=True,
        ),
        "llama_cpp": Preset(
            dialect="openai_chat",
            base_url="http://127.0.0.1:8080/v1",
            key_env="LLAMA_API_KEY",
            # The server holds one model and answers to any name.
            default_model="default",
            local=True,
        ),
        "openrouter": Preset(
            dialect="openai_chat",
            base_url="https://openrouter.ai/api/v1",
            key_env="OPENROUTER_API_KEY",
            key_needed=True,
            price_list="openrouter",
        ),
        "deepseek": Preset(
            dialect="openai_chat",
            base_url="https://api.deepseek.com/v1",
            key_env="DEEPSEEK_API_KEY",
            key_needed=True,
            default_model="deepseek-v4-flash",
            price_list="deepseek",
        ),
        "mistral": Preset(
            dialect="openai_chat",
            base_url="https://api.mistral.ai/v1",
            key_env="MISTRAL_API_KEY",
            key_needed=True,
            price_list="mistral",
        ),
        "gemini": Preset(
            dialect="openai_chat",
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_env="GEMINI_API_KEY",
            key_needed=True,
            price_list="google",
        ),
        "openai_compatible": Preset(dialect="openai_chat"),
        "anthropic_compatible": Preset(dialect="anthropic"),
    }
)


def with_preset(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fill what a provider's settings leave out from the preset of its ``kind``.

    Pure; ``settings`` are as written in the file, so anything may be missing or of a wrong
    type. The default model is the one named, else the first one listed, else the preset's;
    it is listed among ``models`` in any case.
    """
    filled = dict(settings)
    kind = filled.get("kind")
    preset = PRESETS.get(kind) if isinstance(kind, str) else None
    models = filled.get("models")
    listed = list(models) if isinstance(models, (list, tuple)) else []
    if filled.get("default_model") is None:
        filled.pop("default_model", None)
        if listed:
            filled["default_model"] = listed[0]
        elif preset is not None and preset.default_model is not None:
            filled["default_model"] = preset.default_model
    default = filled.get("default_model")
    if models is None and isinstance(default, str):
        filled["models"] = (default,)
    elif isinstance(models, (list, tuple)) and isinstance(default, str) and default not in listed:
        filled["models"] = (*models, default)
    if preset is not None:
        _fill_from(preset, filled)
    return filled


def _fill_from(preset: Preset, filled: dict[str, Any]) -> None:
    offered = {
        "base_url": preset.base_url,
        "transport": preset.transport,
        "embed_models": preset.embed_models,
        "dimension": preset.dimension,
        "timeout_seconds": preset.attempt_timeout_s,
    }
    for name, value in offered.items():
        if filled.get(name) is None:
            filled.pop(name, None)
            if value is not None:
                filled[name] = value
