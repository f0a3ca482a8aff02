from __future__ import annotations

from typing import Any

import pytest

from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.call import Route
from sutlerd.pipeline.boundaries import Boundaries


def boundaries(kind: str, limits: Any = None) -> Boundaries:
    llm = {
        "default_provider": "p",
        "providers": {
            "p": {
                "kind": kind,
                "base_url": "http://127.0.0.1:1/v1",
                "api_key": "not-a-real-key-1234",
                "default_model": "m",
                "models": ["m"],
            }
        },
        "rate_limits": {} if limits is None else {"p": limits},
    }
    return Boundaries(LlmConfig.model_validate(llm), now_s=0.0)


@pytest.mark.parametrize(
    ("kind", "heard"),
    [
        ("openai", True),
        ("anthropic", True),
        ("mistral", True),
        ("openai_compatible", False),
        ("anthropic_compatible", False),
        ("vllm", False),
        ("ollama", False),
    ],
)
def test_without_settings_the_headers_of_known_services_are_heard_model_by_model(
    kind: str, heard: bool
) -> None:
    made = boundaries(kind)
    name = made.of(Route(provider="p", model="m"))
    learner = made.learner(name, 0.0)
    assert name == ("p/m" if heard else "p")
    assert learner.listens is learner.counts_tokens is heard
    assert learner.quota.is_open, "nothing is limited before the first reply"


def test_numbers_begin_untried_and_auto_begins_with_few_calls() -> None:
    written = boundaries("openai", {"requests_per_minute": 600, "requests_per_day": 10_000})
    quota = written.quota(written.of(Route(provider="p", model="m")), 0.0)
    assert set(quota.untried) == {"requests"}
    auto = boundaries("openai", "auto")
    quota = auto.quota(auto.of(Route(provider="p", model="m")), 0.0)
    assert quota.window is not None
    assert not quota.untried
