"""``llm.providers`` and what belongs to one provider."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from sutlerd.config.group import Group, setting
from sutlerd.config.in_force import SERVED_DIALECTS
from sutlerd.config.presets import PRESETS, Preset, with_preset
from sutlerd.config.secret import Secret
from sutlerd.config.types import AsList, BaseUrl, Count, Header, Model, Seconds, Share

Kind = Literal[
    "anthropic",
    "openai",
    "ollama",
    "vllm",
    "together",
    "groq",
    "voyage",
    "embedded",
    "llama_cpp",
    "openrouter",
    "deepseek",
    "mistral",
    "gemini",
    "openai_compatible",
    "anthropic_compatible",
]


class RateLimits(Group):
    """What a provider grants one key. ``auto`` learns the limits from its replies."""

    auto: bool = False
    requests_per_minute: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    input_tokens_per_minute: Count | None = None
    output_tokens_per_minute: Count | None = None
    calls_in_flight: Count | None = None
    burst_s: Seconds | None = None
    share: Share | None = None
    models: dict[str, RateLimits] = setting(default_factory=dict)

    @classmethod
    def _prepared(cls, value: Any) -> Any:
        return {"auto": True} if value == "auto" else value


class CapabilityOverride(Group):
    """What the operator knows better of a family of models; unset: the built-in table."""

    chat: bool | None = None
    stream: bool | None = None
    embed: bool | None = None
    functions: bool | None = None
    forced_function: bool | None = None
    json_mode: bool | None = None
    schema_: bool | None = setting(default=None, alias="schema")
    images: bool | None = None
    reasoning: bool | None = None
    temperature: bool | None = None
    top_p: bool | None = None
    stop: bool | None = None
    seed: bool | None = None
    context_tokens: Count | None = None
    max_output_tokens: Count | None = None
    dimension: Count | None = None


class EndpointConfig(Group):
    """One more address or key of the same provider."""

    base_url: BaseUrl | None = None
    api_key: Secret | None = None
    headers: dict[Header, Secret] = setting(default_factory=dict)


class ProviderConfig(Group):
    """One provider, its preset filled in. ``timeout_seconds`` bounds one attempt."""

    kind: Kind
    enabled: bool = True
    base_url: BaseUrl
    api_key: Secret | None = None
    default_model: Model
    models: Annotated[tuple[Model, ...], AsList]
    timeout_seconds: Seconds = 60.0
    transport: Literal["sdk", "lean"] = "lean"
    embed_models: Annotated[tuple[Model, ...], AsList] = ()
    dimension: Count | None = None
    headers: dict[Header, Secret] = setting(default_factory=dict)
    context_tokens: Count | None = None
    keep_alive: str | None = None
    prompt_caching: bool = True
    share: Share | None = None
    limits: RateLimits | None = None
    endpoints: Annotated[tuple[EndpointConfig, ...], AsList] = ()
    capabilities: dict[str, CapabilityOverride] = setting(default_factory=dict)

    @classmethod
    def _prepared(cls, value: Any) -> Any:
        return with_preset(value) if isinstance(value, dict) else value

    @property
    def preset(self) -> Preset:
        return PRESETS[self.kind]

    @property
    def dialect(self) -> str:
        return self.preset.dialect

    @property
    def local(self) -> bool:
        """Whether the work costs nothing, because the node or its site does it."""
        return self.preset.local

    @property
    def off(self) -> str | None:
        """Why this provider cannot be used, in words for an operator; ``None`` if it can."""
        if not self.enabled:
            return "switched off by 'enabled: false'"
        if self.dialect not in SERVED_DIALECTS:
            return f"providers of kind {self.kind} are not served by this version"
        if self.api_key is None and self.preset.key_needed:
            return f"no api_key, and ${self.preset.key_env} is not set"
        if self.api_key is not None and not self.api_key.is_set:
            return f"{self.api_key.origin} is not set"
        return None

    @property
    def lacks_key(self) -> bool:
        """Whether a key is all that this provider wants."""
        if not self.enabled or self.dialect not in SERVED_DIALECTS:
            return False
        return self.preset.key_needed if self.api_key is None else not self.api_key.is_set
