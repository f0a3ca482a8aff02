"""A site's prompt folder, a scripted provider, and a daemon in front of both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.answers import Answer, openai_chat
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import CONFIG, temporary_folder
from tests.support.daemon_process import DaemonProcess

SITE = """\
templates:
  - name: weather
    version: "{version}"
    description: ask for the weather
    variables:
      place: {{description: where}}
      unit: {{default: celsius}}
    system: "You know the weather. {text}"
    examples:
      - {{user: "Rome, {{{{unit}}}}", assistant: "warm"}}
    user: "The weather in {{{{place}}}}?"
    schema: {{type: object, properties: {{sky: {{type: string}}}}, required: [sky]}}
    defaults: {{temperature: 0, max_tokens: 77, model_class: small, lane: background}}
"""


def write_site(site: Path, version: str, text: str) -> None:
    path = site / "weather.yaml"
    path.write_text(SITE.format(version=version, text=text))
    path.chmod(0o600)


def until_it_says(daemon: DaemonProcess, text: str) -> dict[str, Any]:
    """Wait until the template is served with this text."""
    until_s = time.monotonic() + 20
    while True:
        (shown,) = daemon.result("prompts.list", name="weather", full=True)["templates"]
        if text in shown["system"]:
            found: dict[str, Any] = shown
            return found
        assert time.monotonic() < until_s, shown
        time.sleep(0.05)


def answer(request: Received) -> Answer:
    return openai_chat('{"sky": "clear"}')


folder = pytest.fixture(temporary_folder, scope="module", name="folder")


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider.in_thread(always=answer) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def site(folder: Path) -> Path:
    site = folder / "site"
    site.mkdir(mode=0o700)
    return site


@pytest.fixture(scope="module")
def daemon(provider: ScriptedProvider, folder: Path, site: Path) -> Iterator[DaemonProcess]:
    write_site(site, "1.0", "Be brief.")
    llm = "aliases: {small: scripted/test-model}"
    config = CONFIG.format(base_url=provider.base_url, llm=llm)
    config += f"prompts:\n  folders: [{site}]\n"
    with DaemonProcess(folder / "d", config=config) as running:
        yield running
