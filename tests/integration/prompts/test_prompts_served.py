"""Templates over the wire: listed, rendered and run by a real daemon, changed while it runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.scripted import ScriptedProvider
from tests.integration.prompts.conftest import until_it_says, write_site
from tests.support.daemon_process import DaemonProcess


def run(daemon: DaemonProcess, **params: Any) -> dict[str, Any]:
    return daemon.result("prompts.run", **{"name": "weather", **params})


def test_a_template_is_run_with_its_schema_and_its_defaults(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    reply = run(daemon, variables={"place": "Oslo"})
    sent = provider.requests[-1].json
    assert [message["role"] for message in sent["messages"]] == [
        *("system", "user", "assistant", "user")
    ]
    assert sent["messages"][1]["content"] == "Rome, celsius"
    assert sent["messages"][-1]["content"] == "The weather in Oslo?"
    assert (sent["max_tokens"], sent["temperature"]) == (77, 0)
    assert sent["response_format"]["type"] == "json_schema"
    assert json.loads(reply["content"]) == {"sky": "clear"}
    (shown,) = daemon.result("prompts.list", name="weather")["templates"]
    use = {"name": "weather", "version": "1.0", "hash": shown["hash"]}
    assert reply["prompt"] == use
    assert reply["trace"]["prompt"] == use
    assert "prompt=weather@1.0" in daemon.log()


def test_what_the_caller_says_goes_before_what_the_template_says(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    own = {"type": "object", "properties": {"mine": {"type": "string"}}}
    run(
        daemon,
        variables={"place": "Bonn"},
        max_completion_tokens=5,
        temperature=0.2,
        schema=own,
        labels={"prompt": "claimed"},
    )
    sent = provider.requests[-1].json
    assert (sent["max_tokens"], sent["temperature"]) == (5, 0.2)
    assert "mine" in json.dumps(sent["response_format"])


def test_the_same_question_again_is_a_hit_that_still_says_which_template(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    asked = [run(daemon, variables={"place": "Lima"}) for _ in range(3)]
    assert [reply["cached"] for reply in asked] == [False, True, True]
    assert len({json.dumps(reply["prompt"]) for reply in asked}) == 1
    before = len(provider.requests)
    rendered = daemon.result("prompts.render", name="weather", variables={"place": "Lima"})
    assert {name: rendered[name] for name in ("name", "version", "hash")} == asked[0]["prompt"]
    plain = daemon.result(
        "complete",
        messages=rendered["messages"],
        schema=rendered["schema"],
        max_tokens=77,
        temperature=0,
    )
    assert "prompt" not in plain
    assert len(provider.requests) == before + 1


def test_all_that_is_wrong_with_a_run_is_told_before_anything_is_sent(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    before = len(provider.requests)
    for params, words in (
        ({"name": "wether"}, "did you mean weather"),
        ({"name": "weather", "variables": {"plase": 1}}, "place: is missing"),
        ({"name": "weather", "variables": {"place": "x"}, "max_tokens": 0}, "must be ≥ 1"),
        ({"name": "weather", "messages": []}, "no such parameter"),
        ({"name": 7}, "params.name"),
        ({}, "params.name: Field required"),
    ):
        error = daemon.ask("prompts.run", **params)["error"]
        assert error["data"]["type"] == "invalid_params"
        assert words in error["message"]
    assert len(provider.requests) == before


@pytest.mark.fault("X18")
@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "weather.yaml", "site/weather"])
def test_a_prompt_is_found_by_its_name_and_never_by_a_path(
    daemon: DaemonProcess, name: str
) -> None:
    for method in ("prompts.render", "prompts.run", "prompts.list"):
        error = daemon.ask(method, name=name)["error"]
        assert error["data"]["type"] == "invalid_params"


def test_a_stream_of_a_template_ends_with_the_same_reply(daemon: DaemonProcess) -> None:
    whole = run(daemon, variables={"place": "Kyiv"})
    streamed = run(daemon, variables={"place": "Kyiv"}, stream=True)
    assert streamed["cached"]
    assert streamed["content"] == whole["content"]
    assert streamed["prompt"] == whole["prompt"]


@pytest.mark.fault("O3")
def test_prompts_change_without_a_restart_and_nothing_remembered_outlives_them(
    daemon: DaemonProcess, provider: ScriptedProvider, site: Path
) -> None:
    asked = {"variables": {"place": "Nice"}}
    assert [run(daemon, **asked)["cached"] for _ in range(2)] == [False, True]
    write_site(site, "1.1", "Be kind.")
    until_it_says(daemon, "Be kind.")
    reply = run(daemon, **asked)
    assert not reply["cached"]
    assert reply["prompt"]["version"] == "1.1"
    assert provider.requests[-1].json["messages"][0]["content"].endswith("Be kind.")

    (site / "weather.yaml").write_text("templates:\n  - name: weather\n    versoin: 2\n")
    wrong = "unknown key 'versoin'"
    until_s = time.monotonic() + 20
    while not any(wrong in said for said in daemon.result("status")["prompts"]["problems"]):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    assert f"{site}/weather.yaml:3: templates[0].versoin: {wrong}" in daemon.log()
    assert run(daemon, **asked)["prompt"]["version"] == "1.1", "the last good one goes on"
    reloaded = daemon.result("reload")
    assert reloaded["applied"]
    assert any(wrong in warning for warning in reloaded["warnings"])
    assert daemon.result("prompts.check")["problems"]

    write_site(site, "1.1", "Be cruel.")
    until_s = time.monotonic() + 20
    while "never changes" not in str(daemon.result("prompts.check")["problems"]):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    assert run(daemon, **asked)["cached"], "and what was published is what is served"


def test_the_shipped_library_is_there_with_no_configuration(daemon: DaemonProcess) -> None:
    names = [template["name"] for template in daemon.result("prompts.list")["templates"]]
    assert "task_decomposition" in names
    assert daemon.result("hello")["methods"].count("prompts.run") == 1
