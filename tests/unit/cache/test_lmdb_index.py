"""The rows of the LMDB cache against a model: recency, terms, scopes, totals."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sutlerd.cache.lmdb_index import DATABASES, Index, NotOurs

KEYS = [bytes([number]) for number in range(8)]
SCOPES = ["uid:1", "uid:2", "idem:1"]


def open_index(folder: Path) -> tuple[lmdb.Environment, Index]:
    env = lmdb.open(str(folder), map_size=1 << 20, max_dbs=len(DATABASES), sync=False)
    index = Index(env, map_bytes=1 << 20)
    with env.begin(write=True) as txn:
        index.start(txn)
    return env, index


def no_hits(key: bytes) -> None:
    return None


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[lmdb.Environment, Index]]:
    env, index = open_index(tmp_path)
    yield env, index
    env.close()


class AgainstTheModel(RuleBasedStateMachine):
    """The model is a dict from key to (tick, scope, expiry, record)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.env, self.index = open_index(self.folder)
        self.tick = 0
        self.model: dict[bytes, tuple[int, str, float, bytes]] = {}
        self.unwritten_hits: dict[bytes, int] = {}

    def teardown(self) -> None:
        self.env.close()
        shutil.rmtree(self.folder)

    def next_tick(self) -> int:
        self.tick += 1
        return self.tick

    @rule(
        key=st.sampled_from(KEYS),
        scope=st.sampled_from(SCOPES),
        expires_unix_s=st.integers(1, 40),
        size_bytes=st.integers(1, 6000),
    )
    def put(self, key: bytes, scope: str, expires_unix_s: int, size_bytes: int) -> None:
        record, tick = b"r" * size_bytes, self.next_tick()
        with self.env.begin(write=True) as txn:
            self.index.put(txn, key, record, scope, float(expires_unix_s), tick)
            self.index.scopes.seal(txn)
        self.model[key] = (tick, scope, float(expires_unix_s), record)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def hit(self, data: st.DataObject) -> None:
        # The least recently used one is the one that a hit makes a difference to.
        oldest = sorted(self.model, key=self.used_at)
        self.unwritten_hits[oldest[data.draw(st.integers(0, len(oldest) - 1))]] = self.next_tick()

    @rule()
    def write_hits(self) -> None:
        with self.env.begin(write=True) as txn:
            self.index.touch(txn, self.unwritten_hits.items())
        self.apply_hits()

    def apply_hits(self) -> None:
        for key, tick in self.unwritten_hits.items():
            if key in self.model and tick > self.model[key][0]:
                self.model[key] = (tick, *self.model[key][1:])
        self.unwritten_hits.clear()

    def used_at(self, key: bytes) -> int:
        return max(self.model[key][0], self.unwritten_hits.get(key, self.model[key][0]))

    @rule(count=st.integers(1, 2))
    def evict(self, count: int) -> None:
        with self.env.begin(write=True) as txn:
            removed = self.index.evict(txn, count, self.unwritten_hits.get)
            self.index.scopes.seal(txn)
        oldest = sorted(self.model, key=self.used_at)[:count]
        assert removed == len(oldest)
        for key in oldest:
            del self.model[key]

    @rule(now_unix_s=st.integers(0, 12), limit=st.integers(1, 5))
    def sweep(self, now_unix_s: int, limit: int) -> None:
        with self.env.begin(write=True) as txn:
            removed = self.index.sweep(txn, float(now_unix_s), limit)
            self.index.scopes.seal(txn)
        expired = [key for key, row in self.model.items() if row[2] <= now_unix_s]
        assert removed == min(limit, len(expired))
        for key in expired:
            if not self.is_stored(key):
                del self.model[key]

    @rule(scope=st.sampled_from(SCOPES), limit=st.integers(1, 4))
    def clear(self, scope: str, limit: int) -> None:
        removed, after = 0, b""
        while True:
            with self.env.begin(write=True) as txn:
                count, ended = self.index.clear(
                    txn, scope, limit, before_tick=self.tick + 1, after=after
                )
                self.index.scopes.seal(txn)
            removed += count
            if ended is None:
                break
            after = ended
        own = [key for key, row in self.model.items() if row[1] == scope]
        assert removed == len(own)
        for key in own:
            del self.model[key]

    @rule()
    def open_again(self) -> None:
        self.env.close()
        self.env, self.index = open_index(self.folder)
        self.apply_none()

    def apply_none(self) -> None:
        # Hits that nobody wrote are lost with the process, and ticks begin anew above all
        # that are stored: the model keeps the order and forgets the numbers.
        self.unwritten_hits.clear()
        order = sorted(self.model, key=lambda key: self.model[key][0])
        for place, key in enumerate(order):
            self.model[key] = (place - len(order), *self.model[key][1:])
        self.tick = 0

    def is_stored(self, key: bytes) -> bool:
        with self.env.begin(self.index.entries) as txn:
            return txn.get(key) is not None

    @invariant()
    def what_is_stored_is_the_models(self) -> None:
        with self.env.begin(self.index.entries) as txn:
            stored = dict(txn.cursor())
        assert stored == {key: row[3] for key, row in self.model.items()}

    @invariant()
    def totals_are_the_models(self) -> None:
        expected: dict[str, tuple[int, int]] = {}
        for _, scope, _, record in self.model.values():
            entries, size_bytes = expected.get(scope, (0, 0))
            expected[scope] = (entries + 1, size_bytes + len(record))
        assert {scope: self.index.scopes.sum_of(scope) for scope in SCOPES} == {
            scope: expected.get(scope, (0, 0)) for scope in SCOPES
        }
        assert set(self.index.scopes.totals) == set(expected)

    @invariant()
    def every_entry_has_one_row_in_each_index(self) -> None:
        with self.env.begin() as txn:
            names = (b"index", b"recency", b"terms")
            counts = {txn.stat(self.env.open_db(name, txn=txn))["entries"] for name in names}
        assert counts == {len(self.model)}


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=50)


