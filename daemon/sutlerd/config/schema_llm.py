"""The ``llm`` group: where calls go, what is kept, what may be spent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from sutlerd.config.group import Group, setting
from sutlerd.config.presets import PRESETS
from sutlerd.config.readers import Within
from sutlerd.config.schema_provider import ProviderConfig, RateLimits
from sutlerd.config.secret import Secret
from sutlerd.config.types import (
    AbsolutePath,
    Account,
    AsList,
    BaseUrl,
    Count,
    Header,
    Loopback,
    Model,
    Name,
    Percent,
    Seconds,
    Share,
    Usd,
    Zone,
)


class CacheConfig(Group):
    """``redis`` means the disk with Redis or Valkey behind it, for sharing between nodes."""

    enabled: bool = True
    backend: Literal["disk", "memory", "redis"] = "disk"
    ttl_seconds: Annotated[float, Within(least=0, most=10 * 366 * 86_400)] = 3600.0
    max_ttl_s: Annotated[float, Within(least=0, most=10 * 366 * 86_400)] = 30 * 86_400.0
    max_size_mb: Annotated[int, Within(least=1, most=1024 * 1024)] = 1024
    redis_url: Secret | None = None
    redis_timeout_s: Seconds = 0.25
    scope: Literal["user", "group", "node"] = "user"

    @property
    def max_size_bytes(self) -> int:
        return self.max_size_mb * 1024 * 1024


class BudgetRule(Group):
    """A limit of its own. Without ``match`` each of ``per`` has one.

    A label is a client's own word, so a limit by component or project is each user's;
    ``across_users`` makes it one for the sum of all who claim the label in ``match``.
    """

    name: Name | None = None
    per: Literal["node", "provider", "model", "uid", "group", "job", "component", "project"]
    match: Account | None = None
    period: Literal["day", "month", "total"] = "day"
    limit_usd: Usd
    across_users: bool = False


class BudgetConfig(Group):
    """Money. ``enabled`` unless said otherwise as soon as a limit is given."""

    enabled: bool = False
    daily_limit_usd: Usd | None = None
    monthly_limit_usd: Usd | None = None
    total_limit_usd: Usd | None = None
    rules: Annotated[tuple[BudgetRule, ...], AsList] = ()
    share: Share | None = None
    timezone: Zone = "UTC"
    unknown_price: Literal["refuse", "allow"] = "refuse"
    alert_threshold_pct: Percent = 80.0
    alert_webhook: Secret | None = None

    @classmethod
    def _prepared(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "enabled" in value:
            return value
        limits = ("daily_limit_usd", "monthly_limit_usd", "total_limit_usd", "rules")
        return {**value, "enabled": any(value.get(name) is not None for name in limits)}


class LongPrompt(Group):
    """What a request costs whose whole prompt has more than so many tokens."""

    above_tokens_in: Count
    input_usd: Usd
    output_usd: Usd
    cache_read_usd: Usd | None = None
    cache_write_usd: Usd | None = None


class Price(Group):
    """Dollars for a million tokens, looked up by ``provider/model`` first, then by model.

    Models that the operator's own machines serve cost nothing unless one is priced by
    ``provider/model``. ``long_prompts`` are in any order.
    """

    input_usd: Usd
    output_usd: Usd
    cache_read_usd: Usd | None = None
    cache_write_usd: Usd | None = None
    long_prompts: Annotated[tuple[LongPrompt, ...], AsList] = ()


class LedgerConfig(Group):
    """``on_disconnect``: whether an abandoned call is read to its usage, or cut."""

    on_disconnect: Literal["drain", "cancel"] = "drain"
    drain_s: Seconds = 60.0
    rows_days: Annotated[int, Within(least=0, most=3660)] = 30


class RetryConfig(Group):
    """The budget of retries: a part of all calls, with a floor, so that a storm stays small."""

    budget_pct: Percent = 10.0
    budget_floor_per_minute: Annotated[int, Within(least=0, most=1_000_000)] = 10
    retry_after_sent: bool = True


class CircuitConfig(Group):
    """When an endpoint, or one model of it, is left alone for a while: so many of at least so
    many calls within the window failed."""

    failure_pct: Annotated[float, Within(above=0, most=100)] = 50.0
    least_calls: Count = 10
    window_s: Seconds = 15.0


class HedgingConfig(Group):
    enabled: bool = False
    after_percentile: Percent = 95.0


class LaneGrant(Group):
    """Who may use a lane ahead of other users' calls, and the share kept free for it."""

    users: Annotated[tuple[Account, ...], AsList] = ()
    groups: Annotated[tuple[Account, ...], AsList] = ()
    reserved_pct: Percent = 0.0


class CallerLimits(Group):
    share: Share | None = None
    calls_in_flight: Count | None = None


class FairnessConfig(Group):
    """How callers share a quota. ``weights`` are by user; those not named weigh 1."""

    weights: dict[str, Annotated[float, Within(above=0, most=1000)]] = setting(default_factory=dict)
    lanes: dict[Literal["interactive", "normal", "background"], LaneGrant] = setting(
        default_factory=dict
    )
    per_uid: CallerLimits = setting(default_factory=CallerLimits)
    per_job: CallerLimits = setting(default_factory=CallerLimits)


