from __future__ import annotations

import gc

from sutlerd.config.schema_llm import FairnessConfig
from sutlerd.domain.caller import Caller
from sutlerd.pipeline.places import MOST_KNOWN, Asker, Places


def callers() -> int:
    return sum(isinstance(each, Caller) for each in gc.get_objects())


def test_connections_that_are_gone_are_not_all_remembered() -> None:
    places, before = Places(FairnessConfig()), callers()
    for pid in range(3 * MOST_KNOWN):
        caller = Caller(uid=1, gid=1, pid=pid, groups=frozenset({pid}))
        path = places.of(Asker(caller=caller, lane="normal"))
        assert places.of(Asker(caller=caller, lane="normal")) is path
    assert callers() - before <= MOST_KNOWN
