"""The status page in a real browser: what it shows, what it asks for, how it looks."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.answers import http_answer
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig, new_token, over_tcp, over_unix, port_of

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
#: Where screenshots are kept, if anywhere.
ARTEFACTS = os.environ.get("SUTLER_ARTEFACTS")
LLM = {
    "rate_limits": {"scripted": {"requests_per_minute": 600, "tokens_per_minute": 100_000}},
    "budget": {"enabled": True, "daily_limit_usd": 5},
    "prices": {"test-model": {"input_usd": 1, "output_usd": 2}},
}


@pytest.fixture(scope="module")
def rig(module_folder: Path) -> Iterator[Rig]:
    with http_rig(module_folder, llm=LLM) as running:
        running.answers["refused"] = http_answer({"error": {"message": "no"}}, status=400)
        for number in range(6):
            running.daemon.result("chat", prompt=f"question {number % 3}", temperature=0)
        running.daemon.ask("chat", prompt="refused")
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def _address(rig: Rig) -> str:
    return f"http://127.0.0.1:{port_of(rig.daemon)}"


@needs_chromium
def test_the_page_is_live_asks_nobody_else_and_reports_no_error(rig: Rig, browser: Any) -> None:
    page = browser.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{_address(rig)}/?token={new_token(rig.daemon)}")
    page.wait_for_selector("body[data-live=yes]")
    assert page.url == f"{_address(rig)}/", "the token has left the address"
    assert "$5.00" in page.inner_text("#money") or "$4.9" in page.inner_text("#money")
    assert "running" in page.inner_text("#state")
    assert re.search(r"scripted\s+well", page.inner_text("#providers"))
    assert "provider error" in page.inner_text("#errors")
    assert "tokens" in page.inner_text("#buckets")
    fresh = page.inner_text("#answers")
    rig.daemon.result("chat", prompt="one more that nobody asked", temperature=0)
    page.wait_for_function(
        "before => document.querySelector('#answers').innerText !== before", arg=fresh
    )
    assert all(url.startswith(_address(rig)) for url in asked)
    assert said == []
    page.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("phone", 390, 844), ("wide", 1600, 900)])
def test_nothing_is_cut_or_pushed_aside_on_a_phone_or_a_projector(
    rig: Rig, browser: Any, tmp_path: Path, scheme: str, name: str, width: int, height: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(f"{_address(rig)}/?token={new_token(rig.daemon)}")
    page.wait_for_selector("body[data-live=yes]")
    page.wait_for_selector("#calls text")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in re.findall(r"\d+", background)[:3])
    assert (brightness < 200) == (scheme == "dark")
    kept = Path(ARTEFACTS) if ARTEFACTS else tmp_path
    picture = page.screenshot(path=kept / f"page-{name}-{scheme}.png", full_page=True)
    assert picture.startswith(b"\x89PNG")
    page.close()


def test_without_a_token_the_port_shows_nothing(rig: Rig) -> None:
    assert over_tcp(rig.daemon, "GET", "/").status == 401
    assert over_tcp(rig.daemon, "GET", "/?token=wrong").status == 401
    assert over_tcp(rig.daemon, "GET", "/", headers={"Cookie": "sutler_token=wrong"}).status == 401


def test_a_cookie_opens_the_page_and_no_door_that_costs(rig: Rig) -> None:
    cookie = {"Cookie": f"theme=dark; sutler_token={new_token(rig.daemon)}"}
    assert over_tcp(rig.daemon, "GET", "/", headers=cookie).status == 200
    body = {"model": "test-model", "messages": [{"role": "user", "content": "x"}]}
    refused = over_tcp(rig.daemon, "POST", "/v1/chat/completions", body, headers=cookie)
    assert refused.status == 401


def test_the_page_runs_its_own_script_and_no_other(rig: Rig) -> None:
    page = over_unix(rig.daemon, "GET", "/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert not re.search(rb"(?:src|href)=\"(?!data:)", page.body), "one file, nothing fetched"
