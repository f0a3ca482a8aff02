"""The shapes of configuration that existing deployments have load as they are."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from sutlerd.config.loader import Loaded
from sutlerd.config.schema_llm import LlmConfig

DATA = Path(__file__).resolve().parents[2] / "data"
FULL = (DATA / "llm_config.yaml").read_text()
PRODUCTION = (DATA / "production_config.yaml").read_text()
KEYS = {"ANTHROPIC_API_KEY": "sk-ant-canary-0123456789", "OPENAI_API_KEY": "sk-canary-0123456789"}
WEBHOOK = {"SLACK_WEBHOOK": "https://hooks.example.org/services/T0/B0/canarycanary"}


def _warnings(loaded: Loaded) -> dict[str, str]:
    return {warning.path: warning.message for warning in loaded.warnings}


def test_the_full_example_loads_with_its_variables_set(load_text) -> None:
    llm: LlmConfig = load_text(FULL, KEYS).config.llm
    assert llm.default_provider == "anthropic"
    assert llm.default_model is None
    assert llm.default_route == ("anthropic", "claude-sonnet-4-20250514")
    assert llm.fallback_providers == ("openai", "ollama")
    assert (llm.timeout_seconds, llm.max_retries) == (60.0, 3)
    assert (llm.cache.backend, llm.cache.ttl_seconds) == ("redis", 3600.0)
    assert llm.cache.max_size_bytes == 100 * 1024 * 1024
    assert list(llm.providers) == ["anthropic", "openai", "ollama"]
    assert llm.providers["openai"].models == ("gpt-4o", "gpt-4o-mini", "o1-preview", "o1-mini")
    assert llm.rate_limits["openai"].requests_per_minute == 500
    assert llm.rate_limits["anthropic"].tokens_per_minute == 100_000
    assert llm.budget.daily_limit_usd == Decimal("100.0")
    assert isinstance(llm.budget.daily_limit_usd, Decimal)
    assert llm.budget.alert_threshold_pct == 80.0
    assert llm.monitoring.prometheus.enabled
    assert llm.monitoring.tracing.enabled


def test_presets_fill_what_the_example_leaves_out(load_text) -> None:
    providers = load_text(FULL, KEYS).config.llm.providers
    assert providers["anthropic"].base_url == "https://api.anthropic.com"
    assert providers["openai"].base_url == "https://api.openai.com/v1"
    assert providers["openai"].timeout_seconds == 60.0
    assert providers["ollama"].base_url == "http://localhost:11434"
    assert providers["ollama"].timeout_seconds == 300.0


@pytest.mark.fault("O15")
def test_the_full_example_loads_with_no_variable_set(load_text) -> None:
    loaded = load_text(FULL)
    said = _warnings(loaded)
    assert loaded.config.off("openai") == "$OPENAI_API_KEY is not set"
    assert said["llm.providers.openai"] == "is off: $OPENAI_API_KEY is not set"
    assert loaded.secrets == ()


def test_the_production_example_loads_with_its_variables_set(load_text) -> None:
    loaded = load_text(PRODUCTION, KEYS | WEBHOOK)
    llm = loaded.config.llm
    assert llm.providers["anthropic"].default_model
    assert llm.cache.redis_url is not None
    assert llm.cache.redis_url.reveal() == "redis://redis:6379/1"
    assert llm.budget.daily_limit_usd == Decimal("500.0")
    assert llm.budget.alert_webhook is not None
    assert llm.budget.alert_webhook.reveal() == WEBHOOK["SLACK_WEBHOOK"]
    assert KEYS["ANTHROPIC_API_KEY"] in loaded.secrets
    assert "canarycanary" in loaded.secrets


@pytest.mark.fault("O15")
def test_the_production_example_loads_with_no_variable_set(load_text) -> None:
    loaded = load_text(PRODUCTION)
    said = _warnings(loaded)
    assert loaded.config.llm.budget.alert_webhook is None
    assert said["llm.budget.alert_webhook"] == "$SLACK_WEBHOOK is not set: left out"
    assert "NO PROVIDER CAN BE USED" in said["llm.providers"]


def test_retired_models_of_the_example_are_told_with_their_successors(load_text) -> None:
    said = _warnings(load_text(FULL, KEYS))
    retired = said["llm.providers.anthropic.models[0]"]
    assert retired == (
        "model claude-sonnet-4-20250514 was shut down on 2026-06-15; use claude-sonnet-5-5"
    )
    assert "o1-mini was shut down on 2025-10-27" in said["llm.providers.openai.models[3]"]
    assert "gpt-4o will be shut down on 2027-01-14" in said["llm.providers.openai.models[0]"]


def test_redis_without_an_address_says_what_it_does_instead(load_text) -> None:
    assert "redis_url is not given" in _warnings(load_text(FULL))["llm.cache.backend"]
