"""Templates from Python and from a shell, against a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutler import AsyncClient, Client, InvalidParams, SutlerError
from tests.contract.scripted import ScriptedProvider
from tests.integration.cli.command import sutler
from tests.support.daemon_process import DaemonProcess


@pytest.fixture(autouse=True)
def found(daemon: DaemonProcess) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUTLER_SOCKET", str(daemon.socket))
        yield


def test_a_client_runs_and_renders_a_template(provider: ScriptedProvider) -> None:
    with Client() as client:
        reply = client.prompt("weather", place="Oslo", unit=None, options={"max_tokens": 9})
        rendered = client.render("weather@1", {"place": ["Oslo"]})
        with pytest.raises(InvalidParams, match="place: is missing"):
            client.prompt("weather", {"plce": 1})
    assert json.loads(reply.content) == {"sky": "clear"}
    assert reply.prompt is not None
    assert reply.prompt["name"] == rendered.name == "weather"
    assert reply.prompt["hash"] == rendered.hash
    assert rendered.messages[-1]["content"] == 'The weather in ["Oslo"]?'
    assert rendered.schema is not None
    assert rendered.defaults["max_tokens"] == 77
    assert provider.requests[-1].json["max_tokens"] == 9


async def test_the_asyncio_client_does_the_same() -> None:
    async with AsyncClient() as client:
        reply = await client.prompt("weather", place="Oslo", options={"max_tokens": 9})
        rendered = await client.render("weather", place="Oslo")
    assert reply.prompt is not None
    assert reply.prompt["hash"] == rendered.hash


def test_a_variable_may_be_called_like_a_parameter_of_the_method() -> None:
    with Client() as client, pytest.raises(SutlerError) as raised:
        client.render("weather", {"options": 1}, name=2, variables_=3, self=4)
    assert all(name in str(raised.value) for name in ("options", "name", "variables_", "self"))


def test_the_command_lists_shows_and_renders() -> None:
    listed = sutler("prompts", "list")
    assert listed.returncode == 0, listed.stderr
    assert b"weather" in listed.stdout
    assert b"place, [unit]" in listed.stdout
    shown = sutler("prompts", "show", "weather@1").stdout.decode()
    assert shown.startswith("weather@1.0\nask for the weather\nhash: ")
    assert "[unit]  (else celsius)" in shown
    assert "-- system\nYou know the weather." in shown
    assert json.loads(sutler("prompts", "show", "weather", "--json").stdout)["user"]
    rendered = sutler("prompts", "render", "weather", 'place:={"lat": 1}', "unit=@-", stdin=b"K")
    assert rendered.stdout.decode().endswith('-- user\nThe weather in {"lat": 1}?\n')
    assert b"Rome, K" in rendered.stdout


def test_the_command_runs_a_template() -> None:
    done = sutler("prompts", "run", "weather", "place=Paris", "--temperature", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompt"]["version"] == "1.0"
    done = sutler("prompts", "run", "weather", "place=Paris", "-v")
    assert json.loads(done.stdout) == {"sky": "clear"}
    assert b"scripted/test-model" in done.stderr


@pytest.mark.fault("X14")
def test_the_command_checks_files_before_they_are_served(tmp_path: Path) -> None:
    assert sutler("prompts", "check").returncode == 0
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("templates:\n  - {name: a, version: 1, user: hello}\n")
    bad.write_text("templates:\n  - {name: weather, version: 1, user: hello, nmae: b}\n")
    assert sutler("prompts", "check", str(good)).stdout == b"1 templates, nothing wrong\n"
    done = sutler("prompts", "check", str(good), str(bad))
    assert done.returncode == 1
    assert f"{bad}:2: templates[0].nmae: unknown key" in done.stdout.decode()
    bad.write_text("templates:\n  - {name: weather, version: 1, user: hello}\n")
    hostile = "{type: object, properties: {a: {$ref: 'https://example.org/s.json'}}}"
    bad.write_text(
        f"templates:\n  - {{name: remote, version: 1, user: hello, schema: {hostile}}}\n"
    )
    done = sutler("prompts", "check", str(bad))
    assert done.returncode == 1
    assert b"remote@1: schema.properties.a.$ref" in done.stdout
    bad.write_text("templates:\n  - {name: weather, version: 1, user: hello}\n")
    assert b"a published version never changes" in sutler("prompts", "check", str(bad)).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show",), b"name a template"),
        (("list", "x"), b"takes no words"),
        (("render", "weather", "place"), b"is no variable"),
        (("render", "weather", "place:=x"), b"place is not JSON"),
        (("render", "weather", "place=1", "place=2"), b"given twice"),
        (("render", "weather", "place=@/nowhere"), b"No such file"),
        (("shw",), b"invalid choice"),
    ],
)
def test_a_wrong_command_line_sends_nothing(words: tuple[str, ...], said: bytes) -> None:
    done = sutler("prompts", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr


def test_what_the_daemon_refuses_is_one_line_and_a_failure() -> None:
    done = sutler("prompts", "run", "wether", "place=x")
    assert done.returncode == 1
    assert b"did you mean weather?" in done.stderr
    assert done.stderr.count(b"\n") == 1
