"""The bound of a prompt is never below what is counted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.ledger.prompt_bound import tokens_in_at_most


def body(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": c} for c in content], **fields}


@given(st.text())
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    bound = tokens_in_at_most(body(text))
    assert bound >= len(text.encode(errors="surrogatepass")) + 8


def test_a_picture_counts_by_itself_whatever_its_bytes() -> None:
    one = {"type": "image_url", "image_url": {"url": "https://h/x.png"}}
    large = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**7}}
    assert tokens_in_at_most(body([one])) == tokens_in_at_most(body([large]))
    two = tokens_in_at_most(body([one, one])) - tokens_in_at_most(body([one]))
    assert two >= 40_000


def test_a_file_counts_by_its_bytes_and_no_less_than_a_picture() -> None:
    def bound(size_bytes: int) -> int:
        return tokens_in_at_most(body([{"type": "file", "file": {"file_data": "A" * size_bytes}}]))

    assert bound(1) >= 40_000
    assert bound(100_000) >= 100_000


@pytest.mark.parametrize("more", [{"tools": [{"name": "f"}]}, {"system": "be kind"}])
def test_whatever_is_sent_is_counted(more: dict[str, Any]) -> None:
    assert tokens_in_at_most(body("x", **more)) > tokens_in_at_most(body("x"))
