"""TLS as both transports speak it: trusted, verified, or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.dialing import make_trust, trust_problem
from tests.contract import answers
from tests.contract.authority import Authority
from tests.contract.harness import TRANSPORTS, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = [pytest.mark.loop("uvloop"), pytest.mark.parametrize("kind", TRANSPORTS)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Make the authority the one that this machine trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    return authority


async def refusal(kind: str, provider: ScriptedProvider) -> AttemptFailed:
    async with wired(kind, provider.base_url) as wire:
        with pytest.raises(AttemptFailed) as raised:
            await wire.complete()
        with pytest.raises(AttemptFailed) as streamed:
            await wire.stream()
    failed = raised.value
    assert (failed.kind, failed.verdict, failed.outcome) == (
        "tls",
        Verdict.CLOSED,
        Outcome.NOT_SENT,
    )
    assert (streamed.value.kind, streamed.value.message) == ("tls", failed.message)
    assert f"127.0.0.1:{provider.port}" in failed.message
    assert provider.requests == []
    return failed


async def test_a_trusted_provider_is_spoken_to_and_the_connection_kept(
    kind: str, trusted: Authority
) -> None:
    async with ScriptedProvider(tls=trusted.serve()) as provider:
        async with wired(kind, provider.base_url) as wire:
            for _ in range(2):
                assert (await wire.complete()).content == "4"
            provider.always = answers.openai_stream()
            assert (await wire.stream()).content == "The answer is 4"
        assert provider.connections == 1


@pytest.mark.fault("P26")
async def test_an_unknown_authority_is_not_trusted(kind: str, authority: Authority) -> None:
    async with ScriptedProvider(tls=authority.serve()) as provider:
        assert "certificate" in (await refusal(kind, provider)).message


@pytest.mark.fault("P26")
async def test_an_expired_certificate_is_not_trusted(kind: str, trusted: Authority) -> None:
    async with ScriptedProvider(tls=trusted.serve(days=-1)) as provider:
        assert "expired" in (await refusal(kind, provider)).message


@pytest.mark.fault("P26")
async def test_a_certificate_for_another_host_is_not_trusted(kind: str, trusted: Authority) -> None:
    async with ScriptedProvider(tls=trusted.serve("DNS:elsewhere.test")) as provider:
        assert "127.0.0.1" in (await refusal(kind, provider)).message


@pytest.mark.fault("P26")
@pytest.mark.parametrize(
    "greeting",
    [(answers.Reset(),), (answers.Close(),), (answers.Send(b"HTTP/1.1 400 No\r\n\r\n"),)],
    ids=["reset", "closed", "speaks plainly"],
)
@pytest.mark.filterwarnings(
    # aiohttp leaves a socket to the garbage collector that is reset before uvloop has it.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
async def test_a_handshake_that_fails_is_never_plain_text(
    kind: str, greeting: tuple[answers.Step, ...]
) -> None:
    async with _Secure(greetings=deque([greeting] * 2)) as provider:
        await refusal(kind, provider)


class _Secure(ScriptedProvider):
    """Is addressed as if it spoke TLS."""

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@pytest.mark.fault("P26")
async def test_an_empty_trust_store_is_told_and_trusts_nobody(
    kind: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    problem = trust_problem()
    assert problem is not None
    assert "ca-certificates" in problem
    async with ScriptedProvider(tls=authority.serve()) as provider:
        await refusal(kind, provider)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    assert trust_problem() is None


@asynccontextmanager
async def tunnel_to(port: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Give a proxy's port, and what it is asked; every tunnel leads to ``port``."""
    asked: list[bytes] = []
    ends: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        ends.update((writer, far_writer))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked
        for writer in ends:
            writer.close()


@pytest.mark.fault("P27")
async def test_through_a_proxy_tls_is_spoken_with_the_provider_itself(
    kind: str, trusted: Authority
) -> None:
    async with (
        ScriptedProvider(tls=trusted.serve("DNS:provider.test")) as provider,
        tunnel_to(provider.port) as (port, asked),
    ):
        environ = {"https_proxy": f"http://127.0.0.1:{port}"}
        async with wired(kind, "https://provider.test/v1", environ=environ) as wire:
            assert (await wire.complete()).content == "4"
        async with wired(kind, "https://other.test/v1", environ=environ) as wire:
            with pytest.raises(AttemptFailed) as raised:
                await wire.complete()
    assert asked[0].startswith(b"CONNECT provider.test:443 HTTP/1.1\r\n")
    assert b"sk-scripted" not in asked[0]
    assert provider.requests[0].headers["host"] == "provider.test"
    assert (raised.value.kind, raised.value.outcome) == ("tls", Outcome.NOT_SENT)


def test_certificates_are_verified_and_hosts_checked(kind: str) -> None:
    del kind  # one trust for both
    trust = make_trust()
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname
    assert trust.minimum_version >= ssl.TLSVersion.TLSv1_2
