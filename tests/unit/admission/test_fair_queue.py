from __future__ import annotations

import weakref
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sutlerd.admission.fair_queue import MAX_IDLE, FairQueue, Step, Waiting


def path(*names: object) -> list[Step]:
    return [Step(name) for name in names]


def test_one_leaf_is_first_in_first_out() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(5):
        queue.push(number, path=path("a"), cost=5 - number)
    assert [queue.pop().item for _ in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.fault("R6")
def test_a_caller_with_one_waiting_call_does_not_wait_behind_a_thousand() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.push("big", path=path("big", number), cost=1.0)
    for _ in range(10):
        queue.pop()
    queue.push("small", path=path("small", 0), cost=1.0)
    assert "small" in [queue.pop().item for _ in range(2)]


@pytest.mark.fault("R6")
@given(st.integers(1, 50), st.lists(st.integers(1, 100), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_backlogged_callers_share_by_cost_and_not_by_calls(seed: int, costs: list[int]) -> None:
    queue: FairQueue[int] = FairQueue()
    for caller, cost in enumerate(costs):
        for number in range(20 * max(costs) // cost):
            queue.push(caller, path=path(caller, number % (seed % 7 + 1)), cost=float(cost))
    served: Counter[int] = Counter()
    for _ in range(sum(10 * max(costs) // cost for cost in costs)):
        place = queue.pop()
        served[place.item] += int(place.cost)
    shares = [served[caller] for caller in range(len(costs))]
    assert max(shares) - min(shares) <= 2 * max(costs)


def test_shares_follow_the_weights() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(400):
        queue.push("heavy", path=[Step("heavy", 3.0)], cost=1.0)
        queue.push("light", path=[Step("light", 1.0)], cost=1.0)
    served = Counter(queue.pop().item for _ in range(400))
    assert served["heavy"] == pytest.approx(300, abs=2)


def test_who_was_idle_has_saved_up_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.push("busy", path=path("busy"), cost=1.0)
    for _ in range(50):
        queue.pop()
    for _ in range(50):
        queue.push("back", path=path("back"), cost=1.0)
    served = Counter(queue.pop().item for _ in range(40))
    assert abs(served["busy"] - served["back"]) <= 2


def test_who_leaves_before_its_turn_costs_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    leaving = [queue.push("a", path=path("a"), cost=100.0) for _ in range(5)]
    queue.push("b", path=path("b"), cost=1.0)
    for place in leaving:
        queue.remove(place)
    queue.push("a2", path=path("a"), cost=1.0)
    assert {queue.pop().item, queue.pop().item} == {"b", "a2"}
    assert queue.head() is None


def test_a_call_that_did_not_wait_counts_too() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.served(path("a"), 10.0)
    for _ in range(20):
        queue.push("a", path=path("a"), cost=1.0)
        queue.push("b", path=path("b"), cost=1.0)
    served = [queue.pop().item for _ in range(10)]
    assert served.count("b") >= 9


class Named:
    """A caller's name or an item, which a test can see being forgotten."""


def test_callers_that_come_once_and_pass_at_once_are_not_kept_for_ever() -> None:
    queue: FairQueue[str] = FairQueue()
    known: weakref.WeakSet[Named] = weakref.WeakSet()
    debtor = path("debtor", "job", 1)
    queue.served(debtor, 1e6)
    for _ in range(3 * MAX_IDLE):
        name = Named()
        known.add(name)
        queue.served(path("uid", "job", name), 1.0)
    assert len(known) <= MAX_IDLE
    # What a uid was served, whoever of it has gone, still counts.
    queue.push("debtor", path=debtor, cost=1.0)
    for _ in range(20):
        queue.push("other", path=path("other", "job", 1), cost=1.0)
    assert [queue.pop().item for _ in range(20)] == ["other"] * 20


def test_many_that_wait_at_once_are_kept_however_many_names_they_have() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(3 * MAX_IDLE):
        queue.push(number, path=path("uid", number), cost=1.0)
    assert sorted(queue.pop().item for _ in range(3 * MAX_IDLE)) == list(range(3 * MAX_IDLE))


@pytest.mark.parametrize("is_behind", [False, True], ids=["alone", "behind another"])
@pytest.mark.parametrize("is_same", [False, True], ids=["each a caller", "one caller"])
def test_who_leaves_before_its_turn_is_forgotten(is_behind: bool, is_same: bool) -> None:
    queue: FairQueue[Named] = FairQueue()
    known: weakref.WeakSet[Named] = weakref.WeakSet()
    same, first = Named(), Named()
    if is_behind:
        queue.push(first, path=path("uid", same), cost=1.0)
    for _ in range(1000):
        item, name = Named(), same if is_same else Named()
        known |= {item, name}
        queue.remove(queue.push(item, path=path("uid", name), cost=1.0))
    del item, name
    known.discard(same)
    assert len(known) < 50
    assert len(queue) == int(is_behind)
    if is_behind:
        assert queue.pop().item is first


class QueueMachine(RuleBasedStateMachine):
    """Everyone pushed is served or has left, once; nobody who waits is passed over for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.places: dict[int, Waiting[int]] = {}
        self.number = 0

    @rule(uid=st.integers(0, 3), job=st.integers(0, 2), cost=st.floats(0.01, 100))
    def push(self, uid: int, job: int, cost: float) -> None:
        self.number += 1
        self.places[self.number] = self.queue.push(self.number, path=path(uid, job), cost=cost)

    @precondition(lambda self: self.places)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.places)))
        self.queue.remove(self.places.pop(number))

    @precondition(lambda self: self.places)
    @rule()
    def serve(self) -> None:
        head = self.queue.head()
        assert head is not None
        place = self.queue.pop()
        assert place is head
        same_leaf = [number for number, other in self.places.items() if other.path == place.path]
        assert place.item == min(same_leaf)
        del self.places[place.item]

    @invariant()
    def those_who_wait_are_those_who_came_and_did_not_leave(self) -> None:
        assert len(self.queue) == len(self.places)
        assert sorted(place.item for place in self.queue) == sorted(self.places)

    def teardown(self) -> None:
        while self.places:
            self.serve()
        assert self.queue.head() is None


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
