"""A run recorded once is repeated with no provider: the same answers, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.answers import Answer, openai_chat, openai_embeddings
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.main_job.conftest import configured, temporary_folder
from tests.support.daemon_process import DaemonProcess

folder = pytest.fixture(temporary_folder, name="folder")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """Never says the same thing twice."""
    said = iter(range(10_000))

    def answer(request: Received) -> Answer:
        if request.path.endswith("/embeddings"):
            vectors = [[float(next(said)), 0.5] for _ in request.json["input"]]
            return openai_embeddings(vectors, model="test-embed", tokens_in=1)
        return openai_chat(f'{{"sky": "blue {next(said)}"}}')

    with ScriptedProvider.in_thread(always=answer) as scripted:
        yield scripted


def program(daemon: DaemonProcess) -> list[Any]:
    """Ask in every way; give what a program would use of the answers."""
    hot = {"temperature": 1.0}
    sky = {"type": "object", "properties": {"sky": {"type": "string"}}}
    embeddings = daemon.result("embed", texts=["a", "b"], encoding_format="base64")
    run = daemon.result("prompts.run", name="memory_summary", variables={"texts": "x"}, schema=sky)
    return [
        daemon.result("chat", prompt="hi")["content"],
        daemon.result("chat", prompt="hi", labels={"rank": "3"})["content"],
        *[daemon.result("complete", prompt="again", **hot)["content"] for _ in range(3)],
        daemon.result("json", prompt="weather", schema=sky)["parsed"],
        run["parsed"],
        run["prompt"],
        embeddings["embeddings"],
        daemon.result("count_tokens", text="how many")["tokens"],
    ]


@pytest.fixture
def recorded(provider: ScriptedProvider, folder: Path) -> tuple[Path, list[Any]]:
    tape = folder / "run.jsonl"
    daemon = DaemonProcess(
        folder / "r", config=configured(provider), arguments=[f"--record={tape}"]
    )
    with daemon:
        answers = program(daemon)
        assert daemon.stop() == 0
    return tape, answers


def replaying(folder: Path, tape: Path, name: str = "p", **how: Any) -> DaemonProcess:
    return DaemonProcess(folder / name, arguments=[f"--replay={tape}"], **how)


def test_a_recorded_run_is_repeated_without_its_provider_and_its_configuration(
    provider: ScriptedProvider, folder: Path, recorded: tuple[Path, list[Any]]
) -> None:
    tape, answers = recorded
    asked = len(provider.requests)
    assert len({json.dumps(answer) for answer in answers[2:5]}) == 3, "each time another"
    for name in ("p", "q"):
        with replaying(folder, tape, name) as daemon:
            assert json.dumps(program(daemon)) == json.dumps(answers)
            assert daemon.stop() == 0
            assert "child_ready" not in daemon.log(), "no model runs"
    assert len(provider.requests) == asked
    assert tape.stat().st_mode & 0o777 == 0o600
    assert "uid" not in tape.read_text()


def test_what_was_not_recorded_is_a_miss_that_names_the_nearest(
    folder: Path, recorded: tuple[Path, list[Any]]
) -> None:
    tape, _ = recorded
    with replaying(folder, tape) as daemon:
        for params, words in (
            ({"prompt": "hi", "seed": 4}, "'hi', differs in seed"),
            ({"prompt": "hello"}, "differs in messages[0]"),
            ({"prompt": "again", "temperature": 0.5}, "'again', differs in temperature"),
        ):
            error = daemon.ask("chat", **params)["error"]
            assert error["data"]["type"] == "cache_miss"
            assert not error["data"]["retryable"]
            assert words in error["message"]
        error = daemon.ask("embed", texts=["a"])["error"]
        assert error["data"]["type"] == "cache_miss"


def test_a_request_is_answered_as_often_as_it_was_recorded_and_once_for_one_id(
    folder: Path, recorded: tuple[Path, list[Any]]
) -> None:
    tape, answers = recorded
    asked = {"prompt": "again", "temperature": 1.0}
    with replaying(folder, tape) as daemon:
        first = [daemon.result("complete", request_id="one", **asked) for _ in range(4)]
        assert {reply["content"] for reply in first} == {answers[2]}
        assert daemon.result("complete", **asked)["content"] == answers[3]
        assert daemon.result("complete", stream=True, **asked)["content"] == answers[4]
        error = daemon.ask("complete", **asked)["error"]
        assert "was recorded 3 times" in error["message"]


def test_answers_that_joined_a_flight_or_came_from_the_cache_are_recorded_too(
    provider: ScriptedProvider, folder: Path
) -> None:
    tape = folder / "run.jsonl"
    with DaemonProcess(
        folder / "r", config=configured(provider), arguments=[f"--record={tape}"]
    ) as daemon:
        answers = [daemon.result("chat", prompt="hi") for _ in range(3)]
        assert [answer["cached"] for answer in answers] == [False, True, True]
        assert daemon.stop() == 0
    lines = [json.loads(line) for line in tape.read_text().splitlines()]
    assert [line["n"] for line in lines[1:]] == [0, 1, 2]


def refused(daemon: DaemonProcess) -> str:
    with pytest.raises(AssertionError, match="did not start"):
        daemon.start()
    return daemon.log()


def test_a_file_that_is_no_recording_ends_the_start_with_its_line(
    folder: Path, recorded: tuple[Path, list[Any]]
) -> None:
    tape, _ = recorded
    whole = tape.read_text()
    lines = whole.splitlines(keepends=True)
    assert "is there already" in refused(
        DaemonProcess(folder / "a", arguments=[f"--record={tape}"])
    )
    tape.write_text("hello\n")
    assert "is no recording" in refused(replaying(folder, tape, "b"))
    tape.write_text(lines[0] + "{}\n")
    assert "run.jsonl:2: is broken" in refused(replaying(folder, tape, "c"))
    tape.write_text(lines[0] + lines[1].replace('"a"', '"z"'))
    assert "run.jsonl:2: is broken" in refused(replaying(folder, tape, "d"))
    assert "No such file" in refused(replaying(folder, folder / "none", "e"))
    tape.write_text(whole[:-10])
    with replaying(folder, tape, "f") as daemon:
        assert "cut off, left out" in daemon.log()
        assert daemon.result("chat", prompt="hi")
