"""One child process: what it is given, what is kept of its words, how it ends."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from sutlerd.system.children import Child, python_environment
from tests.integration.embedded.charges import WELL, python


@pytest.mark.fault("X5")
async def test_a_secret_in_the_settings_is_neither_in_the_command_nor_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-of-the-daemon")
    child = await Child.start(python(WELL, b"canary-of-the-child"))
    try:
        assert await child.first_line() == b"ready\n"
        process = Path(f"/proc/{child.pid}")
        seen = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
        assert b"canary" not in seen
    finally:
        await child.stop()


def test_a_child_inherits_only_variables_that_never_hold_a_secret() -> None:
    daemon = {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "ANTHROPIC_API_KEY": "x",
        "SUTLER_SOCKET": "y",
        "https_proxy": "http://user:password@proxy",
        "PYTHONPATH": "/somewhere",
    }
    environment = python_environment(daemon)
    assert set(environment) == {"PATH", "LANG", "PYTHONPATH"}


async def test_the_end_of_its_input_ends_a_child() -> None:
    child = await Child.start(python(WELL))
    await child.first_line()
    await child.stop(grace_s=30)
    assert child.how_it_ended() == "ended with code 0"


async def test_a_child_that_does_not_end_is_killed() -> None:
    child = await Child.start(python("print('ready', flush=True); time.sleep(600)"))
    await child.first_line()
    await child.stop(grace_s=0.05)
    assert child.how_it_ended() == "was killed by SIGKILL"


async def test_a_child_that_ends_without_a_word_gives_an_empty_line() -> None:
    child = await Child.start(python("os.kill(os.getpid(), 11)"))
    assert await child.first_line() == b""
    await child.stop()
    assert child.how_it_ended() == f"was killed by {signal.SIGSEGV.name}"


async def test_only_the_last_lines_are_kept_cut_and_without_control_characters() -> None:
    noise = (
        "sys.stderr.write('x' * 100000 + '\\n'); "
        "[sys.stderr.write(f'line {n}\\x1b[31m\\n') for n in range(100)]; "
        "sys.stderr.buffer.write(b'\\xff last without an end'); sys.stderr.flush()"
    )
    child = await Child.start(python(noise))
    assert await child.first_line() == b""
    await child.stop()
    tail = child.tail()
    assert tail[-1] == "\ufffd last without an end"
    assert tail[-2] == "line 99 [31m"
    assert len(tail) == 40
    assert max(map(len, tail)) <= 400


async def test_what_a_serving_child_says_is_kept_only_if_the_spec_lets_it() -> None:
    script = (
        "sys.stderr.write('before\\n'); sys.stderr.flush(); "
        "print('ready', flush=True); sys.stdin.read(); sys.stderr.write('a prompt\\n')"
    )
    child = await Child.start(python(script, keep=False))
    await child.first_line()
    while not child.tail():  # noqa: ASYNC110  words that come have no event
        await asyncio.sleep(0.01)
    child.serves_now()
    await child.stop(grace_s=30)
    assert child.tail() == ["before"]
