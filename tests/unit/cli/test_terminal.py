"""A pipe gets the bytes, a terminal never gets a control character of somebody else's."""

from __future__ import annotations

import io

import pytest

from sutler.cli_terminal import Terminal, is_terminal, visible


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_the_text_as_it_is() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO(), {}).write("\x1b[31mred\r\n")
    assert out.getvalue() == "\x1b[31mred\r\n"


def test_a_terminal_gets_no_escape_sequence_of_a_model() -> None:
    out = Screen()
    Terminal(out, Screen(), {}).write("\x1b]0;title\x07 \x9b2J tab\there\r\nline\x7f")
    assert out.getvalue() == "␛]0;title␇ \ufffd2J tab\there\nline␡"


def test_json_is_one_line_on_a_pipe_and_several_on_a_terminal() -> None:
    pipe, screen = io.StringIO(), Screen()
    Terminal(pipe, io.StringIO(), {}).json({"a": "é"})
    Terminal(screen, Screen(), {}).json({"a": "é"})
    assert pipe.getvalue() == '{"a": "é"}\n'
    assert screen.getvalue() == '{\n  "a": "é"\n}\n'


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_declined(environ: dict[str, str]) -> None:
    err = Screen()
    term = Terminal(Screen(), err, environ)
    assert term.styled("x", "bold") == "x"
    term.problem("broken")
    term.note("aside")
    assert err.getvalue() == "sutler: broken\naside\n"


def test_colours_are_for_terminals() -> None:
    screen, pipe = Screen(), io.StringIO()
    assert Terminal(screen, screen, {}).styled("x", "bold") == "\x1b[1mx\x1b[0m"
    assert Terminal(pipe, pipe, {}).styled("x", "bold") == "x"
    Terminal(screen, screen, {"NO_COLOR": ""}).problem("broken")
    assert screen.getvalue() == "\x1b[31msutler:\x1b[0m broken\n"


def test_a_problem_is_one_line_whatever_it_says() -> None:
    err = io.StringIO()
    Terminal(io.StringIO(), err, {}).problem("Two.\n lines:\n\none\ntwo \x1b[2J\n")
    assert err.getvalue() == "sutler: Two. lines: one; two ␛[2J\n"


def test_notes_are_for_people() -> None:
    err = io.StringIO()
    Terminal(io.StringIO(), err, {}).note("aside")
    assert err.getvalue() == ""


def test_closed_streams_are_nobody() -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(closed)
    assert not is_terminal(None)


def test_newline_and_tab_stay() -> None:
    assert visible("a\n\tb") == "a\n\tb"
