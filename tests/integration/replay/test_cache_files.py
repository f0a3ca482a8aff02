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

from sutler import Client, SutlerError
from sutler.cache_file import Packed
from sutler.cli_exit import CommandFailed
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
        bad_files(folder, file, second)
    with daemon(folder, provider, "b") as restarted:
        assert json.dumps(program(restarted)) == json.dumps(answers)
    assert len(provider.requests) == asked


def bad_files(folder: Path, whole: Path, daemon: DaemonProcess) -> None:
    """What is not whole, or not for this daemon, stores nothing and leaves the daemon well."""
    daemon.result("cache.clear")
    head, *lines, manifest = gzip.decompress(whole.read_bytes()).splitlines(keepends=True)
    packed = whole.read_bytes()
    bomb = gzip.compress(head + b"x" * (9 << 20) + b"\n")
    for raw, why in [
        (packed[: len(packed) // 2], "cannot be unpacked"),
        (head + lines[0] + manifest, ":3: the manifest is not that of the lines before"),
        (b"".join([head, *lines]), "ends before its manifest"),
        (bomb, ":2: is longer than"),
        (head.replace(b'"sutler_cache":1', b'"sutler_cache":2') + manifest, "is of format 2"),
    ]:
        spoilt = folder / "spoilt"
        spoilt.write_bytes(raw)
        done = sutler(daemon, "cache", "import", spoilt)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert why in done.stderr
        assert "Traceback" not in done.stderr

    # Whole by its own account, but with what this daemon does not take.
    first = json.loads(lines[0])
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    for changed, why in [
        ({"head": {"key_version": 0}}, "keys of version 0"),
        ({"reply": {**first["reply"], "uid": 0}}, "uid"),
        ({"reply": {**first["reply"], "finish_reason": "error"}}, "finish_reason"),
        ({"reply": {**first["reply"], "parsed": deep}}, "nested deeper"),
        ({"expires_unix_s": -1}, "expires_unix_s"),
    ]:
        with Packed(str(spoilt)) as file:
            file.head({**json.loads(head), **changed.pop("head", {})})
            file.add({**first, **changed})
            file.end()
        done = sutler(daemon, "cache", "import", spoilt)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert why in done.stderr, done.stderr
        assert "lines 2 to 2" in done.stderr
    assert daemon.result("cache.stats")["entries"] == 0

    with Packed(str(spoilt)) as file:
        file.head(json.loads(head))
        file.add({**first, "reply": {**first["reply"], "content": "\x1b[2J otherwise"}})
        file.end()
    diff = sutler(daemon, "cache", "diff", whole, spoilt)
    assert (diff.returncode, diff.stderr) == (1, "")
    marks = [line[:2] for line in diff.stdout.splitlines()]
    assert marks[:2] == ["- ", "+ "]
    assert marks.count("- ") == len(lines)
    assert "otherwise" in diff.stdout
    assert "\x1b" not in diff.stdout
    told(sutler(daemon, "cache", "import", whole, "--json"))


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

        def reach_for_others() -> list[str]:
            from sutler.cache_moves import load

            told = []
            with Client(str(second.socket)) as client:
                for scope in (f"uid:{os.geteuid() - 1}", "uid:0", "gid:0", "node"):
                    try:
                        load(client, str(file), scope)
                    except CommandFailed as error:
                        told.append(f"{error.exit_code} {error}")
                    try:
                        client.call("cache.export", {"scope": scope})
                    except SutlerError as error:
                        told.append(error.type)
            return told

        told_them = as_user(OTHER_UID, reach_for_others)
        assert len(told_them) == 8
        assert all("operators" in said or said == "access_denied" for said in told_them)
        assert second.result("cache.stats")["entries"] == 0
