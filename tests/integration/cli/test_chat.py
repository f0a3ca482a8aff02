"""`sutler chat` and `sutler complete`, on pipes and on a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli.command import AtTerminal, started, sutler
from tests.integration.cli.tiny_daemon import TinyDaemon


def test_a_pipe_gets_the_answer_and_nothing_else(daemon: TinyDaemon) -> None:
    done = sutler("chat", "good", "morning")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"GOOD MORNING\n", b"")
    assert "stream" not in daemon.asked[-1].params


def test_the_question_comes_from_standard_input(daemon: TinyDaemon) -> None:
    assert sutler("chat", stdin="grüß dich".encode()).stdout == "GRÜSS DICH\n".encode()
    assert sutler("chat", "-", stdin=b"hello\n").stdout == b"HELLO\n"
    assert sutler("chat", "say:", "-", stdin=b"hello\n").stdout == b"SAY:\n\nHELLO\n"


def test_options_reach_the_daemon(daemon: TinyDaemon) -> None:
    sutler(
        *("--socket", str(daemon.path), "chat", "hi", "--system", "be terse"),
        *("--model", "small", "--temperature", "0", "--max-tokens", "5", "--cache", "off"),
        *("--timeout", "20", "--label", "component=tests", "--label", "rank=3"),
    )
    params = daemon.asked[-1].params
    assert params["prompt"] == "hi"
    assert params["system"] == "be terse"
    assert (params["model"], params["temperature"], params["max_tokens"]) == ("small", 0.0, 5)
    assert params["cache"] == "off"
    assert params["labels"] == {"component": "tests", "rank": "3"}
    assert 0 < params["timeout_s"] <= 20


def test_json_is_the_whole_reply(daemon: TinyDaemon) -> None:
    reply = json.loads(sutler("chat", "hi", "--json").stdout)
    assert reply["content"] == "HI"
    assert reply["usage"]["total_tokens"] == 7


def test_a_schema_gives_the_parsed_answer(daemon: TinyDaemon, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    done = sutler("chat", "--schema", str(schema), "parse")
    assert json.loads(done.stdout) == {"city": "Tokyo"}
    assert daemon.asked[-1].params["schema"] == {"type": "object"}
    assert json.loads(sutler("chat", "--schema", str(schema), '{"A": 1}').stdout) == {"A": 1}
    cut = sutler("chat", "--schema", str(schema), "--max-tokens", "1", '{"A":')
    assert (cut.returncode, cut.stdout) == (1, b"")
    assert cut.stderr == (
        b"sutler: the answer is not JSON: it was cut off, --max-tokens N allows more\n"
    )


def test_verbose_says_who_answered_on_the_error_stream(daemon: TinyDaemon) -> None:
    done = sutler("chat", "-v", "hi")
    assert done.stdout == b"HI\n"
    assert done.stderr.decode() == "sutler: embedded/small · 3 + 4 tokens · $0.000001 · 1.5 ms\n"


@pytest.mark.parametrize(
    ("words", "stdin", "answer"),
    [
        (("--prompt", "one"), b"", b"ONE\n"),
        ((), b'"two"', b"TWO\n"),
        (("-",), b'[{"role": "user", "content": "three"}]', b"THREE\n"),
        ((), b'{"prompt": "four", "max_tokens": 9}', b"FOUR\n"),
    ],
)
def test_complete_takes_messages_or_a_prompt(
    daemon: TinyDaemon, words: tuple[str, ...], stdin: bytes, answer: bytes
) -> None:
    done = sutler("complete", *words, stdin=stdin)
    assert (done.returncode, done.stdout) == (0, answer)


def test_complete_reads_a_file(daemon: TinyDaemon, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"messages": [{"role": "user", "content": "hi"}], "seed": 4}')
    assert sutler("complete", str(path), "--system", "terse").stdout == b"HI\n"
    params = daemon.asked[-1].params
    assert params["messages"][0] == {"role": "system", "content": "terse"}
    assert params["seed"] == 4


def test_a_terminal_gets_the_answer_as_it_is_made(daemon: TinyDaemon) -> None:
    command = AtTerminal("chat", "stream and hang")
    command.read_until(b"HALF")
    command.type(b"\x03")
    assert command.end() == 130
    assert b"Traceback" not in command.screen
    daemon.wait_for(lambda _: daemon.dropped() == ["stream and hang"])


def test_a_finished_stream_ends_its_line(daemon: TinyDaemon) -> None:
    command = AtTerminal("chat", "--max-tokens", "1", "one two")
    assert command.end() == 0
    assert command.screen.startswith(b"ONE TWO \r\n")
    assert b"cut off at its token limit" in command.screen
    assert daemon.asked[-1].params["stream"] is True


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_declined(daemon: TinyDaemon, env: dict[str, str]) -> None:
    command = AtTerminal("chat", "refuse", env=env)
    assert command.end() == 1
    assert command.screen == b"sutler: the provider: no\r\n"


def test_what_an_answer_would_do_to_a_terminal_is_only_shown(daemon: TinyDaemon) -> None:
    command = AtTerminal("chat", "\x1b]0;t\x07")
    assert command.end() == 0
    assert command.screen.decode().startswith("␛]0;T␇")


def test_an_interrupt_cancels_the_call_in_the_daemon(daemon: TinyDaemon) -> None:
    process = started("chat", "hang")
    daemon.wait_for(lambda _: daemon.prompts() == ["hang"])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")
    daemon.wait_for(lambda _: daemon.dropped() == ["hang"])


def test_a_reader_that_leaves_is_no_error(daemon: TinyDaemon) -> None:
    process = started("chat", "hi", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(30) == 141
    process.stderr.close()


def test_a_terminal_asks_plainly_what_only_the_daemon_can_judge(
    daemon: TinyDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "new.json"
    path.write_text('{"prompt": "hi", "temperatur": 1}')
    command = AtTerminal("complete", str(path))
    assert command.end() == 0
    assert daemon.asked[-1].params["temperatur"] == 1
    assert "stream" not in daemon.asked[-1].params
