"""Templates from a few lines of YAML, and folders of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sutlerd.prompts.library import Folder, PromptLibrary
from sutlerd.prompts.published import Published
from sutlerd.prompts.reading import read_templates
from sutlerd.prompts.template import Template
from tests.support.event_list import EventList

MakeLibrary = Callable[..., PromptLibrary]


def template(text: str) -> Template:
    """Read the one template of a file's text."""
    sheet = read_templates(text, "t.yaml")
    assert not sheet.problems, sheet.problems
    (only,) = sheet.templates
    return only


def simple(name: str = "greeting", version: str = "1.0", user: str = "Hello") -> str:
    """Write a file that holds one template with no variables."""
    return f"templates:\n  - name: {name}\n    version: {version}\n    user: {user}\n"


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read_templates(text, "t.yaml").problems]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def events() -> EventList:
    return EventList()


@pytest.fixture
def library(state: Path, site: Path, events: EventList, own_uid: int) -> MakeLibrary:
    """Make a library of the site's folder; each has seen nothing but the state folder."""

    def make(*folders: Path) -> PromptLibrary:
        listed = [Folder(path=path) for path in folders or (site,)]
        return PromptLibrary(listed, Published(state, events), events, own_uid=own_uid)

    return make


@pytest.fixture
def own_uid(tmp_path: Path) -> int:
    return tmp_path.stat().st_uid
