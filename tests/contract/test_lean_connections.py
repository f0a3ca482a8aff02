"""The lean transport's own connections: kept, bounded, and never given to two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sutlerd.providers import http_pool, transport_lean
from sutlerd.providers.address import parse_address
from sutlerd.providers.contract import AttemptFailed, Outcome
from sutlerd.providers.transport import Request
from sutlerd.providers.transport_lean import LeanTransport
from sutlerd.system.clock import SystemClock
from tests.contract import answers
from tests.contract.answers import Answer
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop", "asyncio")

ASK = Request(path="/chat/completions", body=b"{}")
STREAM_HEAD = answers.Send(answers.head(200, {"transfer-encoding": "chunked"}))


def chunk(data: bytes) -> answers.Send:
    return answers.Send(answers.chunked(data))


@pytest.fixture
async def lean(provider: ScriptedProvider) -> AsyncIterator[LeanTransport]:
    transport = LeanTransport(
        parse_address(provider.base_url), headers={}, clock=SystemClock(), max_connections=2
    )
    async with transport:
        yield transport
    assert transport.open_connections() == 0


async def test_connections_are_bounded_and_calls_beyond_wait_their_turn(
    lean: LeanTransport, provider: ScriptedProvider
) -> None:
    held = Answer((answers.Gate("open"), *answers.openai_chat().steps))
    provider.always = held
    calls = [asyncio.create_task(lean.send(ASK, timeout_s=20)) for _ in range(5)]
    await provider.until(lambda: len(provider.requests) == 2)
    with pytest.raises(AttemptFailed) as raised:
        await lean.send(ASK, timeout_s=0.1)
    assert (raised.value.kind, raised.value.outcome) == ("pool", Outcome.NOT_SENT)
    calls[2].cancel()
    provider.open("open")
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in done) == 4
    assert (provider.connections, len(provider.requests)) == (2, 4)


async def test_a_turn_that_is_not_used_is_passed_on(
    lean: LeanTransport, provider: ScriptedProvider
) -> None:
    provider.always = Answer((answers.Gate("open"), *answers.openai_chat().steps))
    holding = [asyncio.create_task(lean.send(ASK, timeout_s=20)) for _ in range(2)]
    await provider.until(lambda: len(provider.requests) == 2)
    waiting = [asyncio.create_task(lean.send(ASK, timeout_s=20)) for _ in range(2)]
    await asyncio.sleep(0)
    for call in holding:
        call.cancel()
    await asyncio.gather(*holding, return_exceptions=True)
    waiting[0].cancel()
    provider.open("open")
    assert (await waiting[1]).status == 200


async def test_idle_connections_are_closed_before_the_provider_would(
    lean: LeanTransport, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pool, "IDLE_LIMIT_S", 0.05)
    await lean.send(ASK, timeout_s=20)
    assert lean.open_connections() == 1
    await provider.until(lambda: provider.open_connections == 0)
    await lean.send(ASK, timeout_s=20)
    assert provider.connections == 2


async def test_a_connection_that_the_provider_closed_meanwhile_is_not_used(
    lean: LeanTransport, provider: ScriptedProvider
) -> None:
    provider.queue.append(Answer((*answers.openai_chat().steps, answers.Close())))
    await lean.send(ASK, timeout_s=20)
    await provider.until(lambda: provider.open_connections == 0)
    while lean.open_connections():  # noqa: ASYNC110  the transport tells nobody
        await asyncio.sleep(0)
    await lean.send(ASK, timeout_s=20)
    assert provider.connections == 2


@pytest.mark.parametrize(
    "extra",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", b"garbage"],
    ids=["answer", "bytes"],
)
async def test_what_comes_unasked_never_becomes_the_next_answer(
    extra: bytes, lean: LeanTransport, provider: ScriptedProvider
) -> None:
    whole = answers.openai_chat().steps[0]
    assert isinstance(whole, answers.Send)
    provider.queue.append(Answer((answers.Send(whole.data + extra),)))
    assert (await lean.send(ASK, timeout_s=20)).status == 200
    second = await lean.send(ASK, timeout_s=20)
    assert b"chat.completion" in second.body
    assert provider.connections == 2


async def test_an_answer_may_be_preceded_by_hints_and_followed_by_trailers(
    lean: LeanTransport, provider: ScriptedProvider
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    trailers = answers.Send(b"2\r\nhi\r\n0\r\nx-checksum: 7\r\n\r\n")
    provider.always = Answer((answers.Send(hints), STREAM_HEAD, trailers))
    for _ in range(2):
        answer = await lean.send(ASK, timeout_s=20)
        assert (answer.status, answer.body) == (200, b"hi")
        assert "link" not in answer.headers
        assert "x-checksum" not in answer.headers
    assert provider.connections == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
    ids=["not at all", "two lengths", "broken chunk", "another protocol"],
)
async def test_what_is_not_http_is_a_bad_body(
    garbage: bytes, lean: LeanTransport, provider: ScriptedProvider
) -> None:
    provider.always = answers.raw(garbage)
    with pytest.raises(AttemptFailed) as raised:
        await lean.send(ASK, timeout_s=20)
    assert (raised.value.kind, raised.value.outcome) == ("bad_body", Outcome.UNKNOWN)
    assert lean.open_connections() in (0, 1)


async def test_a_finished_stream_keeps_its_connection_although_its_end_comes_later(
    lean: LeanTransport, provider: ScriptedProvider
) -> None:
    end = (answers.Gate("end"), chunk(b""))
    provider.queue.append(Answer((STREAM_HEAD, chunk(b"all"), *end)))
    async with lean.stream(ASK, timeout_s=20, silence_s=20) as answer:
        assert await anext(answer.chunks) == b"all"
        answer.finish()
    provider.open("end")
    await lean.send(ASK, timeout_s=20)
    # The end comes before the next answer, or the call went over a connection of its own.
    assert provider.connections in (1, 2)
    provider.queue.append(Answer((STREAM_HEAD, chunk(b"all"), chunk(b""))))
    async with lean.stream(ASK, timeout_s=20, silence_s=20) as answer:
        assert [data async for data in answer.chunks] == [b"all"]
    before = provider.connections
    await lean.send(ASK, timeout_s=20)
    assert provider.connections == before


async def test_a_finished_stream_that_does_not_end_is_closed(
    lean: LeanTransport, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_lean, "LINGER_S", 0.05)
    provider.queue.append(Answer((STREAM_HEAD, chunk(b"all"), answers.Hang())))
    async with lean.stream(ASK, timeout_s=20, silence_s=20) as answer:
        await anext(answer.chunks)
        answer.finish()
    await provider.until(lambda: provider.hangups == 1)


async def test_a_reader_that_falls_behind_stops_the_reading_and_gets_all(
    lean: LeanTransport, provider: ScriptedProvider
) -> None:
    megabytes = 24
    pieces = [chunk(b"x" * 2**20) for _ in range(megabytes)]
    provider.queue.append(Answer((STREAM_HEAD, *pieces, chunk(b""))))
    async with lean.stream(ASK, timeout_s=20, silence_s=20) as answer:
        size = len(await anext(answer.chunks))
        for _ in range(50):
            await asyncio.sleep(0.001)
        # Socket buffers hold some megabytes; that all of it was sent would be no back-pressure.
        assert provider.open_connections == 1
        held = answer.chunks._held_bytes  # type: ignore[attr-defined]
        assert held < 2**20
        async for data in answer.chunks:
            size += len(data)
    assert size == megabytes * 2**20
    await lean.send(ASK, timeout_s=20)
    assert provider.connections == 1


@pytest.mark.fault("X10")
@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\x00b"])
async def test_nothing_breaks_out_of_its_header_or_path(
    value: str, lean: LeanTransport, provider: ScriptedProvider
) -> None:
    with pytest.raises(ValueError, match="may not be in one"):
        await lean.send(Request(path="/x", headers={"x-a": value}), timeout_s=5)
    with pytest.raises(ValueError, match="may not be in one"):
        await lean.send(Request(path=f"/{value}"), timeout_s=5)
    assert provider.connections == 0


async def test_after_closing_nothing_is_opened(provider: ScriptedProvider) -> None:
    transport = LeanTransport(parse_address(provider.base_url), headers={}, clock=SystemClock())
    async with transport:
        await transport.send(ASK, timeout_s=20)
    with pytest.raises(AttemptFailed, match="closing"):
        await transport.send(ASK, timeout_s=20)
    assert provider.connections == 1
