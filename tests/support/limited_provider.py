"""A provider on loopback that enforces limits as OpenAI's and Anthropic's do, as a process.

``python -m tests.support.limited_provider '{"per_minute": {...}, ...}'`` prints ``ready PORT``.
POST is a call, in OpenAI's or Anthropic's spelling by its path; GET gives what was counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.hidden_limits import HiddenLimits

ROOT = Path(__file__).parents[2]
_STEMS = {
    "requests": ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"),
    "tokens": ("x-ratelimit-{}-tokens", "anthropic-ratelimit-tokens-{}"),
    "tokens_in": ("", "anthropic-ratelimit-input-tokens-{}"),
    "tokens_out": ("", "anthropic-ratelimit-output-tokens-{}"),
}


class Provider:
    """``takes`` is the part of the requests that somebody else with the same key takes."""

    def __init__(
        self,
        per_minute: Mapping[str, float],
        *,
        burst_s: float = 60.0,
        counts_refused: bool = False,
        headers: bool = True,
        takes: float = 0.0,
        latency_s: float = 0.05,
    ) -> None:
        self.limits = HiddenLimits(
            per_minute, burst_s=burst_s, counts_refused=counts_refused, now_s=time.monotonic()
        )
        self._headers = headers
        self._takes = takes
        self._latency_s = latency_s
        self._first_s = self._last_s = 0.0
        self._charged: dict[str, float] = {}

    def counted(self) -> dict[str, Any]:
        return {
            "accepted": self.limits.accepted,
            "refused": self.limits.refused,
            "took_s": self._last_s - self._first_s,
            "charged": self._charged,
        }

    async def take(self) -> None:
        """Be the other party: calls at a steady pace, whatever they are answered."""
        every_s = 60.0 / self.limits.per_minute["requests"] / self._takes
        started_s, taken = time.monotonic(), 0
        while True:
            await asyncio.sleep(every_s)
            while taken * every_s < time.monotonic() - started_s:
                taken += 1
                refused, accepted = self.limits.refused, self.limits.accepted
                self.limits.arrive({"requests": 1.0}, time.monotonic())
                self.limits.refused, self.limits.accepted = refused, accepted

    async def answer(self, path: str, body: bytes) -> bytes:
        asked, now_s = json.loads(body), time.monotonic()
        self._first_s = self._first_s or now_s
        anthropic = path.endswith("/messages")
        tokens_in = len(body) // 4
        most = asked.get("max_tokens") or asked.get("max_completion_tokens") or 0
        tokens_out = min(most, 40)
        charged = {"requests": 1.0, "tokens_in": float(tokens_in), "tokens": tokens_in + most}
        wait_s = self.limits.arrive(charged, now_s)
        if wait_s is not None:
            error = {"type": "rate_limit_error", "message": "too many", "code": "rate_limit"}
            headers = self._told(anthropic) | {"retry-after": f"{wait_s:.3f}"}
            return _http(429, {"type": "error", "error": error}, headers)
        for name, amount in {**charged, "tokens_out": float(tokens_out)}.items():
            self._charged[name] = self._charged.get(name, 0.0) + amount
        headers = self._told(anthropic)
        await asyncio.sleep(self._latency_s)
        self.limits.produced(float(tokens_out), time.monotonic())
        self._last_s = time.monotonic()
        return _http(200, (_message if anthropic else _chat)(tokens_in, tokens_out), headers)

    def _told(self, anthropic: bool) -> dict[str, str]:
        if not self._headers:
            return {}
        told = {}
        for name, view in self.limits.told(time.monotonic()).items():
            stem = _STEMS[name][anthropic]
            reset_s = view.reset_s or 0.0
            at = datetime.now(UTC) + timedelta(seconds=reset_s)
            told[stem.format("limit")] = f"{view.limit:.0f}"
            told[stem.format("remaining")] = f"{view.remaining:.0f}"
            told[stem.format("reset")] = at.isoformat() if anthropic else f"{reset_s:.3f}s"
        return told


def _chat(tokens_in: int, tokens_out: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "ok"}
    usage = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }


def _message(tokens_in: int, tokens_out: int) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "ok"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": tokens_in, "output_tokens": tokens_out},
    }


def _http(status: int, body: object, headers: Mapping[str, str]) -> bytes:
    data = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json"]
    lines += [f"content-length: {len(data)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


async def serve(settings: dict[str, Any]) -> None:
    provider = Provider(**settings)
    taking: asyncio.Task[None] | None = None

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taking
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                verb, path, _ = head.split(" ", 2)
                if verb == "GET":
                    writer.write(_http(200, provider.counted(), {}))
                    continue
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                body = await reader.readexactly(length)
                if settings.get("takes") and taking is None:
                    taking = asyncio.ensure_future(provider.take())
                writer.write(await provider.answer(path, body))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=4096)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def limited_provider(**settings: Any) -> Iterator[str]:
    """Run one; give its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.limited_provider", json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        ready, port = process.stdout.readline().split()
        assert ready == "ready"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def counted(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address, timeout=30) as reply:
        value: dict[str, Any] = json.load(reply)
    return value


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
