"""The scripted daemon of `sutler.testing`, with answers that follow from the prompt.

A prompt with ``hang`` in it is not answered, ``refuse`` is refused for good, ``busy`` the
first time only, ``die`` closes the connection; any other is answered with its words in
capitals. Asked again, it says ``cached``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from sutler.errors import ProviderError, ProviderUnavailable
from sutler.testing import Asked, Chunks, Drop, FakeDaemon, Hold, reply

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


class TinyDaemon(FakeDaemon):
    """Listens at ``path`` while entered. ``patient``: no prompt hangs any more."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self.patient = False
        self._known: set[str] = set()
        self._busy: set[str] = set()
        self.reply("complete", self._complete)
        self.reply("embed", _embedded)
        self.reply("hello", {"version": "9.9", "protocol": 1, "instance": "abc"})
        self.reply("models", {"models": MODELS})
        self.reply("status", STATUS)
        self.reply("cache.stats", {"entries": 12, "hits": 3, "size_bytes": 4096})
        self.reply("cache.clear", {"removed": 12})

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def prompts(self) -> list[str]:
        """Give the prompts asked so far, in the order of their coming."""
        return [prompt_of(asked) for asked in self.asked if asked.method == "complete"]

    def dropped(self) -> list[str]:
        """Give the prompts whose calls were cancelled, by request or by leaving."""
        return [prompt_of(asked) for asked in self.cancelled]

    def _complete(self, asked: Asked) -> Any:
        prompt = prompt_of(asked)
        if prompt.startswith("stream and hang"):
            return Chunks("HALF", then=Hold())
        if "hang" in prompt and not self.patient:
            return Hold()
        if prompt == "die":
            return Drop()
        if prompt == "refuse":
            return ProviderError("the provider:\nno")
        if prompt.startswith("busy") and prompt not in self._busy:
            self._busy.add(prompt)
            return ProviderUnavailable("too\nmany", retry_after_s=2.0)
        whole = self._reply(prompt, asked.params)
        if asked.params.get("stream"):
            return Chunks(*[word + " " for word in prompt.upper().split(" ")], then=whole)
        return whole

    def _reply(self, prompt: str, params: dict[str, Any]) -> dict[str, Any]:
        cached = prompt in self._known
        self._known.add(prompt)
        return reply(
            prompt.upper(),
            finish_reason="length" if params.get("max_tokens") == 1 else "stop",
            parsed={"city": "Tokyo"} if prompt == "parse" else None,
            model="small",
            provider="embedded",
            usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            cost_nanousd=0 if cached else 1000,
            cached=cached,
            latency_ms=1.5,
        )


def prompt_of(asked: Asked) -> str:
    params = asked.params
    return str(params["prompt"] if "prompt" in params else params["messages"][-1]["content"])


def _embedded(asked: Asked) -> dict[str, Any]:
    texts = asked.params["texts"]
    return {
        "embeddings": [[0.1, float(len(text))] for text in texts],
        "model": asked.params.get("model") or "small",
        "provider": "embedded",
        "dimension": 2,
        "usage": {"prompt_tokens": len(texts)},
        "cost_nanousd": len(texts),
        "cached": 0,
        "request_id": None,
    }
