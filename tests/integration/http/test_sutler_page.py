"""``sutler page``: the real command, a real browser, and everybody else who may knock."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig
from tests.support.other_user import OTHER_UID, as_user, needs_root

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="LEFT OUT: chromium is not installed")
FAR = {"SSH_CONNECTION": "10.0.0.1 5000 10.0.0.2 22"}


def environment(rig: Rig, **more: str) -> dict[str, str]:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY", "SLURM_SUBMIT_HOST")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "SUTLER_SOCKET": str(rig.daemon.socket), **more}


class ShownPage:
    """A running ``sutler page``; ``address`` is what it printed, ``said`` all beside it."""

    def __init__(self, rig: Rig, *arguments: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sutler", "page", *arguments],
            env=environment(rig, **environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\?token=\S+)", self.address)
        if found is None:
            raise AssertionError(self.process.communicate()[1])
        self.port, self.target = int(found[1]), found[2]

    def ask(self, target: str, **headers: str) -> tuple[int, str]:
        """Give the status of an answer, and its cookie."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]
            return response.status, cookie

    def end(self) -> tuple[int, str]:
        """Type Ctrl-C; give the exit code and what was said."""
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=30)[1]
        return self.process.returncode, said


@contextlib.contextmanager
def shown(rig: Rig, *arguments: str, **environ: str) -> Iterator[ShownPage]:
    running = ShownPage(rig, *arguments, **environ)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def test_the_page_is_relayed_to_who_has_the_address_and_ctrl_c_ends_it(rig: Rig) -> None:
    with shown(rig, "--no-open") as page:
        assert page.ask("/")[0] == 401
        status, cookie = page.ask(page.target)
        assert (status, page.ask("/", Cookie=cookie)[0]) == (303, 200)
        assert page.ask(page.target)[0] == 401, "used"
        assert page.ask("/v1/models", Cookie=cookie)[0] == 404
        assert page.ask("/", Cookie=cookie, Origin="http://evil.example")[0] == 403
        assert page.ask("/", Cookie=cookie, Host="evil.example")[0] == 403
        code, said = page.end()
    assert code == 0
    assert "opens once" in said
    assert "Traceback" not in said


def test_a_second_request_on_the_connection_goes_nowhere(rig: Rig) -> None:
    with shown(rig, "--no-open") as page:
        _, cookie = page.ask(page.target)
        own = f"Host: 127.0.0.1:{page.port}\r\nCookie: {cookie}\r\n"
        with socket.create_connection(("127.0.0.1", page.port), timeout=30) as sock:
            first = f"GET / HTTP/1.1\r\n{own}Content-Length: 5\r\nConnection: keep-alive\r\n\r\n"
            second = f"GET /v1/models HTTP/1.1\r\n{own}\r\n"
            sock.sendall((first + second + second).encode())
            told = b"".join(iter(lambda: sock.recv(65536), b""))
        assert told.count(b"HTTP/1.1 ") == 1
        assert b"test-model" not in told


def test_over_ssh_the_tunnels_command_is_printed_and_no_browser_opened(
    rig: Rig, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    started = {"BROWSER": str(browser), "DISPLAY": ":9"}
    with shown(rig, **started, **FAR, SLURM_SUBMIT_HOST="login7") as page:
        code, said = page.end()
    assert code == 0
    tunnel = rf"ssh -N -L {page.port}:127\.0\.0\.1:{page.port} -J (\S+)@login7 \1@\S+\n"
    assert re.search(tunnel, said)
    assert not opened.exists()
    with shown(rig, **started) as page:
        until_s = time.monotonic() + 30
        while not (opened.exists() and opened.read_text().endswith("\n")):
            assert time.monotonic() < until_s
            time.sleep(0.02)
        assert opened.read_text().strip() == page.address
        page.end()


def test_what_cannot_be_had_is_said_in_a_line(rig: Rig, folder: Path) -> None:
    def tried(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sutler", "page", "--no-open", *arguments]
        return subprocess.run(
            command, env=environment(rig), capture_output=True, text=True, timeout=50, check=False
        )

    nobody = tried("--http-socket", str(folder / "none.sock"))
    assert nobody.returncode == 3
    assert "http.enabled" in nobody.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = tried("--port", str(taken.getsockname()[1]))
    assert (busy.returncode, busy.stderr.count("\n")) == (2, 1)
    assert "already in use" in busy.stderr
    assert tried("--port", "70000").returncode == 2


@needs_root
def test_another_user_of_the_machine_is_refused_with_the_address_in_hand(rig: Rig) -> None:
    with shown(rig, "--no-open") as page:
        assert as_user(OTHER_UID, lambda: page.ask(page.target)[0]) == 403
        status, cookie = page.ask(page.target)
        assert status == 303
        assert as_user(OTHER_UID, lambda: page.ask("/", Cookie=cookie)[0]) == 403


@needs_chromium
def test_a_browser_opens_it_and_stays_with_it_through_a_restart(folder: Path, browser: Any) -> None:
    with http_rig(folder) as rig, shown(rig, "--no-open") as page:
        tab = browser.new_page()
        failed: list[str] = []
        tab.on("pageerror", lambda error: failed.append(str(error)))
        tab.goto(page.address)
        tab.wait_for_selector("body[data-live=yes]")
        assert tab.url == f"http://127.0.0.1:{page.port}/", "the token has left the address"
        cookie = tab.context.cookies()[0]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert tab.evaluate("document.cookie") == ""
        rig.daemon.kill()
        tab.wait_for_selector("body[data-live=no]")
        tab.reload()
        assert "cannot be reached" in tab.inner_text("body")
        rig.daemon.start()
        tab.wait_for_selector("body[data-live=yes]")
        assert rig.daemon.stop() == 0
        tab.wait_for_selector("body[data-live=no]")
        rig.daemon.start()
        tab.wait_for_selector("body[data-live=yes]", timeout=50_000)
        assert failed == []
        tab.close()


@needs_chromium
def test_another_sites_page_gets_nothing_out_of_a_browser_that_has_the_cookie(
    rig: Rig, browser: Any
) -> None:
    with shown(rig, "--no-open") as page:
        tab = browser.new_page()
        tab.goto(page.address)
        tab.wait_for_selector("body[data-live=yes]")
        tab.route(
            "http://evil.example/",
            lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"),
        )
        tab.goto("http://evil.example/")
        code = """async port => { try { const told = await fetch(`http://127.0.0.1:${port}/`,
            {credentials: "include"}); return await told.text(); } catch { return "nothing"; } }"""
        assert tab.evaluate(code, page.port) == "nothing"
        tab.evaluate("port => { location = `http://127.0.0.1:${port}/`; }", page.port)
        tab.wait_for_function("document.body && document.body.innerText.includes('not for')")
        tab.close()