def test_a_hit_that_is_not_written_yet_saves_an_entry_from_eviction(
    opened: tuple[lmdb.Environment, Index],
) -> None:
    env, index = opened
    with env.begin(write=True) as txn:
        for tick, key in enumerate(KEYS):
            index.put(txn, key, b"record", "uid:1", 1e10, tick)
        hits = {KEYS[0]: 100, KEYS[2]: 50}
        assert index.evict(txn, len(KEYS) - 2, hits.get) == len(KEYS) - 2
        assert [key for key, _ in txn.cursor(index.entries)] == [KEYS[0], KEYS[2]]
        assert index.evict(txn, 1, no_hits) == 1
        assert [key for key, _ in txn.cursor(index.entries)] == [KEYS[0]]


def test_a_sweep_takes_what_expires_now_and_leaves_what_expires_later(
    opened: tuple[lmdb.Environment, Index],
) -> None:
    env, index = opened
    with env.begin(write=True) as txn:
        index.put(txn, KEYS[0], b"record", "uid:1", 100.0, 1)
        index.put(txn, KEYS[1], b"record", "uid:2", 100.5, 2)
        assert index.sweep(txn, 99.999, 10) == 0
        assert index.sweep(txn, 100.0, 10) == 1
        assert [key for key, _ in txn.cursor(index.entries)] == [KEYS[1]]


def test_clearing_leaves_what_was_put_since(opened: tuple[lmdb.Environment, Index]) -> None:
    env, index = opened
    with env.begin(write=True) as txn:
        index.put(txn, KEYS[0], b"record", "uid:1", 1e10, 1)
        index.put(txn, KEYS[1], b"record", "uid:1", 1e10, 2)
        assert index.clear(txn, "uid:1", 10, before_tick=2, after=b"") == (1, None)
        assert [key for key, _ in txn.cursor(index.entries)] == [KEYS[1]]


