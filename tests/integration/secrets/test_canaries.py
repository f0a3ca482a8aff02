"""Secrets planted wherever a provider or a configuration could echo them: none comes out again.

Looked through is everything that leaves: replies and errors over both doors, the log at its most
talkative, ``status``, the page's events, metrics, traces, alerts, what the commands print.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract import answers
from tests.contract.answers import Answer
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.http.rig import UnixConnection, http_socket, over_unix
from tests.support.collector import Collector, collecting
from tests.support.daemon_process import DaemonProcess

KEY = "sk-Canary/Key+9f8e7d6c5b4a39281706"
HEADER = "HeaderCanary-55aa66bb77cc88dd"
POOL = "PoolCanary-1020304050607080"
HOOK = "T0CANARY/B0CANARY/hook4canary5secret6token"
REDIS = "RedisCanary-0a1b2c3d4e5f"
PROXY = "ProxyCanary-99887766554433"
OTLP = "OtlpCanary-13579bdf02468ace"
EXTRA = "ExtraCanary-fedcba9876543210"
PROXIES = {"http_proxy": f"http://user:{PROXY}@127.0.0.1:1", "no_proxy": "127.0.0.1"}
CANARIES = (KEY, HEADER, POOL, HOOK, REDIS, PROXY, OTLP, EXTRA)
#: In one text, as the words of others might have them: whole, coded, cut, starred out.
ECHO = " ; ".join(
    form
    for secret in CANARIES
    for form in (
        secret,
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(b":" + secret.encode()).decode(),
        json.dumps(secret)[1:-1],
        secret[:14],
        secret[-14:],
        f"{secret[:6]}***{secret[-4:]}",
    )
)


def tell_tales() -> dict[str, bytes]:
    """Give every run of ten characters of any secret, plain or coded, as bytes to look for."""
    found = {}
    for secret in CANARIES:
        for form in (secret, base64.b64encode(secret.encode()).decode(), quote(secret, safe="")):
            for start in range(len(form) - 9):
                found[form[start : start + 10]] = secret
    return {run: secret.encode() for run, secret in found.items()}


def assert_clean(where: str, text: str, runs: dict[str, bytes]) -> None:
    for start in range(len(text) - 9):
        run = text[start : start + 10]
        assert run not in runs, f"{where} holds {run!r}: …{text[max(0, start - 80) : start + 80]}…"


def bodies() -> dict[str, Answer]:
    """Give what the provider answers, by a word of the prompt that asks for it."""
    error = {"error": {"message": ECHO, "type": ECHO, "code": ECHO, "param": ECHO}}
    headers = {"retry-after": ECHO[:60], "x-request-id": KEY, "x-ratelimit-limit-requests": KEY}
    chunk = {"id": KEY, "choices": [], "error": {"message": ECHO, "code": ECHO}}
    return {
        "refuse-400": answers.http_answer(error, status=400),
        "refuse-401": answers.http_answer(error, status=401, headers=headers),
        "refuse-403": answers.http_answer(ECHO, status=403),
        "refuse-404": answers.http_answer(error, status=404),
        "refuse-413": answers.http_answer({"error": ECHO}, status=413),
        "refuse-422": answers.http_answer({"detail": [{"msg": ECHO, "loc": [ECHO]}]}, status=422),
        "refuse-500": answers.http_answer(error, status=500, headers=headers),
        "redirect": answers.http_answer(
            b"", status=307, headers={"location": f"http://127.0.0.1:1/{KEY}?k={quote(KEY)}"}
        ),
        "not-json": answers.http_answer(ECHO.encode(), content_type=f"text/html; x={KEY}"),
        "no-choices": answers.http_answer({"object": ECHO, "choices": ECHO}),
        "odd-model": answers.openai_chat("fine", model=f"m-{KEY}", headers={"x-echo": KEY}),
        "odd-finish": answers.openai_chat("fine", finish_reason=f"because-{KEY}"),
        "stream-error": Answer(
            (
                answers.Send(answers.head(200, {"content-type": "text/event-stream"})),
                answers.Send(answers.sse(chunk)),
                answers.Close(),
            )
        ),
        "raw-bytes": Answer((answers.Send(f"HTTP/1.1 {ECHO}\r\n\r\n".encode()), answers.Close())),
    }


def config(provider: ScriptedProvider, pooled: ScriptedProvider, collector: Collector) -> str:
    scripted = {
        "kind": "openai_compatible",
        "base_url": provider.base_url,
        "api_key": KEY,
        "default_model": "test-model",
        "models": ["test-model"],
        "headers": {"x-team": HEADER},
        "endpoints": [{"base_url": pooled.base_url, "api_key": POOL}],
    }
    return json.dumps(
        {
            "llm": {
                "default_provider": "plain",
                # One for each answer: what closes a provider must not keep the others from it.
                "providers": dict.fromkeys(("plain", *bodies()), scripted),
                "prices": {"test-model": {"input_usd": 10, "output_usd": 10}},
                "max_retries": 0,
                "circuit": {"least_calls": 100_000},
                "budget": {
                    "daily_limit_usd": 100,
                    "alert_threshold_pct": 0.0001,
                    "unknown_price": "allow",
                    "alert_webhook": f"http://127.0.0.1:1/services/{HOOK}",
                },
                "cache": {"backend": "redis", "redis_url": f"redis://u:{REDIS}@127.0.0.1:1/0"},
                "monitoring": {
                    "tracing": {
                        "enabled": True,
                        "endpoint": collector.endpoint,
                        "headers": {"authorization": f"Bearer {OTLP}"},
                        "capture_content": True,
                    }
                },
            },
            "daemon": {"log_level": "debug", "log_format": "json", "redact": [EXTRA]},
        }
    )


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[tuple[DaemonProcess, Collector, list[ScriptedProvider]]]:
    by_word = bodies()

    def answer(request: Received) -> Answer:
        text = request.body.decode()
        return next((a for word, a in by_word.items() if word in text), answers.openai_chat())

    with (
        ScriptedProvider.in_thread(always=answer) as provider,
        ScriptedProvider.in_thread(always=answer) as pooled,
        collecting() as collector,
        DaemonProcess(
            folder / "d", config=config(provider, pooled, collector), environ=PROXIES
        ) as daemon,
    ):
        yield daemon, collector, [provider, pooled]


def path_of(daemon: DaemonProcess) -> Path:
    return daemon.folder / "sutler.yaml"


def everything_asked(daemon: DaemonProcess) -> dict[str, str]:
    """Ask for every bad answer in every way; give all that was told, by where."""
    told: dict[str, str] = {}
    for word in bodies():
        for stream in (False, True):
            asked = {"prompt": word, "provider": word, "stream": stream, "cache": "off"}
            told[f"{word} {stream}"] = json.dumps(daemon.ask("complete", **asked))
        messages = [{"role": "user", "content": word}]
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
            body: dict[str, Any] = {"model": f"{word}/test-model", "max_tokens": 9}
            body["input" if "responses" in path else "messages"] = messages
            for stream in (False, True):
                reply = over_unix(daemon, "POST", path, {**body, "stream": stream})
                told[f"{word} {path} {stream}"] = f"{reply.headers} {reply.body.decode()}"
    told["embed"] = json.dumps(daemon.ask("embed", texts=["refuse-400"], model="test-model"))
    told["check"] = json.dumps(daemon.ask("providers.check"))
    return told


def everything_shown(daemon: DaemonProcess) -> dict[str, str]:
    shown = {
        method: json.dumps(daemon.ask(method))
        for method in ("status", "models", "queue", "budget", "usage", "cache.stats", "hello")
    }
    token = daemon.result("token.create")["token"]
    bearer = {"Authorization": f"Bearer {token}", "Traceparent": token}
    for path in ("/", "/metrics", "/v1/models", "/healthz", "/readyz", "/nowhere"):
        reply = over_unix(daemon, "GET", f"{path}?token={token}", headers=bearer)
        shown[path] = f"{reply.headers} {reply.body.decode()}"
    with contextlib.closing(UnixConnection(http_socket(daemon))) as page:
        page.request("GET", "/events")
        events = page.getresponse()
        # The history and one state: a whole one ends with an empty line.
        parts = []
        while sum(part == b"\n" for part in parts) < 2:
            parts.append(events.readline())
        shown["events"] = b"".join(parts).decode()
    for words in (
        ("sutler", "status"),
        ("sutler", "status", "--json"),
        ("sutler", "budget"),
        ("sutler", "usage"),
        ("sutler", "providers", "check"),
        ("sutler", "top", "--plain", "--once"),
        ("sutlerd", "config", "show", "--config", str(path_of(daemon))),
        ("sutlerd", "check", "--config", str(path_of(daemon))),
        ("sutlerd", "alerts"),
        ("sutlerd", "grafana"),
    ):
        environ = {**os.environ, "SUTLER_SOCKET": str(daemon.socket), **PROXIES}
        command = [sys.executable, "-m", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=environ
        )
        shown[" ".join(words[:3])] = f"{done.stdout}{done.stderr}"
        assert done.stdout, (words, done.stderr)
    return shown | {"token": token}


@pytest.mark.fault("X4")
def test_no_planted_secret_leaves_by_any_way(folder: Path) -> None:
    runs = tell_tales()
    with planted(folder) as (daemon, collector, providers):
        told = everything_asked(daemon)
        requests = [request for provider in providers for request in provider.requests]
        assert any(request.headers["authorization"].endswith(KEY) for request in requests)
        for word in bodies():
            assert any(word in request.body.decode() for request in requests), word
        shown = everything_shown(daemon)
        token = shown.pop("token")
        collector.wait_until(lambda: len(collector.spans) > 50)
        shown["reload"] = json.dumps(daemon.ask("reload"))
        until_s = time.monotonic() + 30
        while "webhook" not in daemon.log():
            assert time.monotonic() < until_s, "an alert, and where it went wrong"
            time.sleep(0.05)
        daemon.stop()
        shown["log"] = daemon.log()
    shown["traces"] = b"".join(collector.bodies).decode("latin-1")
    assert "provider_error" in told["refuse-400 False"]
    assert collector.headers[0]["authorization"] == f"Bearer {OTLP}"
    for where, text in {**told, **shown}.items():
        assert_clean(where, text, runs)
        assert token[:12] not in text and token[-12:] not in text, where


#: Each has secrets where something else is wanted, or beside it; two files, for what is found
#: last is looked for only where all the rest is right.
WRONG = (
    {
        "llm": {
            "providers": {
                "a": {"kind": "openai", "api_key": [KEY]},
                "b": {"kind": "openai", "api_key": KEY, "base_url": "x"},
                "c": {"kind": "vllm", "base_url": f"http://user:{PROXY}@h:99999/v1"},
                "d": {"kind": "vllm", "headers": {"x-team": [HEADER]}},
            },
            "budget": {"alert_webhook": {"url": f"http://h/{HOOK}"}},
            "cache": {"redis_url": [f"redis://u:{REDIS}@h/0"]},
            "monitoring": {"tracing": {"headers": {"bad name": OTLP}}},
        },
        "daemon": {"redact": {"a": EXTRA}},
    },
    {
        "llm": {
            "providers": {"a": {"kind": "openai", "api_key": KEY, "api_kez": POOL}},
            "budget": {"alert_webhook": f"nonsense://h/{HOOK}"},
            "cache": {"backend": "redis", "redis_url": f"ftp://u:{REDIS}@h/0"},
            "monitoring": {
                "tracing": {"enabled": True, "endpoint": f"http://u:{OTLP}@h:99999", "enbled": 1}
            },
        },
    },
)


@pytest.mark.fault("X4")
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_wrong_with_a_configuration_is_said_without_its_secrets(
    folder: Path, number: int
) -> None:
    runs = tell_tales()
    path = folder / "wrong.yaml"
    path.write_text(json.dumps(WRONG[number]))
    path.chmod(0o600)
    for command in (["check", "--config"], ["config", "show", "--config"], ["--config"]):
        ended = subprocess.run(
            [sys.executable, "-m", "sutlerd", *command, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = ended.stdout + ended.stderr
        assert ended.returncode != 0, told
        named = ("api_key", "alert_webhook", "redis_url", "redact") if not number else ("api_kez",)
        assert all(name in told for name in named), told
        assert_clean(" ".join(command), told, runs)
