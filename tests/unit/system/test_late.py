"""What is loaded behind READY is not loaded before, and whole for whoever comes first."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEFORE_READY = """
import os, sys
import sutlerd.__main__, sutlerd.lifecycle
from sutlerd.config.loader import load
load(None, {})
late = ("pydantic", "pydantic_core", "sutlerd.pipeline.params", "sutlerd.server.methods",
        "aiohttp", "openai", "anthropic", "jsonschema", "tiktoken", "importlib.metadata")
sys.exit(", ".join(name for name in late if name in sys.modules) or 0)
"""

#: Whoever is first, and all at once.
AT_ONCE = """
import sys, threading
import sutlerd.lifecycle
from sutlerd.domain.errors import InvalidParams
from sutlerd.pipeline import shapes
from sutlerd.server import dispatch
from sutlerd import warm_up

def refused():
    try:
        shapes.parse_messages("complete", {"temperature": 9, "wat": 1})
    except InvalidParams as error:
        assert "temperature" in str(error) and "wat" in str(error), error
    else:
        raise AssertionError("not refused")

jobs = [
    warm_up._load,
    refused,
    lambda: shapes.parse_chat({"prompt": "hi"}).prompt,
    lambda: shapes.parse_run({"name": "a"}).name,
    lambda: dispatch._methods()["hello"].params.model_validate({"protocol": 1}),
]
first = int(sys.argv[1])
jobs = jobs[first:] + jobs[:first]
start, failed = threading.Barrier(len(jobs)), []

def run(job):
    start.wait()
    try:
        job()
    except BaseException as error:
        failed.append(repr(error))

threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
for each in threads:
    each.start()
for each in threads:
    each.join()
sys.exit("; ".join(failed) or 0)
"""


def run(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_what_only_calls_need_is_not_loaded_before_ready() -> None:
    run(BEFORE_READY)


@pytest.mark.parametrize("first", ["0", "3"])
def test_callers_who_come_before_the_warm_up_is_done_find_everything_whole(first: str) -> None:
    run(AT_ONCE, first)
