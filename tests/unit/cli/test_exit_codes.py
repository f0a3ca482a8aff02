"""One table says how every command ends."""

from __future__ import annotations

import pytest

from sutler import errors
from sutler.cli_exit import (
    BROKEN_PIPE,
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    NO_DAEMON,
    RETRYABLE,
    USAGE,
    CommandFailed,
    UsageProblem,
    exit_code_for,
    exit_code_table,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageProblem("x"), USAGE),
        (CommandFailed("x"), FAILED),
        (CommandFailed("x", NO_DAEMON), NO_DAEMON),
        (KeyboardInterrupt(), INTERRUPTED),
        (BrokenPipeError(), BROKEN_PIPE),
        (OSError("disk"), FAILED),
        (errors.DaemonUnavailable("x"), NO_DAEMON),
        (errors.DaemonUnavailable("x", retryable=True), NO_DAEMON),
        (errors.Overloaded("x"), RETRYABLE),
        (errors.RateLimited("x"), RETRYABLE),
        (errors.RateLimited("it never fits", retryable=False), FAILED),
        (errors.Timeout("x"), RETRYABLE),
        (errors.InvalidParams("x"), FAILED),
        (errors.BudgetExceeded("x"), FAILED),
    ],
)
def test_an_error_ends_the_command_with_its_code(error: BaseException, code: int) -> None:
    assert exit_code_for(error) == code


def test_every_error_of_the_client_ends_in_a_code_of_the_table() -> None:
    known = {code for code, _, _ in EXIT_CODES}
    for kind in errors.CLASSES.values():
        assert exit_code_for(kind("x")) in known


def test_the_table_names_every_code_once() -> None:
    codes = [code for code, _, _ in EXIT_CODES]
    assert len(set(codes)) == len(codes)
    assert len(exit_code_table().splitlines()) == len(codes)
