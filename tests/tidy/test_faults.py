"""``tests/faults.md`` and the markers ``fault("ID")`` tell the same story."""

from __future__ import annotations

from tests.tidy.faults_table import KINDS, UNWRITTEN, listed, marked


def test_every_proven_fault_is_listed_with_where_it_is_proven() -> None:
    where = {fault: row.files for fault, row in listed().items()}
    assert where == marked(), "python -m tests.tidy.faults_table rewrites the table"


def test_every_fault_listed_is_put_into_words() -> None:
    assert [fault for fault, row in listed().items() if row.words == UNWRITTEN] == []


def test_every_id_is_a_kind_and_a_number() -> None:
    assert [each for each in marked() if each[0] not in KINDS or not each[1:].isdigit()] == []
