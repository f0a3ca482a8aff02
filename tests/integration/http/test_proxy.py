"""``sutler proxy`` and ``sutler token``: unchanged programs, run as their documents say."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from tests.contract import answers
from tests.integration.faults.rig import Rig, held
from tests.integration.http.rig import over_tcp

BOTH = """
import anthropic, openai, os, sys
ask = [{"role": "user", "content": sys.argv[1]}]
one = openai.OpenAI().chat.completions.create(model="test-model", messages=ask, max_tokens=30)
two = anthropic.Anthropic().messages.create(model="test-model", messages=ask, max_tokens=30)
stream = openai.OpenAI().chat.completions.create(
    model="test-model", messages=ask, max_tokens=30, stream=True)
print(one.choices[0].message.content, "|", two.content[0].text, "|",
      "".join(c.choices[0].delta.content or "" for c in stream))
"""


def sutler(rig: Rig, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "SUTLER_SOCKET": str(rig.daemon.socket)}
    command = [sys.executable, "-m", "sutler", *arguments]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=50, **more, check=False
    )


def test_unchanged_programs_reach_the_daemon_and_share_one_entry(rig: Rig) -> None:
    done = sutler(rig, "proxy", "--", sys.executable, "-c", BOTH, "through the relay")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == " | ".join(["to: through the relay"] * 3)
    assert rig.asked("through the relay") == 1


def test_the_commands_exit_code_and_environment_are_its_own(rig: Rig) -> None:
    code = "import os, sys; print(sorted(n for n in os.environ if 'BASE_URL' in n)); sys.exit(7)"
    done = sutler(rig, "proxy", "--", sys.executable, "-c", code)
    assert done.returncode == 7
    assert done.stdout.strip() == "['ANTHROPIC_BASE_URL', 'OPENAI_BASE_URL']"
    killed = sutler(rig, "proxy", "--", "sh", "-c", "kill -TERM $$")
    assert killed.returncode == 128 + signal.SIGTERM
    assert sutler(rig, "proxy", "--", "/no/such/program").returncode == 2
    assert sutler(rig, "proxy").returncode == 2
    nobody = sutler(rig, "proxy", "--http-socket", "/no/such.sock", "--", "true")
    assert nobody.returncode == 3
    assert "/no/such.sock" in nobody.stderr


def test_the_relays_port_is_for_its_command_alone(rig: Rig) -> None:
    code = textwrap.dedent(
        """
        import json, os, socket, urllib.parse, urllib.request, urllib.error
        base = os.environ["OPENAI_BASE_URL"]
        def ask(**headers):
            try:
                return urllib.request.urlopen(
                    urllib.request.Request(base + "/models", headers=headers)).status
            except urllib.error.HTTPError as error:
                return error.code
        good = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
        print(json.dumps([
            ask(**good), ask(), ask(Authorization="Bearer wrong"),
            ask(**good, Origin="http://evil.example"), ask(**good, Host="evil.example"),
        ]))
        """
    )
    done = sutler(rig, "proxy", "--", sys.executable, "-c", code)
    assert json.loads(done.stdout) == [200, 401, 401, 403, 403], done.stderr


def test_a_command_that_is_killed_in_mid_call_leaves_no_call_behind(rig: Rig) -> None:
    rig.answers["never to be told"] = held("the relay's gate", answers.openai_chat("late"))
    code = textwrap.dedent(
        """
        import json, os, urllib.request
        body = {"model": "test-model",
                "messages": [{"role": "user", "content": "never to be told"}]}
        urllib.request.urlopen(urllib.request.Request(
            os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
            {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
             "Content-Type": "application/json"}))
        """
    )
    environ = {**os.environ, "SUTLER_SOCKET": str(rig.daemon.socket)}
    command = [sys.executable, "-m", "sutler", "proxy", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, env=environ) as running:
        rig.wait_until_asked("never to be told")
        running.terminate()
    rig.answers.clear()
    until_s = time.monotonic() + 20
    while rig.status()["calls_open"]:
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_sutler_token_makes_and_voids_a_token(rig: Rig) -> None:
    token = sutler(rig, "token").stdout.strip()
    bearer = {"Authorization": f"Bearer {token}"}
    assert over_tcp(rig.daemon, "GET", "/v1/models", headers=bearer).status == 200
    assert sutler(rig, "token", "--revoke").returncode == 0
    assert over_tcp(rig.daemon, "GET", "/v1/models", headers=bearer).status == 401
    assert sutler(rig, "token", "--user", "nobody-is-called-so").returncode == 1
    other = sutler(rig, "token", "--user", "12345").stdout.strip()
    bearer = {"Authorization": f"Bearer {other}"}
    body = {"model": "test-model", "messages": [{"role": "user", "content": "whose is it"}]}
    first = over_tcp(rig.daemon, "POST", "/v1/chat/completions", body, bearer)
    again = over_tcp(rig.daemon, "POST", "/v1/chat/completions", body, bearer)
    assert (first.headers["x-sutler-cached"], again.headers["x-sutler-cached"]) == ("false", "true")
    own = rig.daemon.result("chat", prompt="whose is it")
    assert own["cached"] is False, "another user's answers are not shared"


def test_the_relay_needs_the_daemons_socket_to_be_trusted(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.bind(str(folder / "x.sock"))
    command = [sys.executable, "-m", "sutler", "proxy", "--http-socket", str(folder / "x.sock")]
    done = subprocess.run([*command, "--", "true"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
