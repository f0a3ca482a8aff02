"""Voyage's embeddings: its spelling, its limits, its errors."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.usage import Usage
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Verdict
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.transport import Response
from sutlerd.providers.voyage import Voyage, address_for, max_request_tokens

DIALECT = Voyage(provider="voyage")
USUAL = "https://api.voyageai.com/v1"


def build(**fields: Any) -> BuiltRequest:
    return DIALECT.build_embed(EmbedRequest(texts=("a", "b"), **fields), "voyage-4", ModelTraits())


def answered(body: object, status: int = 200) -> Response:
    return Response(status=status, headers={}, body=json.dumps(body).encode())


def test_a_request_asks_for_whole_texts_in_voyage_s_words() -> None:
    built = build(dimensions=512, extra={"input_type": "query"})
    assert built.path == "/embeddings"
    assert built.body == {
        "model": "voyage-4",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "truncation": False,
        "input_type": "query",
        "output_dimension": 512,
    }
    assert "input_type" not in build(extra={"input_type": None}).body


@pytest.mark.parametrize("extra", [{"truncation": True}, {"output_dtype": "int8"}])
def test_what_would_change_the_vectors_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams, match=r"params\.extra"):
        build(extra=extra)
    with pytest.raises(InvalidParams, match="query, document or null"):
        build(extra={"input_type": "poem"})


def test_chat_is_refused_and_those_who_have_it_are_named() -> None:
    request = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=1)
    with pytest.raises(InvalidParams, match=r"embeddings only.*anthropic"):
        DIALECT.build_chat(request, "voyage-4", ModelTraits())


@pytest.mark.fault("P24")
def test_vectors_are_put_in_order_and_counted() -> None:
    vectors = [struct.pack("<2f", 1, 0), struct.pack("<2f", 0, 1)]
    data = [
        {"index": index, "embedding": base64.b64encode(vectors[index]).decode()} for index in (1, 0)
    ]
    body = {"data": data, "model": "voyage-4", "usage": {"total_tokens": 7}}
    got = DIALECT.read_embed(build(), answered(body))
    assert got.vectors == tuple(vectors)
    assert got.usage == Usage(tokens_in=7, tokens_out=0)
    with pytest.raises(AttemptFailed, match="1 vectors for 2 texts"):
        DIALECT.read_embed(build(), answered({**body, "data": data[:1]}))
    with pytest.raises(AttemptFailed, match="where 256 were asked for"):
        DIALECT.read_embed(build(dimensions=256), answered(body))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(400, Verdict.REFUSED), (401, Verdict.CLOSED), (429, Verdict.RETRY), (502, Verdict.RETRY)],
)
def test_errors_are_told_in_voyage_s_own_words(status: int, verdict: Verdict) -> None:
    with pytest.raises(AttemptFailed, match="some words") as raised:
        DIALECT.read_embed(build(), answered({"detail": "some words"}, status))
    assert raised.value.verdict is verdict


def test_limits_and_addresses_follow_model_and_key() -> None:
    limits = {name: max_request_tokens(name) for name in ("voyage-4", "voyage-4-large")}
    assert limits == {"voyage-4": 320_000, "voyage-4-large": 120_000}
    assert max_request_tokens("voyage-3.5-lite") == 1_000_000
    assert max_request_tokens("voyage-code-3") == 120_000
    assert address_for("al-x", USUAL, USUAL) == "https://ai.mongodb.com/v1"
    assert address_for("pa-x", USUAL, USUAL) == USUAL
    assert address_for("al-x", "http://proxy", USUAL) == "http://proxy"
