"""What the supervisor keeps alive for the embedded model: how llama.cpp's server is started,
met, checked and left behind."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import orjson

from sutlerd.config.schema import EmbeddedConfig
from sutlerd.domain.ports import Clock
from sutlerd.providers.address import parse_address
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.transport import Request
from sutlerd.providers.transport_lean import LeanTransport
from sutlerd.providers.weights import CannotRun, find_weights
from sutlerd.system.children import ChildSpec, python_child, python_environment
from sutlerd.system.supervision import ChildRefuses

#: Where OpenAI's paths begin on llama.cpp's server.
BASE_PATH = "/v1"
#: llama.cpp's threads spin while they wait for each other: on a node whose cores are all busy,
#: as a job keeps them, two threads took ten times as long as one.
DEFAULT_THREADS = 1
_MODULE = "sutlerd.providers.embedded_server"
_FIRST_ANSWER_LIMIT_S = 60.0
_HEALTH_LIMIT_S = 5.0

#: llama.cpp's log lines. While it serves they may be about users' words; what it says when
#: it dies (a failed assertion, an uncaught exception) has no such prefix.
_LOG_LINE = re.compile(r"\d+\.\d\d\.\d{3}\.\d{3} [A-Z] ")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Running:
    """One life of the server, and what it told of its model: the tokens that one slot holds
    and the dimension of its vectors."""

    transport: LeanTransport
    context_tokens: int
    dimension: int


class EmbeddedChild:
    """See ``supervision.Charge``. ``model`` is the name that the server gives its model;
    ``environ`` is what the child may inherit from, after cleaning."""

    def __init__(
        self, *, config: EmbeddedConfig, model: str, clock: Clock, environ: Mapping[str, str]
    ) -> None:
        self._config = config
        self._model = model
        self._clock = clock
        self._environ = environ
        self._api_key = ""

    def spec(self) -> ChildSpec:
        try:
            weights = find_weights(self._config.model_path)
        except CannotRun as reason:
            raise ChildRefuses(str(reason)) from None
        self._api_key = secrets.token_urlsafe(32)
        settings = {
            "parent_pid": os.getpid(),
            "api_key": self._api_key,
            "model_path": str(weights.path),
            "model": self._model,
            "slots": self._config.slots,
            "context_tokens": self._config.context_tokens,
            "threads": self.threads(),
        }
        return ChildSpec(
            argv=python_child(_MODULE),
            environment=python_environment(self._environ),
            settings=orjson.dumps(settings),
            may_keep=lambda line: _LOG_LINE.match(line) is None,
        )

    async def welcome(self, first_line: bytes) -> Running:
        async with AsyncExitStack() as stack:
            try:
                answer = read_object(first_line)
                if "address" not in answer:
                    raise ChildRefuses(f"llama.cpp's server does not start: {answer.get('error')}")
                transport = await stack.enter_async_context(self._transport(answer["address"]))
                response = await transport.send(
                    Request(method="GET", path="/models"), timeout_s=_FIRST_ANSWER_LIMIT_S
                )
                told = read_object(response.body)["data"][0]["meta"]
                context_tokens, dimension = told["n_ctx"], told["n_embd"]
            except AttemptFailed as failure:
                raise ChildRefuses(f"llama.cpp's server does not answer: {failure}") from None
            except (ValueError, LookupError, TypeError) as error:
                raise ChildRefuses(f"llama.cpp's server is not understood: {error!r}") from None
            stack.pop_all()
            return Running(transport=transport, context_tokens=context_tokens, dimension=dimension)

    async def check(self, life: Running) -> bool:
        try:
            response = await life.transport.send(
                Request(method="GET", path="/../health"), timeout_s=_HEALTH_LIMIT_S
            )
        except AttemptFailed:
            return False
        return response.status == 200

    async def farewell(self, life: Running) -> None:
        await life.transport.__aexit__()

    def mask(self, text: str) -> str:
        return text.replace(self._api_key, "***") if self._api_key else text

    def _transport(self, address: str) -> LeanTransport:
        return LeanTransport(
            parse_address(f"{address}{BASE_PATH}"),
            headers={"authorization": f"Bearer {self._api_key}"},
            clock=self._clock,
        )

    def threads(self) -> int:
        """Give the threads that one computation uses."""
        return DEFAULT_THREADS if self._config.threads is None else self._config.threads
