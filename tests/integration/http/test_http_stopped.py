"""A program that is stopped for a while: what its library makes of it when it wakes up."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import answers
from tests.integration.faults.rig import Rig, held
from tests.integration.http.rig import http_rig, http_socket
from tests.integration.http.test_http_faults import _flood, until

_PROGRAM = """
import sys
import httpx2, openai

transport = httpx2.HTTPTransport(uds=sys.argv[1])
client = openai.OpenAI(base_url="http://localhost/v1", api_key="none", max_retries=0,
                       http_client=httpx2.Client(transport=transport))

def ask(text, **more):
    return client.chat.completions.create(
        model="test-model", messages=[{"role": "user", "content": text}], **more)

print(ask("first").choices[0].message.content, flush=True)
sys.stdin.readline()
print(ask("second").choices[0].message.content, flush=True)
text = ""
try:
    for chunk in ask("flood", stream=True):
        if not text and chunk.choices[0].delta.content:
            print("streaming", flush=True)
        text += chunk.choices[0].delta.content or ""
    print("whole", len(text), flush=True)
except (openai.APIConnectionError, httpx2.TransportError) as error:
    print("error", type(error).__name__, len(text), flush=True)
print(ask("third").choices[0].message.content, flush=True)
sys.stdin.readline()
try:
    print("whole", len(ask("large").choices[0].message.content), flush=True)
except openai.APIConnectionError as error:
    print("error", type(error).__name__, flush=True)
"""


def _says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextlib.contextmanager
def _program(rig: Rig) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(http_socket(rig.daemon))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.fault("C1")
@pytest.mark.fault("C2")
def test_a_program_stopped_idle_goes_on_and_one_stopped_in_an_answer_gets_an_error(
    folder: Path,
) -> None:
    with http_rig(folder, limits={"stall_s": 1}) as rig:
        rig.answers["flood"] = _flood(200)
        rig.answers["large"] = held("large", answers.openai_chat("y" * (4 << 20)))
        with _program(rig) as process:
            assert _says(process) == "to: first"
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)  # longer than a client that is owed something may take nothing
            process.send_signal(signal.SIGCONT)
            print("go on", file=process.stdin, flush=True)
            assert _says(process) == "to: second"
            assert rig.status()["clients_cut"] == 0
            assert _says(process) == "streaming"
            process.send_signal(signal.SIGSTOP)
            until(rig, "clients_cut", 1)
            process.send_signal(signal.SIGCONT)
            kind, name, length = _says(process).split()
            assert kind == "error", (kind, name, length)
            assert int(length) < 200 * 65_536
            assert _says(process) == "to: third"
            print("go on", file=process.stdin, flush=True)
            rig.wait_until_asked("large")
            process.send_signal(signal.SIGSTOP)
            rig.provider.open("large")
            until(rig, "clients_cut", 2)
            process.send_signal(signal.SIGCONT)
            assert _says(process) == "error APIConnectionError"
            assert process.wait(10) == 0
        until(rig, "calls_open", 0)
