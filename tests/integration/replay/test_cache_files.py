"""Stored answers in a file: taken along from one daemon, found in another, or by another user."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sutler import Client
from tests.contract.answers import Answer, openai_chat, openai_embeddings
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import configured, temporary_folder
from tests.support.daemon_process import DaemonProcess
from tests.support.other_user import OTHER_UID, as_user, needs_root

folder = pytest.fixture(temporary_folder, name="folder")

SKY = {"type": "object", "properties": {"sky": {"type": "string"}}}


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """Never says the same thing twice."""
    said = iter(range(10_000))

    def answer(request: Received) -> Answer:
        if request.path.endswith("/embeddings"):
            vectors = [[float(next(said)), 0.5] for _ in request.json["input"]]
            return openai_embeddings(vectors, model="test-embed", tokens_in=1)
        return openai_chat(f'{{"sky": "grün {next(said)}"}}')

    with ScriptedProvider.in_thread(always=answer) as scripted:
        yield scripted


def daemon(
    folder: Path, provider: ScriptedProvider, name: str, llm: str = "", **how: Any
) -> DaemonProcess:
    return DaemonProcess(folder / name, config=configured(provider, llm), **how)


def program(daemon: DaemonProcess) -> list[Any]:
    """Ask in every way of which answers are stored."""
    run = daemon.result("prompts.run", name="memory_summary", variables={"texts": "x"}, schema=SKY)
    return [
        daemon.result("chat", prompt="hi")["content"],
        daemon.result("complete", prompt="hot", temperature=1.0, sample=3)["content"],
        daemon.result("complete", prompt="hi", stream=True)["content"],
        daemon.result("json", prompt="weather", schema=SKY)["parsed"],
        run["parsed"],
        run["prompt"],
        daemon.result("embed", texts=["a", "b"], encoding_format="base64")["embeddings"],
    ]


def sutler(daemon: DaemonProcess, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sutler", *map(str, words)],
        env={**os.environ, "SUTLER_SOCKET": str(daemon.socket)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_answers_travel_from_daemon_to_daemon_and_are_hits_there(
    provider: ScriptedProvider, folder: Path
) -> None:
    file = folder / "answers"
    with daemon(folder, provider, "a") as first:
        answers = program(first)
        manifest = told(sutler(first, "cache", "export", file, "--json"))
        again = folder / "again"
        told(sutler(first, "cache", "export", again, "--json"))
        assert again.read_bytes() == file.read_bytes(), "the same answers make the same file"
    assert manifest["entries"] == 6
    assert manifest["models"] == {"scripted/test-model": 4, "test-embed": 2}
    assert list(manifest["prompts"]) == [f"memory_summary@{answers[5]['version']}"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"uid" not in gzip.decompress(file.read_bytes())

    asked = len(provider.requests)
    keyless = configured(provider).replace("not-a-real-key-1234", "${A_KEY_THAT_NOBODY_HAS}")
    with DaemonProcess(folder / "b", config=keyless) as second:
        stored = {"stored": 6, "present": 0, "expired": 0, "dropped": 0}
        assert told(sutler(second, "cache", "import", file, "--json")) == stored
        assert json.dumps(program(second)) == json.dumps(answers)
        assert len(provider.requests) == asked, "a provider was asked"
        hit = second.result("chat", prompt="hi")
        assert hit["cached"] is True
        assert hit["provider"] == "scripted"
        assert hit["cost_nanousd"] == 0
        present = {"stored": 0, "present": 6, "expired": 0, "dropped": 0}
        assert told(sutler(second, "cache", "import", file, "--json")) == present
        third = folder / "third"
        told(sutler(second, "cache", "export", third, "--json"))
        diff = sutler(second, "cache", "diff", file, third)
        assert (diff.returncode, diff.stderr) == (0, "")
    with daemon(folder, provider, "b") as restarted:
        assert json.dumps(program(restarted)) == json.dumps(answers)
    assert len(provider.requests) == asked


@needs_root
def test_what_one_user_exported_another_imports_and_is_answered_by(
    provider: ScriptedProvider, folder: Path
) -> None:
    file = folder / "answers"
    with daemon(folder, provider, "a") as first:
        answers = program(first)
        told(sutler(first, "cache", "export", file, "--json"))
    asked = len(provider.requests)
    file.chmod(0o644)
    folder.chmod(0o755)
    with daemon(folder, provider, "b") as second:
        second.socket.parent.chmod(0o755)
        second.socket.chmod(0o666)

        def use() -> tuple[dict[str, int], str, dict[str, Any]]:
            from sutler.cache_moves import load

            with Client(str(second.socket)) as client:
                stored = load(client, str(file))
                return stored, client.chat("hi"), client.call("cache.stats", {})

        stored, said, stats = as_user(OTHER_UID, use)
        assert stored["stored"] == stats["entries"] == 6
        assert said == answers[0]
        assert len(provider.requests) == asked
        assert second.result("cache.stats")["entries"] == 0, "they answer nobody else"
        assert second.result("cache.export")["entries"] == []
        theirs = second.result("cache.export", scope=f"uid:{OTHER_UID}")
        assert len(theirs["entries"]) == 6
