"""A daemon for the command's tests: the protocol on a real socket, answers by what is asked.

A prompt of ``hang`` is never answered, ``refuse`` is refused for good, ``busy`` the first
time only, ``die`` closes the connection; any other is answered with its words in capitals.
Asked again, it says ``cached``.
"""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any, Self

MODELS = [
    {"id": "small", "provider": "embedded", "default": True, "available": True, "price": None},
    {"id": "large", "provider": "groq", "default": False, "available": False, "price": None},
]
STATUS = {
    "version": "9.9",
    "instance": "abc",
    "uptime_s": 3725.0,
    "state": "serving",
    "queue": {"interactive": 0, "normal": 3},
    "callers": [{"uid": 1000, "in_flight": 2, "cost_nanousd": 1_500_000_000}],
    "cache": {"entries": 12, "size_bytes": 4096},
    "buckets": {},
}


class TinyDaemon:
    """Listens at ``path`` in a thread of its own while entered.

    ``asked`` has every request in the order of its coming; ``cancelled`` the prompts whose
    calls were cancelled, by a request or by a closed connection.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        #: no prompt hangs any more
        self.patient = False
        self.changed = threading.Condition()
        self._known: set[str] = set()
        self._busy: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, condition: Any, timeout_s: float = 30.0) -> None:
        """Wait until ``condition(self)`` holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout_s), self.asked

    def prompts(self) -> list[str]:
        """Give the prompts asked so far, in the order of their coming."""
        with self.changed:
            return [prompt_of(request) for request in self.asked if request["method"] == "complete"]

    async def _start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=2**24)

    async def _stop(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls: dict[Any, asyncio.Task[None]] = {}
        try:
            while line := await reader.readline():
                if not line.strip():
                    continue
                request = json.loads(line)
                with self.changed:
                    self.asked.append(request)
                    self.changed.notify_all()
                if request["method"] == "cancel":
                    target = calls.pop(request["params"]["id"], None)
                    if target is not None:
                        target.cancel()
                    self._reply(writer, request, {"cancelled": target is not None})
                    continue
                task = asyncio.create_task(self._answer(writer, request))
                calls[request.get("id")] = task
            # End of input only: whoever still wants answers is owed them.
            waiting = [task for task in calls.values() if not task.done()]
            hanging = [task for task in waiting if task.get_name() == "hang"]
            for task in hanging:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for task in calls.values():
                task.cancel()
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        method, params = request["method"], request.get("params") or {}
        if method in ("complete", "chat"):
            await self._complete(writer, request, params)
        elif method == "embed":
            self._reply(writer, request, _embedded(params))
        elif method == "count_tokens":
            tokens = len(str(params.get("text") or params.get("messages")).split())
            self._reply(writer, request, {"tokens": tokens, "exact": False, "method": "words"})
        elif method in _FIXED:
            self._reply(writer, request, _FIXED[method])
        else:
            self._fail(writer, request, -32601, "method_not_found", "no such method")

    async def _complete(
        self, writer: asyncio.StreamWriter, request: dict[str, Any], params: dict[str, Any]
    ) -> None:
        prompt = prompt_of(request)
        if prompt.startswith("stream and hang"):
            self._send(writer, {"method": "chunk", "params": chunk(request, "HALF")})
        if "hang" in prompt and not self.patient:
            await self._hang(prompt)
        if prompt == "die":
            writer.close()
        elif prompt == "refuse":
            self._fail(writer, request, -32003, "provider_error", "the provider:\nno")
        elif prompt.startswith("busy") and prompt not in self._busy:
            self._busy.add(prompt)
            self._fail(writer, request, -32004, "provider_unavailable", "too\nmany", 2.0)
        else:
            if params.get("stream"):
                for word in prompt.upper().split(" "):
                    self._send(writer, {"method": "chunk", "params": chunk(request, word + " ")})
            self._reply(writer, request, self._reply_to(prompt, params))
            await writer.drain()

    async def _hang(self, prompt: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("hang")
        try:
            await asyncio.Event().wait()
        finally:
            with self.changed:
                self.cancelled.append(prompt)
                self.changed.notify_all()

    def _reply_to(self, prompt: str, params: dict[str, Any]) -> dict[str, Any]:
        cached = prompt in self._known
        self._known.add(prompt)
        return {
            "content": prompt.upper(),
            "finish_reason": "length" if params.get("max_tokens") == 1 else "stop",
            "tool_calls": None,
            "parsed": {"city": "Tokyo"} if "schema" in params else None,
            "model": "small",
            "provider": "embedded",
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            "cost_nanousd": 0 if cached else 1000,
            "cached": cached,
            "coalesced": False,
            "latency_ms": 1.5,
            "request_id": params.get("request_id"),
        }

    def _send(self, writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def _reply(self, writer: asyncio.StreamWriter, request: dict[str, Any], result: Any) -> None:
        self._send(writer, {"id": request.get("id"), "result": result})

    def _fail(
        self,
        writer: asyncio.StreamWriter,
        request: dict[str, Any],
        code: int,
        kind: str,
        message: str,
        retry_after_s: float | None = None,
    ) -> None:
        retryable = retry_after_s is not None
        data = {"type": kind, "retryable": retryable, "retry_after_s": retry_after_s}
        error = {"code": code, "message": message, "data": data}
        self._send(writer, {"id": request.get("id"), "error": error})


_FIXED: dict[str, Any] = {
    "ping": {},
    "hello": {"version": "9.9", "protocol": 1, "instance": "abc", "methods": [], "limits": {}},
    "models": {"models": MODELS},
    "status": STATUS,
    "cache.stats": {"entries": 12, "hits": 3, "size_bytes": 4096},
    "cache.clear": {"removed": 12},
}


def prompt_of(request: dict[str, Any]) -> str:
    params = request["params"]
    return str(params["prompt"] if "prompt" in params else params["messages"][-1]["content"])


def chunk(request: dict[str, Any], delta: str) -> dict[str, Any]:
    return {"id": request["id"], "delta": delta}


def _embedded(params: dict[str, Any]) -> dict[str, Any]:
    texts = params["texts"]
    return {
        "embeddings": [[0.1, float(len(text))] for text in texts],
        "model": params.get("model") or "small",
        "provider": "embedded",
        "dimension": 2,
        "usage": {"prompt_tokens": len(texts)},
        "cost_nanousd": len(texts),
        "cached": 0,
        "request_id": "r",
    }
