"""Texts are split into what one request of a provider may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sutlerd.pipeline.embed_batch import portions


@given(
    st.lists(st.text(min_size=1, max_size=40), max_size=30),
    st.integers(1, 7),
    st.none() | st.integers(1, 60),
)
def test_every_text_is_in_one_portion_in_order_and_no_portion_is_over_its_limits(
    texts: list[str], max_texts: int, max_tokens: int | None
) -> None:
    asked = {str(place).encode(): text for place, text in enumerate(texts)}
    split = list(portions(asked, max_texts=max_texts, max_tokens=max_tokens))
    assert [item for portion in split for item in portion.items()] == list(asked.items())
    for portion in split:
        assert 1 <= len(portion) <= max_texts
        tokens = sum(len(text.encode()) // 2 + 1 for text in portion.values())
        assert max_tokens is None or tokens <= max_tokens or len(portion) == 1
