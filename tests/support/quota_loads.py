"""Shapes of load in front of a limited provider, and what they bring."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.crowd_of_clients import Crowd
from tests.support.daemon_process import DaemonProcess
from tests.support.limited_provider import counted, limited_provider

LATENCY_S = 0.05
CONFIG = """\
llm:
  default_provider: limited
  providers:
    limited:
      kind: {kind}
      base_url: {base_url}
      api_key: not-a-real-key-1234
      default_model: m
      models: [m]
  rate_limits:
    limited: {limits}
daemon:
  log_level: warning
"""


@dataclass
class Shape:
    """One load. ``uneven``: two processes have half of the work. ``mixed``: prompts and answers
    of all lengths, so that tokens bind. ``known`` is what the configuration says of the limits:
    a factor, or nothing."""

    name: str
    requests: float = 2400.0
    tokens: float = 60_000_000.0
    burst_s: float = 2.5
    calls: int = 640
    uneven: bool = False
    mixed: bool = False
    known: float | None = 1.0
    kind: str = "openai_compatible"
    provider: dict[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> dict[str, float]:
        if self.kind == "anthropic_compatible":
            out = self.tokens / 4
            return {"requests": self.requests, "tokens_in": self.tokens, "tokens_out": out}
        return {"requests": self.requests, "tokens": self.tokens}

    def configured(self) -> str:
        if self.known is None:
            return "auto"
        spelled = {
            "requests": "requests_per_minute",
            "tokens": "tokens_per_minute",
            "tokens_in": "input_tokens_per_minute",
            "tokens_out": "output_tokens_per_minute",
        }
        pairs = [f"{spelled[name]}: {each * self.known:.0f}" for name, each in self.limits.items()]
        return "{" + ", ".join([*pairs, f"burst_s: {self.burst_s}"]) + "}"

    def jobs(self, processes: int, **common: Any) -> list[dict[str, Any]]:
        chance = random.Random(1)
        calls = []
        for number in range(self.calls):
            length = chance.choice((40, 400, 4000)) if self.mixed else 40
            most = chance.choice((50, 400, 1000)) if self.mixed else 50
            calls.append((f"{number} " + "x" * length, most))
        if self.uneven:
            half, others = self.calls // 2, processes - 2
            parts = [calls[:half][part::2] for part in range(2)]
            parts += [calls[half:][part::others] for part in range(others)]
        else:
            parts = [calls[part::processes] for part in range(processes)]
        return [{**common, "calls": part} for part in parts]

    def ideal_s(self, charged: dict[str, float], taken: float) -> float:
        """Give the time that the provider's own buckets need for what it charged."""
        waits = [
            max(0.0, charged.get(name, 0.0) - each / 60 * self.burst_s) / (each / 60 * (1 - taken))
            for name, each in self.limits.items()
        ]
        return max(waits) + LATENCY_S


@dataclass
class Brought:
    answered: int
    failed: int
    refused: int
    took_s: float
    ideal_s: float

    @property
    def ratio(self) -> float:
        return self.took_s / self.ideal_s


@contextlib.contextmanager
def _provider(shape: Shape) -> Iterator[str]:
    with limited_provider(
        per_minute=shape.limits, burst_s=shape.burst_s, latency_s=LATENCY_S, **shape.provider
    ) as address:
        yield address


def _brought(shape: Shape, address: str, went: dict[str, int]) -> Brought:
    seen = counted(address)
    taken = shape.provider.get("takes", 0.0)
    ideal_s = shape.ideal_s(seen["charged"], taken)
    return Brought(went["answered"], went["failed"], seen["refused"], seen["took_s"], ideal_s)


def through_daemon(shape: Shape, crowd: Crowd, processes: int, folder: Path) -> Brought:
    """Ask through a daemon of its own."""
    with _provider(shape) as address:
        base_url = address if shape.kind == "anthropic_compatible" else f"{address}/v1"
        config = CONFIG.format(kind=shape.kind, base_url=base_url, limits=shape.configured())
        with DaemonProcess(folder, config=config) as daemon:
            went = crowd.ask(shape.jobs(processes, socket=str(daemon.socket)))
        return _brought(shape, address, went)


def with_sdk(shape: Shape, crowd: Crowd, processes: int, retries: int) -> Brought:
    """Ask with the vendor's own package, every process for itself."""
    with _provider(shape) as address:
        went = crowd.ask(shape.jobs(processes, base_url=f"{address}/v1", retries=retries))
        return _brought(shape, address, went)
