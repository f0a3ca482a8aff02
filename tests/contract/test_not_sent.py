"""Failures before anything was sent: the provider cannot have billed, so nothing is charged."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from tests.contract import answers
from tests.contract.harness import TRANSPORTS, Wired, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")
both = pytest.mark.parametrize("kind", TRANSPORTS)


async def failure(wire: Wired, *, within_s: float = 20.0) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        await wire.complete(within_s)
    with pytest.raises(AttemptFailed) as streamed:
        await wire.stream(within_s)
    assert streamed.value.kind == raised.value.kind
    assert streamed.value.outcome == raised.value.outcome
    return raised.value


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port that refuses: bound, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Give a port whose queue of connections is full: the kernel drops what comes."""
    with socket.socket() as listener:
        listener.bind((host, port))
        listener.listen(0)
        port = listener.getsockname()[1]
        filling = []
        try:
            while True:
                sock = socket.socket()
                filling.append(sock)
                sock.settimeout(0.2)
                try:
                    sock.connect((host, port))
                except TimeoutError:
                    break
            yield port
        finally:
            for sock in filling:
                sock.close()


@both
@pytest.mark.fault("P13")
async def test_a_refused_connection_is_not_sent_and_names_host_and_cause(kind: str) -> None:
    with closed_port() as port:
        async with wired(kind, f"http://127.0.0.1:{port}/v1") as wire:
            failed = await failure(wire)
    assert (failed.kind, failed.verdict) == ("connect", Verdict.RETRY)
    assert failed.outcome is Outcome.NOT_SENT
    assert f"127.0.0.1:{port}" in failed.message
    assert "refused" in failed.message


@both
@pytest.mark.fault("P13")
async def test_a_host_that_answers_no_knock_is_not_sent(kind: str) -> None:
    with black_hole() as port:
        async with wired(kind, f"http://127.0.0.1:{port}/v1") as wire:
            failed = await failure(wire, within_s=0.4)
    assert (failed.kind, failed.outcome) == ("connect", Outcome.NOT_SENT)


@both
async def test_without_time_nothing_is_begun(kind: str, provider: ScriptedProvider) -> None:
    async with wired(kind, provider.base_url) as wire:
        failed = await failure(wire, within_s=0.0)
    assert (failed.kind, failed.outcome) == ("timeout", Outcome.NOT_SENT)
    assert provider.connections == 0


@both
@pytest.mark.loop("asyncio")
@pytest.mark.fault("P25")
async def test_a_name_that_nobody_knows_is_not_sent_and_named(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with wired(kind, "http://nobody.test/v1") as wire:
        failed = await failure(wire)
    assert (failed.kind, failed.outcome) == ("dns", Outcome.NOT_SENT)
    assert "nobody.test" in failed.message
    assert "not known" in failed.message


@both
@pytest.mark.loop("asyncio")
@pytest.mark.fault("P25")
async def test_a_name_server_that_is_silent_ends_with_the_time_for_connecting(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
    async with wired(kind, "http://nobody.test/v1") as wire:
        failed = await failure(wire, within_s=0.2)
    assert (failed.kind, failed.outcome) == ("connect", Outcome.NOT_SENT)


@both
@pytest.mark.loop("asyncio")
@pytest.mark.fault("P25")
async def test_of_two_addresses_the_living_one_is_found(
    kind: str, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = provider.port

    async def two(*_: Any, **__: Any) -> Any:
        tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*tcp, ("127.0.0.2", port)), (*tcp, ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
    with black_hole("127.0.0.2", port):
        async with wired(kind, f"http://two.test:{port}/v1") as wire:
            assert (await wire.complete()).content == "4"
    # The same where the first address refuses at once.
    async with wired(kind, f"http://two.test:{port}/v1") as wire:
        assert (await wire.complete()).content == "4"
    assert {request.headers["host"] for request in provider.requests} == {f"two.test:{port}"}


# --- proxies --------------------------------------------------------------------------

PROXY_FAILS = {
    "407": answers.http_answer(b"who are you", status=407),
    "502": answers.http_answer(b"no way", status=502),
    "cut": answers.Answer((answers.Close(),)),
    "garbage": answers.raw(b"SSH-2.0-OpenSSH\r\n\r\n"),
}


@pytest.fixture
async def proxy() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


def through(proxy_port: int) -> dict[str, str]:
    address = f"http://bob:hunter2@127.0.0.1:{proxy_port}"
    return {"https_proxy": address, "http_proxy": address}


@both
@pytest.mark.fault("P27")
@pytest.mark.parametrize("how", PROXY_FAILS)
async def test_a_proxy_that_gives_no_tunnel_is_named_without_its_password(
    kind: str, how: str, proxy: ScriptedProvider
) -> None:
    proxy.always = PROXY_FAILS[how]
    async with wired(kind, "https://api.test/v1", environ=through(proxy.port)) as wire:
        failed = await failure(wire)
    assert failed.outcome is Outcome.NOT_SENT
    assert failed.verdict is Verdict.RETRY
    assert "hunter2" not in failed.message
    assert proxy.requests[0].method == "CONNECT"
    assert proxy.requests[0].path == "api.test:443"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic Ym9iOmh1bnRlcjI="


@both
@pytest.mark.fault("P27")
async def test_a_proxy_that_is_down_is_named(kind: str) -> None:
    with closed_port() as port:
        async with wired(kind, "https://api.test/v1", environ=through(port)) as wire:
            failed = await failure(wire)
    assert (failed.kind, failed.outcome) == ("proxy", Outcome.NOT_SENT)
    assert f"127.0.0.1:{port}" in failed.message


@both
@pytest.mark.fault("P27")
async def test_a_plain_address_is_asked_of_the_proxy_and_local_ones_never(
    kind: str, provider: ScriptedProvider, proxy: ScriptedProvider
) -> None:
    environ = through(proxy.port)
    async with wired(kind, "http://api.test/v1", environ=environ) as wire:
        assert (await wire.complete()).content == "4"
    assert proxy.requests[0].path == "http://api.test/v1/chat/completions"
    async with wired(kind, provider.base_url, environ=environ) as wire:
        assert (await wire.complete()).content == "4"
    assert (len(proxy.requests), len(provider.requests)) == (1, 1)
