"""A run recorded once is repeated with no provider: the same answers, byte for byte."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sutler import Client
from tests.contract.answers import Answer, openai_chat, openai_embeddings, openai_stream
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.http.rig import Reply, over_unix
from tests.integration.main_job.conftest import configured, temporary_folder
from tests.support.daemon_process import DaemonProcess

folder = pytest.fixture(temporary_folder, name="folder")

HOT = {"temperature": 1.0}
SKY = {"type": "object", "properties": {"sky": {"type": "string"}}}
LOOK = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
RANKS = ("0", "1", "2", "3")
TURNS = 3
#: Of an answer over HTTP, what is each request's own.
_OWN = ("id", "created", "created_at", "completed_at", "usage", "item_id", "response")


def never_twice() -> Callable[[Received], Answer]:
    said = iter(range(10_000))

    def answer(request: Received) -> Answer:
        if request.path.endswith("/embeddings"):
            vectors = [[float(next(said)), 0.5] for _ in request.json["input"]]
            return openai_embeddings(vectors, model="test-embed", tokens_in=1)
        text = f'{{"sky": "blue {next(said)}"}}'
        if request.json.get("tools"):
            call = {"name": "look", "arguments": text.replace("sky", "at")}
            calls = [{"id": f"call_{next(said)}", "type": "function", "function": call}]
            return openai_chat(None, finish_reason="tool_calls", tool_calls=calls)
        if request.json.get("stream"):
            return openai_stream([text[:5], text[5:]])
        return openai_chat(text)

    return answer


def over_socket(daemon: DaemonProcess) -> list[Any]:
    """Ask in every way; give what a program would use of the answers."""
    embeddings = daemon.result("embed", texts=["a", "b"], encoding_format="base64")
    run = daemon.result("prompts.run", name="memory_summary", variables={"texts": "x"}, schema=SKY)
    ask = [{"role": "user", "content": "look there"}]
    calls = [daemon.result("function_call", messages=ask, functions=[LOOK], **HOT) for _ in "12"]
    return [
        daemon.result("chat", prompt="hi")["content"],
        daemon.result("chat", prompt="hi", labels={"rank": "3"})["content"],
        *[daemon.result("complete", prompt="again", **HOT)["content"] for _ in range(3)],
        *[daemon.result("complete", prompt="s", stream=True, **HOT)["content"] for _ in range(2)],
        daemon.result("json", prompt="weather", schema=SKY)["parsed"],
        run["parsed"],
        run["prompt"],
        embeddings["embeddings"],
        [call["tool_calls"] for call in calls],
        daemon.result("count_tokens", text="how many")["tokens"],
    ]


def over_http(daemon: DaemonProcess) -> list[Any]:
    said = {"model": "test-model", "messages": [{"role": "user", "content": "over http"}], **HOT}
    tool = {"type": "function", "function": LOOK}
    return [
        _told(over_unix(daemon, "POST", path, body))
        for path, body in (
            ("/v1/chat/completions", said),
            ("/v1/chat/completions", {**said, "stream": True}),
            ("/v1/chat/completions", {**said, "n": 2}),
            ("/v1/chat/completions", {**said, "tools": [tool]}),
            ("/v1/completions", {"model": "test-model", "prompt": "once upon", **HOT}),
            ("/v1/responses", {"model": "test-model", "input": "respond", **HOT}),
            ("/v1/responses", {"model": "test-model", "input": "respond", "stream": True, **HOT}),
            ("/v1/messages", {**said, "max_tokens": 9}),
            ("/v1/messages", {**said, "max_tokens": 9, "stream": True}),
            ("/v1/messages/count_tokens", {**said, "temperature": None}),
            ("/v1/embeddings", {"model": "test-embed", "input": ["a", "c"]}),
            ("/v1/embeddings", {"model": "test-embed", "input": "d", "encoding_format": "base64"}),
        )
    ]


def _told(reply: Reply) -> Any:
    assert reply.status == 200, reply.body
    if reply.headers["content-type"].startswith("text/event-stream"):
        return "".join(_text(data) for _, data in reply.events() if data != "[DONE]")
    return _without_own(reply.json)


def _without_own(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: each if name == "tool_calls" else _without_own(each)
            for name, each in value.items()
            if name not in _OWN
        }
    return [_without_own(each) for each in value] if isinstance(value, list) else value


def _text(data: Any) -> str:
    """Give the text of one event, in any of three spellings."""
    for choice in data.get("choices") or ():
        return choice["delta"].get("content") or ""
    delta = data.get("delta") or ""
    return delta.get("text") or "" if isinstance(delta, dict) else delta


def ranks(daemon: DaemonProcess, first: str) -> dict[str, list[str]]:
    """Have all ranks ask the same at once, ``first`` in front; give what each was told."""
    told: dict[str, list[str]] = {rank: [] for rank in RANKS}
    leads, together = threading.Event(), threading.Barrier(len(RANKS))

    def be(rank: str) -> None:
        with Client(str(daemon.socket), labels={"rank": rank}) as client:
            together.wait()
            if rank != first:
                leads.wait()
            for _ in range(TURNS):
                told[rank].append(client.chat("all ask this", temperature=1.0))
                leads.set()

    threads = [threading.Thread(target=be, args=(rank,)) for rank in RANKS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


@dataclass(frozen=True)
class Run:
    tape: Path
    socket: list[Any]
    http: list[Any]
    ranks: dict[str, list[str]]
    either: str
    cached: Sequence[bool]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with (
        tempfile.TemporaryDirectory(prefix="st-") as path,
        ScriptedProvider.in_thread(always=never_twice()) as provider,
    ):
        tape = Path(path) / "run.jsonl"
        daemon = DaemonProcess(
            Path(path) / "r", config=configured(provider), arguments=[f"--record={tape}"]
        )
        with daemon:
            known = [daemon.result("chat", prompt="known")["cached"] for _ in range(3)]
            resent = [daemon.result("chat", prompt="n", request_id="r", **HOT) for _ in range(2)]
            assert resent[0]["content"] == resent[1]["content"]
            daemon.result("chat", prompt="n", **HOT)
            made = Run(
                tape=tape,
                socket=over_socket(daemon),
                http=over_http(daemon),
                ranks=ranks(daemon, "0"),
                either=daemon.result("chat", prompt="one", model="test-model", max_tokens=7)[
                    "content"
                ],
                cached=known,
            )
            assert daemon.stop() == 0
        yield made


@pytest.fixture(scope="module")
def replaying(run: Run) -> Iterator[DaemonProcess]:
    with DaemonProcess(run.tape.parent / "p", arguments=[f"--replay={run.tape}"]) as daemon:
        yield daemon


def test_a_recorded_run_is_repeated_without_its_provider_and_its_configuration(
    run: Run, replaying: DaemonProcess
) -> None:
    assert len({json.dumps(answer) for answer in run.socket[2:7]}) == 5, "each time another"
    assert json.dumps(over_socket(replaying)) == json.dumps(run.socket)
    assert "child" not in replaying.log(), "no model runs"
    assert run.tape.stat().st_mode & 0o777 == 0o600
    assert "uid" not in run.tape.read_text()


def test_every_route_of_http_answers_from_the_recording(run: Run, replaying: DaemonProcess) -> None:
    assert json.dumps(over_http(replaying)) == json.dumps(run.http)
    assert all(run.http)


def test_what_was_asked_through_one_door_is_answered_through_another(
    run: Run, replaying: DaemonProcess
) -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "one"}]}]
    body = {"model": "test-model", "messages": said, "max_completion_tokens": 7}
    reply = over_unix(replaying, "POST", "/v1/chat/completions", body)
    assert reply.json["choices"][0]["message"]["content"] == run.either


def test_ranks_that_ask_the_same_are_answered_as_before_whoever_comes_first(
    run: Run, replaying: DaemonProcess
) -> None:
    assert len({text for told in run.ranks.values() for text in told}) == len(RANKS) * TURNS
    assert ranks(replaying, "3") == run.ranks


def test_a_request_that_is_sent_again_is_recorded_once(run: Run, replaying: DaemonProcess) -> None:
    one = replaying.result("chat", prompt="n", request_id="r", **HOT)
    assert replaying.result("chat", prompt="n", request_id="r", **HOT)["content"] == one["content"]
    other = replaying.result("chat", prompt="n", **HOT)
    assert other["content"] != one["content"]
    assert (other["cached"], other["cost_nanousd"]) == (True, 0)
    error = replaying.ask("chat", prompt="n", **HOT)["error"]
    assert "was recorded 2 times" in error["message"]


def test_answers_from_the_cache_are_recorded_too(run: Run) -> None:
    assert run.cached == [False, True, True]
    lines = [json.loads(line) for line in run.tape.read_text().splitlines()[1:]]
    known = [
        line
        for line in lines
        if (line["asked"].get("messages") or [{}])[-1].get("content") == "known"
    ]
    assert [line["n"] for line in known] == [0, 1, 2]


def test_what_was_not_recorded_is_a_miss_that_names_the_nearest(replaying: DaemonProcess) -> None:
    ask = [{"role": "user", "content": "look there"}]
    for method, params, words in (
        ("chat", {"prompt": "hi", "seed": 4}, "'hi', differs in seed"),
        ("chat", {"prompt": "hello"}, "differs in messages[0]"),
        ("chat", {"prompt": "again", "temperature": 0.5}, "'again', differs in temperature"),
        ("complete", {"prompt": "hi", "stream": True, "stop": "."}, "'hi', differs in stop"),
        ("json", {"prompt": "weather"}, "'weather', differs in json_mode, schema"),
        ("function_call", {"messages": ask, "functions": [{"name": "f"}], **HOT}, "in functions"),
        ("prompts.run", {"name": "memory_summary", "variables": {"texts": "y"}}, "messages[3]"),
        ("embed", {"texts": ["a", "x"], "encoding_format": "base64"}, "'a', differs in texts"),
        ("count_tokens", {"text": "how much"}, "'how many', differs in text"),
    ):
        error = replaying.ask(method, **params)["error"]
        assert error["data"]["type"] == "cache_miss"
        assert not error["data"]["retryable"]
        assert words in error["message"], (method, error["message"])
    body = {"model": "test-model", "messages": [{"role": "user", "content": "over htt"}], **HOT}
    for stream in (False, True):
        reply = over_unix(replaying, "POST", "/v1/chat/completions", {**body, "stream": stream})
        assert reply.status >= 400
        assert "'over http', differs in messages[0]" in reply.json["error"]["message"]


def refused(daemon: DaemonProcess) -> str:
    with pytest.raises(AssertionError, match="did not start"):
        daemon.start()
    return daemon.log()


def test_a_file_that_is_no_recording_or_is_there_already_ends_the_start(
    folder: Path, run: Run
) -> None:
    assert "is there already" in refused(
        DaemonProcess(folder / "a", arguments=[f"--record={run.tape}"])
    )
    broken = folder / "broken"
    broken.write_text(run.tape.read_text().replace("blue", "red").replace('"hi"', '"ho"'))
    said = refused(DaemonProcess(folder / "b", arguments=[f"--replay={broken}"]))
    assert "broken:" in said
    assert "is broken" in said


def test_a_recording_whose_last_line_is_cut_off_is_played_without_it(
    folder: Path, run: Run
) -> None:
    cut = folder / "cut"
    cut.write_bytes(run.tape.read_bytes()[:-10])
    with DaemonProcess(folder / "p", arguments=[f"--replay={cut}"]) as daemon:
        assert "cut off, left out" in daemon.log()
        assert daemon.result("chat", prompt="hi")
