"""The tables of presets, retired models and what is in force fit the schema and each other."""

from __future__ import annotations

import datetime
from typing import get_args
from urllib.parse import urlsplit

import pytest

from sutlerd.config.in_force import IN_FORCE, SERVED_DIALECTS
from sutlerd.config.loader import load
from sutlerd.config.presets import PRESETS, with_preset
from sutlerd.config.retired import RETIRED, retirement
from sutlerd.config.schema import Config
from sutlerd.config.schema_llm import with_providers
from sutlerd.config.schema_provider import Kind, ProviderConfig
from sutlerd.config.secret import Secret
from sutlerd.config.shape import at

DIALECTS = {"anthropic", "openai_chat", "openai_responses", "ollama", "voyage"}


def test_every_kind_has_a_preset_and_every_preset_is_a_kind() -> None:
    assert set(PRESETS) == set(get_args(Kind))


@pytest.mark.parametrize("kind", PRESETS)
def test_a_preset_is_sound(kind: str) -> None:
    preset = PRESETS[kind]
    assert preset.dialect in DIALECTS
    assert preset.transport in ("sdk", "lean")
    if preset.base_url is None:
        assert kind.endswith("_compatible")
    else:
        assert urlsplit(preset.base_url).scheme == ("http" if preset.local else "https")
    assert preset.key_env or not preset.key_needed


@pytest.mark.parametrize("kind", [kind for kind in PRESETS if not kind.endswith("_compatible")])
def test_a_preset_and_a_model_make_a_whole_provider(kind: str) -> None:
    provider = ProviderConfig.model_validate({"kind": kind, "default_model": "m"})
    assert provider.models == ("m",)
    assert provider.base_url
    assert provider.timeout_seconds == (PRESETS[kind].attempt_timeout_s or 60.0)


def test_the_default_model_is_the_one_named_else_the_first_listed_else_the_presets() -> None:
    def filled(**settings: object) -> tuple[object, object]:
        done = with_preset({"kind": "anthropic", **settings})
        return done["default_model"], tuple(done["models"])

    assert filled(default_model="a", models=["b"]) == ("a", ("b", "a"))
    assert filled(models=["b", "c"]) == ("b", ("b", "c"))
    assert filled(default_model=None) == ("claude-sonnet-5-5", ("claude-sonnet-5-5",))


def test_the_presets_own_models_are_not_retired() -> None:
    today = datetime.date(2026, 11, 23)
    for kind, preset in PRESETS.items():
        for model in filter(None, (preset.default_model, *preset.embed_models)):
            assert retirement(kind, model) is None
    for kind, models in RETIRED.items():
        for model, known in models.items():
            assert known.successor != model
            following = retirement(kind, known.successor)
            assert following is None or following.last_day > today


def test_nothing_is_known_of_models_at_servers_of_ones_own() -> None:
    assert retirement("vllm", "gpt-4") is None
    assert retirement("openai", "o1-mini") is not None


def test_every_entry_of_what_is_in_force_is_a_setting() -> None:
    for path in IN_FORCE:
        assert at(Config, path.replace("*", "NAME").split(".")) is not None, path


def test_a_provider_of_a_dialect_without_code_is_off() -> None:
    for kind, preset in PRESETS.items():
        provider = ProviderConfig.model_validate(
            {"kind": kind, "default_model": "m", "base_url": "http://h", "api_key": Secret("k")}
        )
        assert (provider.off is None) == (preset.dialect in SERVED_DIALECTS)


def test_no_configuration_at_all_is_the_embedded_model_alone() -> None:
    config = load(None, {"OPENAI_API_KEY": "sk-not-asked-for"}).config
    assert config == Config()
    assert list(config.llm.providers) == ["embedded"]
    assert config.llm.default_route == ("embedded", "smollm2")
    assert config.off("embedded") is None
    assert config.secret_values() == ()


@pytest.mark.fault("O15")
@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "llm:\n", "{}"])
def test_an_empty_file_is_no_configuration(load_text, text: str) -> None:
    loaded = load_text(text)
    assert loaded.config == Config()
    assert loaded.warnings == ()


def test_settings_without_providers_keep_the_embedded_model(load_text) -> None:
    config = load_text("llm: {timeout_seconds: 30}\ndaemon: {drain_s: 1}\n").config
    assert list(config.llm.providers) == ["embedded"]
    assert config.llm.providers["embedded"].timeout_seconds == 300.0


def test_the_general_attempt_timeout_reaches_providers_without_their_own() -> None:
    llm = with_providers(
        {
            "timeout_seconds": 30,
            "providers": {"openai": {}, "ollama": {}, "vllm": {"timeout_seconds": 5}},
        }
    )
    timeouts = {name: p.get("timeout_seconds") for name, p in llm["providers"].items()}
    assert timeouts == {"openai": 30, "ollama": None, "vllm": 5}