def test_it_stays_within_its_bound_by_what_was_used_least_recently(
    opened: tuple[lmdb.Environment, Index],
) -> None:
    env, index = opened
    for number in range(400):
        with env.begin(write=True) as txn:
            index.put(txn, b"%032d" % number, b"x" * 3000, "uid:1", 1e10, number)
            index.keep_within_bound(txn, no_hits)
            index.scopes.seal(txn)
        assert index.used_bytes <= index.limit_bytes + 4096
    with env.begin(index.entries) as txn:
        left = [int(key) for key, _ in txn.cursor()]
    assert left == list(range(400 - len(left), 400))
    assert index.evicted == 400 - len(left)
    assert len(left) * 3000 > index.limit_bytes / 2


@pytest.mark.fault("S7")
def test_entries_whose_rows_are_damaged_cost_misses_and_never_the_bound(
    opened: tuple[lmdb.Environment, Index],
) -> None:
    env, index = opened
    with env.begin(write=True) as txn:
        for number in range(150):
            index.put(txn, b"%032d" % number, b"x" * 3000, "uid:1", 1e10, number)
        for name in (b"index", b"recency", b"terms"):
            database = env.open_db(name, txn=txn)
            for place, (key, value) in enumerate(list(txn.cursor(database))):
                if place % 3 == 0:
                    txn.delete(key, db=database)
                elif place % 3 == 1:
                    txn.put(key, value[:-1] + b"\xff" if place % 2 else b"cut", db=database)
    for number in range(1000, 1400):
        with env.begin(write=True) as txn:
            index.sweep(txn, 1e9, 10)
            index.put(txn, b"%032d" % number, b"x" * 3000, "uid:1", 1e10, number)
            index.keep_within_bound(txn, no_hits)
            index.scopes.seal(txn)
    assert index.used_bytes <= index.limit_bytes + 4096
    with env.begin(index.entries) as txn:
        assert txn.get(b"%032d" % 1399) == b"x" * 3000


def test_entries_that_lost_their_place_in_line_do_not_keep_it_over_its_bound(
    opened: tuple[lmdb.Environment, Index],
) -> None:
    env, index = opened
    with env.begin(write=True) as txn:
        for number in range(190):
            index.put(txn, b"%032d" % number, b"x" * 3000, "uid:1", 1e10, number)
        txn.drop(env.open_db(b"recency", txn=txn), delete=False)
        assert index.keep_within_bound(txn, no_hits)
        index.scopes.seal(txn)
        index.put(txn, KEYS[0], b"record", "uid:1", 1e10, 1000)
        index.scopes.seal(txn)
    with env.begin(index.entries) as txn:
        assert [key for key, _ in txn.cursor()] == [KEYS[0]]
    assert index.scopes.sum_of(None) == (1, len(b"record"))


@pytest.mark.fault("S7")
@pytest.mark.parametrize("newest", [b"\xff" * 8, b"short", b"longer than a tick"])
def test_a_senseless_newest_tick_is_not_counted_on_from(tmp_path: Path, newest: bytes) -> None:
    env, index = open_index(tmp_path)
    with env, env.begin(write=True) as txn:
        txn.put(b"\xff" + newest, KEYS[0], db=env.open_db(b"recency", txn=txn))
        with pytest.raises(NotOurs):
            index.start(txn)


@pytest.mark.fault("S14")
@pytest.mark.parametrize("layout", [b"0", b"2", b""])
def test_rows_of_another_layout_are_not_read(tmp_path: Path, layout: bytes) -> None:
    env, index = open_index(tmp_path)
    with env.begin(write=True) as txn:
        index.put(txn, KEYS[0], b"record", "uid:1", 1e10, 1)
        txn.put(b"layout", layout, db=env.open_db(b"meta", txn=txn))
    env.close()
    with lmdb.open(str(tmp_path), map_size=1 << 20, max_dbs=len(DATABASES), sync=False) as env:
        index = Index(env, map_bytes=1 << 20)
        with env.begin(write=True) as txn, pytest.raises(NotOurs):
            index.start(txn)
