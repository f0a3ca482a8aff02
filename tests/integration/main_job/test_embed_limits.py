"""Too much to embed is refused before anything is spent, and holds nobody up."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.contract.scripted import ScriptedProvider
from tests.support.daemon_process import DaemonProcess

pytestmark = pytest.mark.fault("C20")


def refusal(daemon: DaemonProcess, **params: Any) -> str:
    error = daemon.ask("embed", **params)["error"]
    assert error["data"]["type"] == "invalid_params"
    message: str = error["message"]
    return message


def test_more_texts_than_one_reply_can_hold_are_refused_with_how_many_fit(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    said = refusal(daemon, texts=["x"] * 100_000, dimensions=1024)
    assert "100000 texts do not fit" in said
    assert "base64" in said
    assert not provider.requests


def test_how_many_fit_depends_on_dimension_and_encoding(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    floats = refusal(daemon, texts=["x"] * 2048, dimensions=3072)
    packed = refusal(daemon, texts=["x"] * 2048, dimensions=3072, encoding_format="base64")
    fitting = [int(said.split(";")[1].split()[0]) for said in (floats, packed)]
    assert 0 < fitting[0] < fitting[1] < 2048
    assert not provider.requests


def test_a_text_longer_than_any_model_takes_is_named_by_its_place(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    said = refusal(daemon, texts=["fine", "x" * (15 * 1024 * 1024)])
    assert said.startswith("params.texts[1]: longer than")
    assert not provider.requests


def test_empty_texts_are_named_by_their_places(
    daemon: DaemonProcess, provider: ScriptedProvider
) -> None:
    assert "params.texts[0, 2]: must not be empty" in refusal(daemon, texts=["", "a", ""])
    assert not provider.requests


def test_hits_are_answered_while_thousands_of_texts_are_being_keyed(daemon: DaemonProcess) -> None:
    daemon.result("complete", prompt="a hit")
    texts = [f"text {number}" for number in range(5_000)]
    results: list[dict[str, Any]] = []

    def embed() -> None:
        results.append(daemon.result("embed", texts=texts, dimensions=2, encoding_format="base64"))

    embedding = threading.Thread(target=embed)
    embedding.start()
    hits = 0
    while embedding.is_alive():
        assert daemon.result("complete", prompt="a hit")["cached"]
        hits += 1
    embedding.join()
    assert hits > 1
    assert len(results[0]["embeddings"]) == len(texts)
    assert daemon.result("status")["process"]["loop_stalls"] == 0
