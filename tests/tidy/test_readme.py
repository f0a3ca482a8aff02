"""Every snippet of the README is run as it stands there, against a real daemon and model.

``python`` blocks run by themselves, ``sh`` blocks in one bash each, ``yaml`` blocks are loaded
as configurations or, where they begin with ``templates:``, as prompt files. A block that cannot
run in a test says why, in a comment before it: ``<!-- not run: why -->``. Other tags (``text``,
``json``) are for reading.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.tidy.sources import ROOT

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?```(?P<tag>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
READABLE = {"text", "json"}
#: Options of pip's.
FOREIGN_OPTIONS = {"--bind", "--no-deps", "--ntasks-per-node", "--overlap"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    line: int
    tag: str
    code: str
    why_not_run: str | None

    def __str__(self) -> str:
        return f"{self.tag}-line-{self.line}"


def _snippets() -> list[Snippet]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [
        Snippet(
            line=text.count("\n", 0, found.start("code")) + 1,
            tag=found["tag"],
            code=found["code"],
            why_not_run=found["why"],
        )
        for found in FENCE.finditer(text)
    ]


def _to_run(*tags: str) -> list[Snippet]:
    return [each for each in _snippets() if each.tag in tags and each.why_not_run is None]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("readme")) as running:
        yield running


def test_every_block_has_a_tag_that_says_what_becomes_of_it() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(_snippets()), "a fence without a tag, or not closed"
    assert {each.tag for each in _snippets()} <= {"python", "sh", "yaml"} | READABLE


def test_the_methods_listed_are_the_methods_there_are() -> None:
    from sutlerd.server.methods import METHODS
    from sutlerd.server.requests import REPLY_METHODS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| method |") :].split("\n\n")[0]
    listed = re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)
    assert sorted(listed) == sorted([*METHODS, *REPLY_METHODS])


def test_every_option_named_is_one_that_a_command_takes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - FOREIGN_OPTIONS
    known: set[str] = set()
    for command in (
        ["sutlerd"],
        ["sutlerd", "install"],
        ["sutler"],
        ["sutler", "chat"],
        ["sutler", "usage"],
        ["sutler", "report"],
        ["sutler", "budget"],
        ["sutler", "map"],
        ["sutler", "cache"],
        ["sutler", "run"],
        ["sutler", "page"],
        ["sutler", "top"],
    ):
        said = subprocess.run(
            [Path(sys.executable).parent / command[0], *command[1:], "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        known |= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", said.stdout))
    assert named <= known


@pytest.mark.timeout(120)
@pytest.mark.parametrize("snippet", _to_run("python", "sh"), ids=str)
def test_the_snippet_runs_as_it_stands(
    snippet: Snippet, daemon: DaemonProcess, tmp_path: Path
) -> None:
    if "socat" in snippet.code and shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    environ = {
        **os.environ,
        "SUTLER_SOCKET": str(daemon.socket),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shell = ["bash", "-euo", "pipefail", "-c"] if snippet.tag == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*shell, snippet.code],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"README.md:{snippet.line}\n{done.stdout}{done.stderr}"


def _is_prompt_file(snippet: Snippet) -> bool:
    return snippet.code.startswith("templates:")


@pytest.mark.parametrize(
    "snippet", [each for each in _to_run("yaml") if _is_prompt_file(each)], ids=str
)
def test_the_prompt_file_is_read(snippet: Snippet) -> None:
    from sutlerd.prompts.reading import read_templates

    sheet = read_templates(snippet.code, "README.md")
    assert sheet.templates, sheet.problems


@pytest.mark.parametrize(
    "snippet", [each for each in _to_run("yaml") if not _is_prompt_file(each)], ids=str
)
def test_the_configuration_loads(snippet: Snippet, tmp_path: Path) -> None:
    from sutlerd.config.loader import load

    path = tmp_path / "sutler.yaml"
    path.write_text(snippet.code)
    load(path, {})
