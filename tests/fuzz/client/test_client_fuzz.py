"""Garbage in, on both sides of the client: only documented errors out, and nothing hangs."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sutler
from sutler.exchange import Exchange, line
from sutler.pending import CHUNK, ERROR, GARBAGE, RESULT
from sutler.testing import Chunks, Drop, FakeDaemon, Raw
from sutler.wire import MAX_NESTING

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
lines = st.one_of(
    st.binary(max_size=30),
    values.map(lambda value: json.dumps(value, default=str).encode()),
    st.dictionaries(
        st.sampled_from(["id", "result", "error", "method", "params", "jsonrpc"]),
        st.sampled_from([1, None, "1", "chunk", {"id": 1}, {"id": 1, "delta": "x"}, {"code": "x"}])
        | values,
    ).map(lambda value: json.dumps(value, default=str).encode()),
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(st.lists(lines, max_size=5), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_split_anywhere_give_the_same_events(
    garbage: list[bytes], cuts: list[int]
) -> None:
    data = b"\n".join(garbage) + b"\n"
    whole = Exchange().receive(data)
    at = [0, *sorted(cuts), len(data)]
    exchange = Exchange()
    pieces = [data[a:b] for a, b in pairwise(at)]
    split = [event for piece in pieces if piece for event in exchange.receive(piece)]
    assert repr(split) == repr(whole)
    for number, kind, payload in whole:
        assert number is None or type(number) is int
        assert kind in (CHUNK, RESULT, ERROR, GARBAGE)
        assert kind != ERROR or isinstance(sutler.errors.from_wire(payload), sutler.SutlerError)
    assert sum(kind == GARBAGE for _, kind, _ in whole) <= 1


@given(st.dictionaries(st.sampled_from("abc"), values, max_size=3))
def test_a_line_is_strict_json_that_means_the_same_or_is_refused(params: dict[str, Any]) -> None:
    try:
        encoded = line(1, "complete", params)
    except sutler.InvalidRequest as error:
        str(error).encode()
        return
    assert encoded.count(b"\n") == 1
    message = json.loads(encoded.decode(), parse_constant=lambda name: math.inf / 0)
    assert message["params"] == params
    assert depth(message) <= MAX_NESTING


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(str(tmp_path / "s.sock")) as daemon:
        yield daemon


answers = st.lists(lines, min_size=1, max_size=4).map(b"\n".join)
pieces = st.lists(st.dictionaries(st.sampled_from(["delta", "reasoning"]), values), max_size=3)
reused = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@reused
@given(answers, st.booleans(), pieces)
def test_whatever_a_daemon_says_the_caller_gets_a_value_or_a_documented_error(
    daemon: FakeDaemon, said: bytes, ends: bool, chunks: list[dict[str, Any]]
) -> None:
    daemon.reply("complete", Drop(said) if ends else Raw(said + b"\n"))
    plain = [json.loads(json.dumps(chunk, default=str).replace("\\ud", "?")) for chunk in chunks]
    daemon.reply("chat", Drop(said))
    with sutler.Client(daemon.socket_path, timeout_s=0.05, reconnect_s=0.5) as client:
        for ask in (client.complete, client.chat, lambda text: list(client.stream(text))):
            with suppress(sutler.SutlerError):
                ask("x")
        daemon.reply("complete", Chunks(*plain, then=Drop()), "fine")
        with suppress(sutler.SutlerError):
            for chunk in client.stream("x"):
                assert repr(chunk)
        daemon.reply("complete", "fine")
        assert client.complete("x", timeout_s=20).content == "fine"


@reused
@given(answers, st.booleans())
def test_the_asyncio_client_holds_against_it_too(
    daemon: FakeDaemon, said: bytes, ends: bool
) -> None:
    async def asking() -> None:
        client = sutler.AsyncClient(daemon.socket_path, timeout_s=0.05, reconnect_s=0.5)
        async with client:
            daemon.reply("complete", Drop(said) if ends else Raw(said + b"\n"))
            with suppress(sutler.SutlerError):
                await client.complete("x")
            daemon.reply("complete", "fine")
            assert (await client.complete("x", timeout_s=20)).content == "fine"

    asyncio.run(asking())