def test_any_server_is_reachable_by_kind_address_and_model(load_text) -> None:
    text = """\
llm:
  providers:
    mine: {kind: openai_compatible, base_url: "http://h:1/v1/", default_model: a, models: [b]}
"""
    llm = load_text(text).config.llm
    assert llm.default_route == ("mine", "a")
    assert llm.providers["mine"].base_url == "http://h:1/v1"
    assert llm.providers["mine"].models == ("b", "a")
    assert llm.providers["mine"].off is None


def test_a_missing_extra_names_the_command_that_installs_it(config_file) -> None:
    config_file.write_text("llm: {cache: {backend: redis, redis_url: 'redis://h:1/0'}}")
    config_file.chmod(0o600)
    loaded = load(config_file, {}, has_module=lambda name: False)
    told = {warning.path: warning.message for warning in loaded.warnings}
    assert "pip install 'sutlerd[redis]'" in told["llm.cache.backend"]
    assert "pip install 'sutlerd[local]'" in told["llm.providers.embedded"]
    assert loaded.missing_extras == {"redis", "local"}


def test_a_switched_off_group_is_not_told_as_not_in_force(load_text) -> None:
    text = "llm: {budget: {enabled: false, daily_limit_usd: 1}, monitoring: {prometheus: {}}}"
    assert load_text(text).warnings == ()


def test_a_default_route_that_is_off_is_told_loudly(load_text) -> None:
    text = """\
llm:
  default_provider: openai
  providers: {openai: {}, mine: {kind: openai_compatible, base_url: "http://h", models: [m]}}
"""
    (loud,) = [warning for warning in load_text(text).warnings if warning.loud]
    assert "NO ROUTE IS LEFT" in loud.message


EVERY_SETTING = """\
llm:
  default_provider: vllm
  default_model: m
  fallback_providers: [groq]
  fallback_models: {groq: g}
  never_fall_back: [safety]
  aliases: {fast: groq/g}
  timeout_seconds: 60
  queue_timeout_s: 600
  max_timeout_s: 3600
  max_retries: 3
  default_max_tokens: 4096
  cacheable_temperature: 0.3
  schema_repairs: 2
  cache: {enabled: true, backend: memory, ttl_seconds: 1, max_ttl_s: 2, max_size_mb: 3,
          redis_timeout_s: 0.1, scope: node}
  providers:
    vllm:
      models: [m]
      limits: auto
      share: 1/16
      context_tokens: 8192
      endpoints: [{base_url: "http://a:1/v1", api_key: k-12345678}]
      capabilities: {"m*": {schema: false, temperature: true, context_tokens: 4096}}
    groq: {models: [g], api_key: k-87654321, limits: {requests_per_day: 5, burst_s: 1}}
  rate_limits: {vllm: {calls_in_flight: 8, models: {m: {tokens_per_minute: 5}}}, groq: auto}
  budget:
    daily_limit_usd: 1
    monthly_limit_usd: 20.5
    timezone: UTC
    unknown_price: allow
    share: 0.5
    rules: [{per: uid, match: 1000, period: month, limit_usd: 0.000000001}]
  prices: {groq/g: {input_usd: 0.59, output_usd: 0.79, cache_read_usd: 0}}
  ledger: {on_disconnect: cancel, drain_s: 5, rows_days: 0}
  retry: {budget_pct: 10, budget_floor_per_minute: 10, retry_after_sent: false}
  hedging: {enabled: true}
  fairness:
    weights: {"1000": 2, alice: 0.5}
    lanes: {interactive: {users: [safety], reserved_pct: 10}}
    per_uid: {share: 1/4}
    per_job: {calls_in_flight: 64}
  monitoring:
    prometheus: {enabled: true, listen: "127.0.0.1:9464", textfile: /var/lib/n/sutler.prom}
    tracing: {enabled: true, endpoint: "http://127.0.0.1:4318", sample_pct: 5}
daemon: {socket: /run/s/s.sock, socket_mode: "0660", socket_group: hpc, state_dir: /var/lib/s,
         cache_dir: /var/cache/s, drain_s: 30, log_level: debug, log_format: json}
access: {users: [alice, 1001], groups: [hpc], operators: {users: [root], groups: [wheel]}}
limits: {line_bytes: 1000, nesting: 10, connections_per_uid: 5}
embedded: {enabled: true, threads: 1, slots: 2, context_tokens: 2048}
prompts: {folders: [/etc/sutler/prompts]}
http: {enabled: true, listen: "127.0.0.1:8788"}
"""


def test_every_group_is_understood_and_what_is_not_in_force_says_so(load_text) -> None:
    loaded = load_text(EVERY_SETTING)
    llm = loaded.config.llm
    assert llm.rate_limits["groq"].auto
    assert llm.providers["vllm"].limits is not None
    assert llm.providers["vllm"].limits.auto
    assert llm.budget.enabled
    told = {warning.path for warning in loaded.warnings if "not in force" in warning.message}
    pending = {path for path, standing in IN_FORCE.items() if not standing.in_force}
    for path in ("llm.budget", "llm.rate_limits", "prompts", "http", "llm.fairness"):
        assert (path in told) == (path in pending)
    assert ("llm.providers.vllm.endpoints" in told) == ("llm.providers.*.endpoints" in pending)
