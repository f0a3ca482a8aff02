"""One table of errors: the wire's, the daemon's classes and the client's are the same."""

from __future__ import annotations

import ast
import inspect

import sutler.errors
import sutlerd.domain.errors
from sutler import wire
from sutler.errors import SutlerError
from sutlerd.domain.errors import CallError, Fault
from tests.tidy.sources import package

#: Errors that are born in the client and never travel.
CLIENT_ONLY = {"daemon_unavailable", "connection_lost"}
LOG_LEVELS = {"debug", "info", "warning", "error"}

#: Whose fault an error is, in the daemon's words and as the client's base classes.
FAULT_BASES = {
    Fault.CALLER: sutler.errors.CallerFault,
    Fault.DAEMON: sutler.errors.DaemonFault,
    Fault.PROVIDER: sutler.errors.ProviderFault,
}


def _daemon_classes() -> dict[str, type[CallError]]:
    found = [
        value
        for _, value in inspect.getmembers(sutlerd.domain.errors, inspect.isclass)
        if issubclass(value, CallError) and value is not CallError
    ]
    by_type = {each.type: each for each in found}
    assert len(by_type) == len(found), "two classes for one type"
    return by_type


def _made(kind: type[CallError]) -> CallError:
    return kind("words")


def test_codes_are_unique_and_in_the_ranges_of_the_wire() -> None:
    codes = [code for code, _ in wire.ERRORS.values()]
    assert len(set(codes)) == len(codes)
    assert all(-32768 <= code <= -32600 or -32099 <= code <= -32000 for code in codes)


def test_the_daemon_has_one_class_for_every_type_and_none_beside() -> None:
    assert set(_daemon_classes()) == set(wire.ERRORS)


def test_the_client_knows_every_type_and_has_no_other_that_travels() -> None:
    assert set(sutler.errors.CLASSES) == set(wire.ERRORS)
    leaves = {
        value.type
        for _, value in inspect.getmembers(sutler.errors, inspect.isclass)
        if issubclass(value, SutlerError) and "type" in vars(value)
    }
    assert leaves - set(wire.ERRORS) == CLIENT_ONLY


def test_both_sides_agree_on_code_retryable_and_whose_fault_it_is() -> None:
    for name, kind in _daemon_classes().items():
        sent = _made(kind)
        assert kind.log_level in LOG_LEVELS
        received = sutler.errors.from_wire(sent.to_wire("r-1"))
        assert (received.type, received.code) == (name, wire.ERRORS[name][0])
        assert received.retryable is sent.retryable is wire.ERRORS[name][1]
        assert received.request_id == "r-1"
        assert isinstance(received, FAULT_BASES[kind.fault])


def test_every_class_is_raised_or_made_somewhere_or_waits_for_its_part() -> None:
    """A type nobody raises is dead, unless the part that raises it is named here."""
    waiting = {
        "BudgetExceeded",  # the ledger's
        "LedgerUnavailable",
        "OutcomeUnknown",
        "PriceUnknown",
        "InvalidOutput",  # structured answers'
    }
    named = {
        node.id if isinstance(node, ast.Name) else node.attr
        for source in package("sutlerd")
        if not source.module.startswith("sutlerd.domain")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }
    unused = {kind.__name__ for kind in _daemon_classes().values()} - named
    assert unused <= waiting
