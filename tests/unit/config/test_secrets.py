"""A secret shows itself to nobody who does not ask for it by ``reveal``."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from sutlerd.config.loader import load
from sutlerd.config.schema import Config
from sutlerd.config.secret import Secret
from sutlerd.config.show import show

CANARY = "sk-canary-0123456789abcdef"
TEXT = """\
llm:
  providers:
    openai: {api_key: "${KEY}"}
    mine:
      kind: openai_compatible
      base_url: http://127.0.0.1:1/v1
      default_model: m
      api_key: literal-canary-1
      headers: {X-Token: header-canary-2}
      endpoints: [{base_url: "http://127.0.0.1:2/v1", api_key: pool-canary-3}]
  cache: {backend: redis, redis_url: "redis://user:redis-canary-4@127.0.0.1:1/0"}
  budget: {daily_limit_usd: 1, alert_webhook: "https://h.example/services/T1/hook-canary-5"}
  monitoring: {tracing: {headers: {authorization: "Bearer trace-canary-6"}}}
daemon: {redact: [other-canary-7]}
"""


def test_no_way_of_printing_a_secret_shows_it() -> None:
    secret = Secret(CANARY, origin="$KEY")
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>9}"):
        assert "***" in shown
        assert CANARY[:8] not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert copy.deepcopy(secret) is secret
    assert secret.reveal() == CANARY


def test_secrets_are_equal_by_value_and_usable_as_keys() -> None:
    assert Secret("a") == Secret("a", origin="elsewhere")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_missing_secret_names_its_source_when_asked() -> None:
    missing = Secret.missing("$KEY")
    assert not missing.is_set
    with pytest.raises(ValueError, match=r"\$KEY is not set"):
        missing.reveal()


def test_no_secret_is_in_a_printed_or_shown_configuration(load_text) -> None:
    loaded = load_text(TEXT, {"KEY": CANARY})
    texts = (
        repr(loaded),
        str(loaded.config.model_dump()),
        json.dumps(show(loaded.config, loaded.origins)),
        "\n".join(map(str, loaded.warnings)),
    )
    for text in texts:
        assert "canary" not in text


def test_every_secret_is_listed_for_masking(load_text) -> None:
    config: Config = load_text(TEXT, {"KEY": CANARY}).config
    listed = set(config.secret_values())
    assert {
        CANARY,
        "literal-canary-1",
        "header-canary-2",
        "pool-canary-3",
        "redis-canary-4",
        "hook-canary-5",
        "services/T1/hook-canary-5",
        "Bearer trace-canary-6",
        "other-canary-7",
    } == listed


def test_passwords_of_the_environments_proxies_are_listed_too() -> None:
    environ = {"HTTPS_PROXY": "http://user:p%40ss-canary@proxy:3128", "http_proxy": "http://["}
    assert load(None, environ).secrets == ("p%40ss-canary", "p@ss-canary")


def test_shown_values_tell_where_they_came_from(load_text, config_file) -> None:
    loaded = load_text(TEXT, {"KEY": CANARY})
    tree = show(loaded.config, loaded.origins)
    provider = tree["llm"]["providers"]["openai"]
    assert provider["api_key"] == {"value": "***", "origin": "$KEY"}
    assert provider["base_url"] == {
        "value": "https://api.openai.com/v1",
        "origin": "preset openai",
    }
    assert provider["timeout_seconds"]["origin"] == "default"
    assert tree["llm"]["cache"]["backend"] == {"value": "redis", "origin": f"{config_file}:11"}
    assert tree["llm"]["budget"]["daily_limit_usd"]["value"] == "1"
    assert tree["daemon"]["drain_s"] == {"value": 30.0, "origin": "default"}
    assert tree["daemon"]["redact"]["value"] == ["***"]