class PrometheusConfig(Group):
    """More ways to the metrics than the HTTP side has anyhow: ``socket`` and ``listen``, a
    loopback ``host:port``, are further addresses of it; ``textfile`` is for node_exporter."""

    enabled: bool = False
    socket: AbsolutePath | None = None
    listen: Loopback | None = None
    textfile: AbsolutePath | None = None


class TracingConfig(Group):
    enabled: bool = False
    endpoint: BaseUrl | None = None
    headers: dict[Header, Secret] = setting(default_factory=dict)
    sample_pct: Percent = 100.0
    hit_sample_pct: Percent = 1.0
    capture_content: bool = False


class MonitoringConfig(Group):
    prometheus: PrometheusConfig = setting(default_factory=PrometheusConfig)
    tracing: TracingConfig = setting(default_factory=TracingConfig)


class LlmConfig(Group):
    """Times are in seconds; ``max_retries`` counts retries after the first attempt."""

    default_provider: Name
    default_model: Model | None = None
    fallback_providers: Annotated[tuple[Name, ...], AsList] = ()
    fallback_models: dict[Name, Model] = setting(default_factory=dict)
    never_fall_back: Annotated[tuple[Name, ...], AsList] = ()
    aliases: dict[Model, Model] = setting(default_factory=dict)
    timeout_seconds: Seconds = 60.0
    queue_timeout_s: Seconds = 600.0
    max_timeout_s: Seconds = 3600.0
    max_retries: Annotated[int, Within(least=0, most=10)] = 3
    default_max_tokens: Annotated[int, Within(least=1, most=10_000_000)] = 4096
    cacheable_temperature: Annotated[float, Within(least=0, most=2)] = 0.3
    schema_repairs: Annotated[int, Within(least=0, most=10)] = 2
    cache: CacheConfig = setting(default_factory=CacheConfig)
    providers: dict[Name, ProviderConfig]
    rate_limits: dict[Name, RateLimits] = setting(default_factory=dict)
    budget: BudgetConfig = setting(default_factory=BudgetConfig)
    prices: dict[Model, Price] = setting(default_factory=dict)
    ledger: LedgerConfig = setting(default_factory=LedgerConfig)
    retry: RetryConfig = setting(default_factory=RetryConfig)
    circuit: CircuitConfig = setting(default_factory=CircuitConfig)
    hedging: HedgingConfig = setting(default_factory=HedgingConfig)
    fairness: FairnessConfig = setting(default_factory=FairnessConfig)
    monitoring: MonitoringConfig = setting(default_factory=MonitoringConfig)

    @classmethod
    def _prepared(cls, value: Any) -> Any:
        return with_providers(value) if isinstance(value, dict) else value

    @property
    def default_route(self) -> tuple[str, str]:
        """The provider and the model of a call that names neither."""
        model = self.default_model or self.providers[self.default_provider].default_model
        return self.default_provider, model


def with_providers(llm: dict[str, Any]) -> dict[str, Any]:
    """Fill the ``llm`` group's providers: their kinds, their times, those only named.

    A provider's kind is its name unless it says otherwise. One that is only named, as the
    default or as a fallback, and has a preset, is configured by that alone. With none at all
    there is the embedded model. The default is the first one. Pure.
    """
    filled = dict(llm)
    written = filled.get("providers")
    if written is not None and not isinstance(written, dict):
        return filled | {"default_provider": filled.get("default_provider") or "embedded"}
    providers = dict(written or {})
    for name in named_providers(filled):
        if name in PRESETS and not name.endswith("_compatible"):
            providers.setdefault(name, {})
    if not providers:
        providers["embedded"] = {}
    general = filled.get("timeout_seconds")
    for name, settings in providers.items():
        if isinstance(settings, dict):
            providers[name] = _one_provider(name, settings, general)
    if filled.get("default_provider") is None:
        filled["default_provider"] = next(iter(providers))
    filled["providers"] = providers
    return filled


def named_providers(llm: dict[str, Any]) -> list[str]:
    """List the names that the default and the fallback chain use, as far as they are text."""
    fallbacks = llm.get("fallback_providers")
    names = [llm.get("default_provider")]
    names += fallbacks if isinstance(fallbacks, (list, tuple)) else []
    return [name for name in names if isinstance(name, str)]


def _one_provider(name: str, settings: dict[str, Any], general_timeout: Any) -> dict[str, Any]:
    settings = dict(settings)
    if settings.get("kind") is None:
        settings.pop("kind", None)
        if name in PRESETS:
            settings["kind"] = name
    kind = settings.get("kind")
    preset = PRESETS.get(kind) if isinstance(kind, str) else None
    slow = preset is not None and preset.attempt_timeout_s is not None
    # A wrong value is complained of once, at its own place.
    usable = isinstance(general_timeout, (int, float)) and not isinstance(general_timeout, bool)
    if settings.get("timeout_seconds") is None and usable and not slow and general_timeout > 0:
        settings["timeout_seconds"] = general_timeout
    return settings
