"""`sutler top` on a real terminal, watching a real daemon."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sutler.cli import main
from tests.contract import answers
from tests.contract.answers import http_answer
from tests.integration.cli.command import AtTerminal, environment, started, sutler
from tests.integration.cli.test_interpreters import FOUND
from tests.integration.cli.tiny_daemon import TinyDaemon
from tests.integration.faults.rig import Rig, held, let_others_in, serving
from tests.support.other_user import OTHER_UID, as_user, needs_root

LLM = {
    "rate_limits": {"scripted": {"requests_per_minute": 600, "tokens_per_minute": 1_000_000}},
    "budget": {"enabled": True, "daily_limit_usd": 5},
    "prices": {"test-model": {"input_usd": 1, "output_usd": 2}},
}
PAINTERS = pytest.mark.parametrize("options", [(), ("--plain",)], ids=["rich", "plain"])
#: How long is waited for a change, in pieces of what a terminal shows.
MOST_READS = 400
_ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="st-") as path:
        yield Path(path)


@pytest.fixture
def rig(folder: Path) -> Iterator[Rig]:
    with serving(folder, llm=LLM) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUTLER_SOCKET", str(running.daemon.socket))
        yield running


class Watching(AtTerminal):
    """A ``sutler top`` on a terminal of this size."""

    def __init__(self, *words: str, columns: int = 100, rows: int = 40, **environ: str) -> None:
        super().__init__("top", *words, env=environ, size=(columns, rows))

    def frame(self) -> list[str]:
        """Give the lines of the newest whole screen."""
        frames = self.screen.split(b"\x1b[H")
        return _ESCAPE.sub(b"", frames[-2]).decode().replace("\r", "").rstrip("\n").split("\n")

    def wait_for(self, text: str) -> list[str]:
        """Read on until a new frame has ``text``; give it."""
        self.screen = b""
        for _ in range(MOST_READS):
            self.read_more()
            if self.screen.count(b"\x1b[H") > 1 and text in "\n".join(self.frame()):
                return self.frame()
        raise AssertionError(self.frame())

    def leave(self) -> int:
        self.type(b"q")
        return self.end()


@PAINTERS
def test_it_shows_everything_live_and_leaves_with_q(rig: Rig, options: tuple[str, ...]) -> None:
    rig.answers["refused"] = http_answer({"error": {"message": "no"}}, status=400)
    rig.daemon.ask("chat", prompt="refused")
    top = Watching(*options, "--every", "0.1")
    first = "\n".join(top.wait_for("recent errors"))
    for said in ("running", "daily node", "of $5.00", "scripted tokens", "/min", "well", "stored"):
        assert said in first
    assert re.search(r"provider error +scripted/test-model", first)
    for _ in range(4):
        rig.daemon.result("chat", prompt="asked four times", temperature=0)
    counts = rig.status()["answers"]
    total = counts["cached"] + counts["fresh"]
    top.wait_for(f"{100 * counts['cached'] / total:.0f} % of {total} answers")
    assert b"\x1b[2J" not in top.screen, "it is drawn over, not cleared: no flicker"
    assert top.leave() == 0
    assert top.screen.endswith((b"\x1b[?25h\x1b[?1049l", b"\x1b[?1049l\x1b[?25h"))
    assert b"Traceback" not in top.screen


@PAINTERS
def test_a_daemon_that_goes_away_is_said_and_waited_for(rig: Rig, options: tuple[str, ...]) -> None:
    top = Watching(*options, "--every", "0.1")
    top.wait_for("running")
    rig.daemon.kill()
    old = top.wait_for("the daemon is away for 1 s, waiting for it:")
    assert any("daily node" in line for line in old), "the last that was known stays"
    rig.daemon.start()
    assert top.wait_for("running")[0].startswith("running")
    assert rig.daemon.stop() == 0
    top.wait_for("the daemon is away")
    rig.daemon.start()
    top.wait_for("running")
    rig.daemon.process.send_signal(signal.SIGSTOP)
    assert top.leave() == 0, "a daemon that hangs keeps nobody"
    rig.daemon.process.send_signal(signal.SIGCONT)


@PAINTERS
def test_it_fits_every_window_also_one_that_changes(rig: Rig, options: tuple[str, ...]) -> None:
    top = Watching(*options, "--every", "0.1", columns=40, rows=10, COLUMNS="200")
    for columns, rows in [(40, 10), (132, 43), (20, 3), (1, 1), (80, 24)]:
        top.resize(columns, rows)
        mark = "runnin" if columns > 9 else ""
        top.wait_for(mark)
        frame = top.wait_for(mark)
        assert len(frame) <= rows
        assert max(len(line) for line in frame) <= columns
    assert top.leave() == 0


@PAINTERS
def test_the_terminal_is_put_back_however_it_ends(rig: Rig, options: tuple[str, ...]) -> None:
    ways: list[tuple[bytes | int, int]] = [
        (b"\x03", 0),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
    ]
    for sent, code in ways:
        top = Watching(*options)
        before = top.settings()
        top.read_until(b"running")
        assert top.settings() != before, "keys come one by one"
        if isinstance(sent, bytes):
            top.type(sent)
        else:
            top.process.send_signal(sent)
        top.read_until(b"\x1b[?1049l")
        top.process.wait(30)
        assert top.settings() == before
        assert top.end() == code
        assert b"\x1b[?25h" in top.screen


@PAINTERS
def test_ctrl_z_gives_the_terminal_back_for_as_long(rig: Rig, options: tuple[str, ...]) -> None:
    top = Watching(*options)
    before = top.settings()
    top.read_until(b"running")
    top.type(b"\x1a")
    top.read_until(b"\x1b[?1049l")
    _, status = os.waitpid(top.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert top.settings() == before
    top.screen = b""
    top.process.send_signal(signal.SIGCONT)
    top.read_until(b"\x1b[?1049h")
    top.read_until(b"running")
    assert top.leave() == 0


def test_colours_and_signs_are_those_that_the_terminal_can_show(rig: Rig) -> None:
    for options in ((), ("--plain",)):
        coloured = Watching(*options)
        coloured.read_until(b"\x1b[32m")
        assert coloured.leave() == 0
        grey = Watching(*options, "--every", "0.1", NO_COLOR="1")
        grey.wait_for("running")
        assert grey.leave() == 0
        assert not re.search(rb"\x1b\[[0-9;]*3[0-9]", grey.screen)
        simple = Watching(*options, "--every", "0.1", PYTHONIOENCODING="ascii")
        simple.wait_for("running")
        assert simple.leave() == 0
        simple.screen.decode("ascii")
    dumb = Watching("--every", "0.1", TERM="dumb")
    dumb.read_until(b"\nbudgets")
    assert dumb.leave() == 0
    assert b"\x1b" not in dumb.screen


def test_a_pipe_gets_one_screen_or_one_after_another(rig: Rig) -> None:
    done = sutler("top", "--once")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert text.startswith("running · ")
    assert "\x1b" not in text
    assert re.search(r"^daily node  .*of \$5\.00$", text, re.MULTILINE)
    watching = started("top", "--every", "0.1")
    assert watching.stdout is not None
    seen = 0
    while seen < 3:
        seen += watching.stdout.readline().startswith(b"running")
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=30)
    assert (watching.returncode, said) == (0, b"")
    gone = started("top", "--every", "0.1")
    assert gone.stdout is not None
    gone.stdout.readline()
    gone.stdout.close()
    assert gone.wait(30) == 141
    for pipe in (gone.stdin, gone.stderr):
        assert pipe is not None
        pipe.close()


def test_without_rich_it_is_plain_and_without_a_daemon_it_says_so(rig: Rig, folder: Path) -> None:
    (folder / "rich.py").write_text("raise ImportError('hidden by the test')\n")
    hidden = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
    framed, plain = Watching("--every", "0.1"), Watching("--every", "0.1", PYTHONPATH=hidden)
    assert "╭" in "".join(framed.wait_for("running"))
    assert "╭" not in "".join(plain.wait_for("running"))
    assert framed.leave() == plain.leave() == 0
    assert sutler("--socket", str(folder / "none"), "top").returncode == 3
    assert sutler("top", "--every", "0").returncode == 2
    rare = Watching("--every", "1e300")
    rare.read_until(b"running")
    rare.screen = b""
    rare.resize(70, 20)
    rare.read_until(b"running")
    assert rare.leave() == 0


@pytest.mark.parametrize("version", FOUND)
def test_it_works_on_this_python(rig: Rig, version: str) -> None:
    done = sutler("top", "--once", python=FOUND[version])
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"callers (1)" in done.stdout
    top = AtTerminal("top", "--every", "0.1", size=(80, 24), python=FOUND[version])
    top.read_until(b"running")
    top.type(b"q")
    assert top.end() == 0
    assert b"\x1b[?1049l" in top.screen


def test_answers_of_an_unknown_shape_are_a_line_not_a_traceback(tmp_path: Path) -> None:
    with TinyDaemon(tmp_path / "s") as tiny:
        done = sutler("--socket", str(tiny.path), "top")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.startswith(b"sutler: ")


def test_two_hundred_connections_in_a_small_window(rig: Rig) -> None:
    rig.answers["wait"] = held("the crowd's gate", answers.openai_chat("late"))
    clients = [rig.client() for _ in range(200)]
    try:
        for at, client in enumerate(clients):
            client.send("chat", prompt=f"wait {at}")
        top = Watching("--every", "0.1", columns=40, rows=10)
        frame = top.wait_for("200 calls")
        assert len(frame) <= 10
        assert top.leave() == 0
    finally:
        for client in clients:
            client.close()
        rig.provider.open("the crowd's gate")


@needs_root
def test_another_user_sees_what_is_theirs_or_why_not(folder: Path) -> None:
    def looked() -> tuple[int, str]:
        shown, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
            code = main(["--socket", str(path), "top", "--once"])
        return code, shown.getvalue() + said.getvalue()

    with serving(folder, llm=LLM, daemon={"socket_mode": "0666"}) as rig:
        path = rig.daemon.socket
        let_others_in(path.parent)
        rig.daemon.result("chat", prompt="of the operator", temperature=0)
        code, text = as_user(OTHER_UID, looked)
        assert code == 0
        assert re.search(rf"^{OTHER_UID} +1 +0 +0$", text, re.MULTILINE)
        assert "root" not in text
        path.chmod(0o600)
        code, text = as_user(OTHER_UID, looked)
        assert (code, text.count("\n")) == (1, 1)
        assert "this user may not use it" in text
