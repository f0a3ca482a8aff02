"""Who shares a batch of texts under an id is noted once, and no more of them than it can hold."""

from __future__ import annotations

import pytest

from sutlerd.domain.errors import Overloaded
from sutlerd.domain.record import record
from sutlerd.pipeline import embed_batch
from sutlerd.pipeline.embed_batch import Batch, share


@record
class Asker:
    uid: int
    request_id: str


async def test_a_request_that_comes_again_is_noted_once_and_another_users_equal_id_too() -> None:
    batch = Batch({b"k": "text"}, None, {})
    for uid in (1000, 1001, 1000):
        for _ in range(3):
            share([batch], Asker(uid=uid, request_id="same"))
    assert [each.uid for each in batch.askers] == [1000, 1001]


async def test_no_more_requests_are_noted_than_a_batch_can_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embed_batch, "MAX_IDS_A_FLIGHT", 2)
    full, roomy = Batch({b"a": "a"}, None, {}), Batch({b"b": "b"}, None, {})
    for name in ("one", "two"):
        share([full], Asker(uid=1000, request_id=name))
    with pytest.raises(Overloaded):
        share([roomy, full], Asker(uid=1000, request_id="three"))
    assert not roomy.askers, "who is refused shares nothing"
    share([roomy, full], Asker(uid=1000, request_id="two"))
    assert (len(full.askers), len(roomy.askers)) == (2, 1)
