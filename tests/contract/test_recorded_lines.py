"""Lines that released versions have spoken are answered as they were then.

``tests/data/wire`` has a file for each version: what was sent, and what came back. A newer
daemon may say more; what it said before, it still says, and still means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sutler
from tests.contract import answers
from tests.integration.faults.rig import Rig, serving
from tests.support.wire_client import Line

RECORDED = sorted((Path(__file__).parents[1] / "data" / "wire").glob("*.jsonl"))
#: Of these the value counts, of all others only that they are there, and of which kind.
_MEANT = frozenset(
    {
        "cached",
        "cancelled",
        "code",
        "content",
        "default",
        "delta",
        "dimension",
        "embeddings",
        "finish_reason",
        "id",
        "jsonrpc",
        "method",
        "model",
        "protocol",
        "provider",
        "retryable",
        "state",
        "type",
    }
)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with serving(tmp_path_factory.mktemp("recorded")) as rig:
        rig.answers["openai spellings"] = answers.openai_chat('{"a": 1}')
        yield rig
        rig.daemon.result("chat", prompt="the probe: asked before")


@pytest.mark.fault("O7")
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_what_an_older_client_says_is_answered_as_before(rig: Rig, recorded: Path) -> None:
    with rig.client() as client:
        for text in recorded.read_text().splitlines():
            exchange = json.loads(text)
            client.send_raw(exchange["line"].encode() + b"\n")
            for then in exchange["replies"]:
                _keeps(then, client.line(), exchange["line"])


def _keeps(then: Any, now: Any, where: str) -> None:
    if isinstance(then, dict):
        assert isinstance(now, dict), where
        for name, value in then.items():
            assert name in now, f"{where}: {name} is gone"
            if name in _MEANT and not isinstance(value, (dict, list)) and "count" not in where:
                assert now[name] == value, f"{where}: {name}"
            else:
                _keeps(value, now[name], f"{where}: {name}")
    elif isinstance(then, list):
        assert isinstance(now, list), where
        for older, newer in zip(then, now, strict=False):
            _keeps(older, newer, where)
    elif isinstance(then, bool) or isinstance(now, bool):
        assert type(then) is type(now), where
    elif then is not None and now is not None:
        both = (int, float) if isinstance(then, (int, float)) else type(then)
        assert isinstance(now, both), where


@pytest.mark.fault("O7")
def test_a_client_that_speaks_a_protocol_to_come_is_told_what_is_spoken(rig: Rig) -> None:
    with rig.client() as client:
        said = client.result("hello", client="sutler", version="9.0.0", protocol=99)
        assert said["protocol"] == 1
        assert said["version"]
        assert {"complete", "chat", "embed"} <= set(said["methods"])


@pytest.mark.fault("O7")
def test_a_parameter_to_come_is_refused_by_its_name(rig: Rig) -> None:
    with rig.client() as client:
        for method in ("chat", "complete", "embed", "hello", "status"):
            error: Line = client.ask(method, prompt="x", texts=["x"], of_a_later_version=True)
            assert error["error"]["data"]["type"] == "invalid_params"
            assert "params.of_a_later_version" in error["error"]["message"]


@pytest.mark.fault("O7")
def test_the_library_of_today_understands_what_was_recorded(rig: Rig) -> None:
    with sutler.Client(str(rig.daemon.socket)) as client:
        assert client.chat("What is 2 + 2?") == "to: What is 2 + 2?"
        assert client.embed(["one"]).dimension == 8
