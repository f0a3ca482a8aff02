"""``embed`` with more than can be: refused before anything is spent, and never cut in silence."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract import answers
from tests.integration.faults.rig import DIMENSION, Rig, held, serving

MIB = 1 << 20


def _refused(rig: Rig, **params: Any) -> str:
    asked = len(rig.provider.requests)
    error = rig.daemon.ask("embed", **params)["error"]
    assert error["data"]["type"] == "invalid_params"
    assert len(rig.provider.requests) == asked
    message: str = error["message"]
    return message


@pytest.mark.fault("C20")
def test_what_cannot_be_embedded_or_answered_is_refused_with_the_reason(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        many = [f"text {number}" for number in range(100_000)]
        assert "100000 texts do not fit into one reply" in _refused(rig, texts=many)
        long = ["short", "x" * (15 * MIB), "short"]
        assert "params.texts[1]: longer than" in _refused(rig, texts=long)
        assert "params.texts[0, 2]: must not be empty" in _refused(rig, texts=["", "a", ""])
        wide = [f"text {number}" for number in range(2_048)]
        message = _refused(rig, texts=wide, dimensions=3_072)
        fitting = int(message.split(" do, with 3072 dimensions")[0].split()[-1])
        assert 0 < fitting < 2_048
        assert "ask for base64" in message
        assert "params.texts" in _refused(rig, texts=[])
        assert "params.texts" in _refused(rig, texts=["a", 5])
        assert "params.extra.model" in _refused(rig, texts=["a"], extra={"model": "dearer"})


@pytest.mark.fault("C20")
def test_thousands_of_texts_are_bought_in_batches_while_hits_go_on(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client, rig.client() as other:
        texts = [f"text {number}" + "." * (number % 7) for number in range(20_000)]
        replies: list[dict[str, Any]] = []
        embedding = threading.Thread(
            target=lambda: replies.append(client.result("embed", texts=texts))
        )
        embedding.start()
        hits = 0
        while embedding.is_alive():
            assert other.result("chat", prompt="the probe: asked before")["cached"] is True
            hits += 1
        embedding.join()
        vectors = replies[0]["embeddings"]
        assert [vector[0] for vector in vectors] == [float(len(text)) for text in texts]
        assert replies[0]["cached"] == 0
        assert hits > 0
        assert rig.status()["process"]["loop_stalls"] == 0
        # All are kept, though the store takes them only so fast.
        while rig.status()["process"]["texts_under_way"]:
            time.sleep(0.01)
        again = client.result("embed", texts=texts[::-1], encoding_format="base64")
        assert again["cached"] == len(texts)
        assert rig.status()["cache"]["dropped_writes"] == 0


@pytest.mark.fault("C20")
def test_a_client_that_leaves_in_the_middle_of_many_texts_ends_their_buying(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig:
        with rig.client() as client:
            client.send("embed", texts=[f"left alone {number}" for number in range(5_000)])
            rig.wait_until_asked("left alone")
        assert rig.daemon.result("embed", texts=["one"])["dimension"] == 8


def test_texts_opened_read_only_are_stored_for_who_joins_and_lets_them_be(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        vectors = answers.openai_embeddings([[1.0] * DIMENSION], model="test-embed")
        rig.answers["joined text"] = held("gate", vectors)
        client.send("embed", texts=["joined text"], cache="read_only", as_id="opens")
        rig.wait_until_asked("joined text")
        client.send("embed", texts=["joined text"], as_id="joins")
        client.result("ping")  # read in order: the second has joined by now
        rig.provider.open("gate")
        assert {client.line()["id"] for _ in range(2)} == {"opens", "joins"}
        assert client.result("embed", texts=["joined text"], cache="only")["cached"] == 1
        assert rig.asked("joined text") == 1
