"""A bug of the daemon's own costs the request that meets it, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.simulated_world import Wire, World


class _Bug(Exception):
    pass


def _fails(*_: object, **__: object) -> Any:
    raise _Bug("as found by a user")


@pytest.mark.parametrize("where", ["resolve", "start"])
def test_a_request_that_meets_a_bug_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async def scenario(world: World) -> None:
        wire = Wire(world, uid=1)
        before = wire.ask("complete", prompt="before", timeout_s=60)
        with monkeypatch.context() as patch:
            patch.setattr(world.app.hub.pipeline, where, _fails)
            unlucky = wire.ask("complete", prompt="unlucky", timeout_s=60)
        after = wire.ask("complete", prompt="after", timeout_s=60)
        await asyncio.sleep(100)
        ((_, told),) = wire.asked[unlucky].finals
        assert told["error"]["code"] == -32603
        assert "as found by a user" not in told["error"]["message"]
        assert "as found by a user" in str(world.log.named("request_failed")[0]["traceback"])
        for request_id, said in ((before, "to: before"), (after, "to: after")):
            ((_, final),) = wire.asked[request_id].finals
            assert final["result"]["content"] == said

    World(seed=1).live(scenario)


def test_a_bug_in_a_flight_is_told_to_all_who_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        wires = [Wire(world, uid=1) for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(world.transport, "send", _fails)
            for wire in wires:
                wire.ask("complete", prompt="unlucky", timeout_s=60)
            await asyncio.sleep(1)
        for wire in wires:
            ((_, told),) = wire.asked[1].finals
            assert told["error"]["data"]["type"] == "internal_error"
        assert world.app.tasks.failed_count == len(world.log.named("task_failed")) == 1
        # Told, and so forgiven by the check that follows.
        world.app.tasks.failed_count = 0
        world.log.events.clear()

    World(seed=1).live(scenario)
