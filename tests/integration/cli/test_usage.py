"""How the command speaks: help, mistakes, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sutler import __version__
from sutler.cli import COMMANDS
from sutler.cli_exit import EXIT_CODES
from tests.integration.cli.command import environment, sutler
from tests.integration.cli.tiny_daemon import TinyDaemon


def test_help_names_every_command_and_every_exit_code() -> None:
    text = sutler("--help").stdout.decode()
    for command in COMMANDS:
        assert f"    {command.name}" in text
        assert command.summary in text
    for code, name, meaning in EXIT_CODES:
        assert f"{code:5}  {name:12} {meaning}" in text
    assert "--socket" in text


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_help_with_examples_and_narrow_lines(name: str) -> None:
    done = sutler(name, "--help", env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert f"  sutler {name}" in text or f"until sutler {name}" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_version_is_the_distributions() -> None:
    assert sutler("--version").stdout.decode() == f"sutler {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a command"),
        (("caht", "hi"), "did you mean 'chat'?"),
        (("xyzzy",), "there is no command 'xyzzy'; there are chat"),
        (("chat", "--modell", "m", "hi"), "--modell"),
        (("chat", "--temperature", "hot", "hi"), "'hot' is not a number"),
        (("chat", "--schema", "/nowhere", "hi"), "/nowhere: No such file"),
        (("chat",), "there is no text"),
        (("complete", "--prompt", "a", "b.json"), "not both"),
        (("map", "in.jsonl"), "OUTPUT"),
        (("map", "/nowhere/in", "out"), "/nowhere/in: No such file"),
        (("map", "-", "-", "--in-flight", "300"), "the most is 256"),
        (("cache", "explode"), "explode"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_mend(words: tuple[str, ...], said: str) -> None:
    done = sutler(*words)
    assert done.returncode == 2
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.startswith("sutler: ")
    assert text.count("\n") == 1
    assert said in text


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("chat", "hi"), 0),
        (("chat", "refuse"), 1),
        (("chat", "busy"), 4),
        (("--socket", "/nowhere/s", "chat", "hi"), 3),
        (("chat", "--socket", "/nowhere/s", "hi"), 3),
        (("ping", "--socket=/nowhere/s"), 3),
    ],
)
def test_the_exit_code_says_what_became_of_it(
    daemon: TinyDaemon, words: tuple[str, ...], code: int
) -> None:
    done = sutler(*words)
    assert done.returncode == code
    assert done.stderr.count(b"\n") == (code != 0)
    assert b"Traceback" not in done.stderr


def test_when_to_try_again_is_said(daemon: TinyDaemon) -> None:
    assert sutler("chat", "busy").stderr == b"sutler: too; many (try again in 2 s)\n"


def test_without_a_daemon_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    done = sutler("ping", env={"TMPDIR": str(tmp_path), "SUTLER_SOCKET": str(tmp_path / "s")})
    assert done.returncode == 3
    assert str(tmp_path / "s") in done.stderr.decode()
    assert "sutlerd" in done.stderr.decode()


def test_a_full_output_is_said(daemon: TinyDaemon) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sutler", "chat", "hi"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=40,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"sutler: ")
    assert b"No space left" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_closed_standard_streams_are_no_crash(daemon: TinyDaemon) -> None:
    script = '"$0" -m sutler chat hi >&- 2>&- <&-; echo $?; "$0" -m sutler chat <&-; echo $?'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable],
        capture_output=True,
        env=environment(),
        timeout=40,
        check=False,
    )
    assert done.stdout == b"0\n2\n"
    assert b"standard input is closed" in done.stderr


def test_an_old_locale_gets_text_all_the_same(daemon: TinyDaemon) -> None:
    done = sutler("chat", stdin="grün".encode(), env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.stdout.decode() == "GRÜN\n"
    assert os.fsencode("GRÜN") in done.stdout
