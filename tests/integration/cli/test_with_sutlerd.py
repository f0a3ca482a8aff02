"""The command against the real daemon, whose provider is scripted."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.answers import Answer, Hang, openai_chat, openai_stream
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.cli.command import AtTerminal, started, sutler
from tests.support.daemon_process import DaemonProcess

CONFIG = """
llm:
  default_provider: up
  providers:
    up:
      kind: openai_compatible
      base_url: {base_url}
      api_key: none
      default_model: test-model
      models: [test-model]
      transport: lean
"""


def answered(request: Received) -> Answer:
    asked = request.json
    text = asked["messages"][-1]["content"].upper()
    if asked.get("stream"):
        return openai_stream([word + " " for word in text.split()])
    return openai_chat(text)


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider.in_thread(always=answered) as scripted:
        yield scripted


@pytest.fixture
def sutlerd(provider: ScriptedProvider, tmp_path: Path) -> Iterator[DaemonProcess]:
    config = CONFIG.format(base_url=provider.base_url)
    daemon = DaemonProcess(tmp_path / "d", config=config)
    with pytest.MonkeyPatch.context() as patch, daemon:
        patch.setenv("SUTLER_SOCKET", str(daemon.socket))
        yield daemon


def test_chat_asks_once_and_is_served_from_the_cache_then(
    sutlerd: DaemonProcess, provider: ScriptedProvider
) -> None:
    assert sutler("chat", "good morning").stdout == b"GOOD MORNING\n"
    done = sutler("chat", "-v", "good morning")
    assert done.stdout == b"GOOD MORNING\n"
    assert done.stderr.endswith(b" cached\n")
    assert len(provider.requests) == 1
    reply = json.loads(sutler("chat", "--json", "--cache", "off", "good morning").stdout)
    assert (reply["content"], reply["cached"]) == ("GOOD MORNING", False)


def test_a_terminal_streams(sutlerd: DaemonProcess) -> None:
    command = AtTerminal("chat", "one two")
    assert command.end() == 0
    assert command.screen == b"ONE TWO \r\n"


def test_an_interrupted_stream_is_cancelled_at_the_provider(
    sutlerd: DaemonProcess, provider: ScriptedProvider
) -> None:
    provider.always = openai_stream(["HALF", "NEVER"], between=[Hang()])
    command = AtTerminal("chat", "hi")
    command.read_until(b"HALF")
    command.type(b"\x03")
    assert command.end() == 130
    provider.wait_until(lambda: provider.open_connections == 0)


def test_every_problem_of_a_call_is_said(sutlerd: DaemonProcess) -> None:
    done = sutler("complete", stdin=b'{"prompt": "hi", "temperatur": 1, "top_p": 7}')
    assert done.returncode == 1
    assert done.stderr.startswith(b"sutler: ")
    assert done.stderr.count(b"\n") == 1
    assert b"temperature" in done.stderr
    assert b"top_p" in done.stderr


def test_map_outlives_a_restart_of_the_daemon(
    sutlerd: DaemonProcess, provider: ScriptedProvider, tmp_path: Path
) -> None:
    held = "row 20"
    provider.always = lambda request: (
        Answer((Hang(),)) if request.json["messages"][-1]["content"] == held else answered(request)
    )
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(json.dumps(f"row {at}") + "\n" for at in range(60)))
    process = started("map", str(source), str(target), "--in-flight", "8")
    provider.wait_until(lambda: sum(held in str(one.json) for one in provider.requests) == 1)
    sutlerd.kill()
    provider.always = answered
    sutlerd.start()
    _, err = process.communicate(timeout=40)
    rows: list[dict[str, Any]] = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(60)), err
    answers = {row["index"]: row["result"]["content"] for row in rows if "result" in row}
    assert answers == {at: f"ROW {at}" for at in answers}
    # What was under way in the kill may have been paid for: that is not asked twice unseen.
    unknown = [row["error"]["type"] for row in rows if "error" in row]
    assert unknown == ["outcome_unknown"] * len(unknown)
    assert len(unknown) <= 8
    assert process.returncode == (1 if unknown else 0)


def test_an_interrupted_map_goes_on_later(
    sutlerd: DaemonProcess, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.always = lambda request: (
        Answer((Hang(),)) if "row 5" in str(request.json) else answered(request)
    )
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(json.dumps(f"row {at}") + "\n" for at in range(10)))
    process = started("map", str(source), str(target))
    provider.wait_until(lambda: len(provider.requests) == 10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert target.read_text().count("\n") <= 5
    provider.always = answered
    assert sutler("map", str(source), str(target)).returncode == 0
    assert target.read_text().count("\n") == 10


def test_raw_gets_every_answer_after_the_end_of_its_input(
    sutlerd: DaemonProcess, provider: ScriptedProvider
) -> None:
    requests = [
        {"id": at, "method": "chat", "params": {"prompt": f"n{at}", "stream": at == 0}}
        for at in range(50)
    ]
    done = sutler("raw", stdin="\n".join(map(json.dumps, requests)).encode())
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    whole = {reply["id"]: reply["result"]["content"] for reply in replies if "id" in reply}
    assert {at: whole[at].strip() for at in range(50)} == {at: f"N{at}" for at in range(50)}


def test_the_daemon_describes_itself(sutlerd: DaemonProcess) -> None:
    sutler("chat", "hi")
    assert sutler("ping").stdout.startswith(b"sutlerd ")
    status = sutler("status").stdout.decode()
    assert "\nproviders\n" in status
    assert "\ncache\n" in status
    models = sutler("models").stdout.decode().splitlines()
    assert models[0].startswith("id ")
    assert models[1].startswith("test-model  up ")
    assert b"entries" in sutler("cache", "stats").stdout
    assert json.loads(sutler("cache", "clear", "--json").stdout)["cleared"] == 1
