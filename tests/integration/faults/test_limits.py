"""More than there is room for: connections, descriptors, bytes. Refused in words, no more."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Hang
from tests.integration.faults.rig import held, serving
from tests.support.wire_client import Line, request_line

KIB, MIB = 1 << 10, 1 << 20


@contextlib.contextmanager
def _descriptors() -> Iterator[int]:
    """Let this process open as many files as it may; give how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _is_refused(line: Line) -> bool:
    error = line["error"]
    assert error["data"]["type"] == "overloaded"
    assert error["data"]["retryable"] is True
    assert error["data"]["retry_after_s"] > 0
    return True


@pytest.mark.fault("C14")
def test_of_ten_thousand_connections_those_within_the_limit_are_served_and_the_rest_told(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig, _descriptors() as descriptors, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(rig.client()) for _ in range(200)]
        before_bytes = rig.rss_bytes()
        clients += [stack.enter_context(rig.client()) for _ in range(800)]
        assert clients[-1].result("ping") == {}
        assert (rig.rss_bytes() - before_bytes) / 800 < 16 * KIB
        clients += [
            stack.enter_context(rig.client()) for _ in range(min(9_000, descriptors - 1_500))
        ]
        served = clients[:1024]
        refused = clients[1024:]
        assert all(_is_refused(client.line()) and client.is_closed() for client in refused)
        assert len(refused) > 1_000
        for client in served:
            client.send("ping")
        assert all(client.line()["result"] == {} for client in served)


@pytest.mark.fault("R1")
def test_few_descriptors_mean_few_connections_and_a_warning(tmp_path: Path) -> None:
    with serving(tmp_path, prefix=_limited(64)) as rig:
        assert "only 31 connections are allowed" in rig.daemon.log()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client())]
            # By now those who asked before are known to have left.
            assert clients[0].result("ping") == clients[0].result("ping") == {}
            clients += [stack.enter_context(rig.client()) for _ in range(39)]
            assert all(_is_refused(client.line()) for client in clients[31:])
            assert all(client.result("ping") == {} for client in clients[:31])
            # Those that are served may also ask: the provider's connections have their half.
            for client in clients[:10]:
                client.send("chat", prompt=f"with few descriptors {id(client)}", as_id="c")
            for client in clients[:10]:
                assert "error" not in client.final("c")[1]


@pytest.mark.fault("R1")
def test_with_no_descriptor_left_new_clients_are_still_told_and_the_loop_does_not_spin(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as rig, rig.client() as client, contextlib.ExitStack() as stack:
        pid = rig.daemon.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # Room for all that are open, whatever their numbers, and for a few more.
        few = rig.status()["process"]["descriptors"] + 8
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, hard))
        try:
            line: Line = {}
            while "error" not in line:
                one_more = stack.enter_context(rig.client())
                with contextlib.suppress(BrokenPipeError):
                    one_more.send("ping")
                line = one_more.line()
            assert _is_refused(line)
            for _ in range(5):
                with rig.client() as refused:
                    assert _is_refused(refused.line())
                    assert refused.is_closed()
            spent_s = _cpu_s(pid)
            time.sleep(0.5)
            assert _cpu_s(pid) - spent_s < 0.25
            assert client.result("chat", prompt="the probe: asked before")["cached"] is True
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        with rig.client() as again:
            assert again.result("ping") == {}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _limited(descriptors: int) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh")


@pytest.mark.fault("R3")
def test_unfinished_lines_have_a_sum_past_which_the_largest_is_closed(tmp_path: Path) -> None:
    limits = {"line_bytes": 2 * MIB, "buffered_total_bytes": 16 * MIB}
    with serving(tmp_path, limits=limits) as rig, rig.client() as small:
        before_bytes = rig.rss_bytes()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client()) for _ in range(64)]
            told = []
            for size_kib in (1500, 300):
                for client in clients:
                    with contextlib.suppress(ConnectionError):
                        client.send_raw(b'{"method": "' + b"x" * size_kib * KIB)
                    assert small.result("ping") == {}
                    assert rig.status()["buffered_bytes"] <= 16 * MIB
            assert rig.rss_bytes() - before_bytes < 16 * MIB + 100 * MIB
            for client in clients:
                client.socket.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    told += [line for line in client.rest() if _is_refused(line)]
            assert len(told) >= 64 - 16 * MIB // (1500 * KIB)


@pytest.mark.fault("R3")
def test_whole_lines_that_wait_for_their_turn_count_like_unfinished_ones(tmp_path: Path) -> None:
    limits = {
        "line_bytes": MIB,
        "buffered_total_bytes": 4 * MIB,
        "in_flight_per_connection": 1,
    }
    with serving(tmp_path, limits=limits) as rig, contextlib.ExitStack() as stack:
        rig.answers["stuck"] = Answer((Hang(),), 1, 0)
        most_bytes = 0
        for number in range(100):
            client = stack.enter_context(rig.client())
            lines = [request_line("chat", place, prompt="x" * 1500) for place in range(50)]
            # In one write: what is read with the first is kept until that has its answer.
            client.send_raw(b"".join([request_line("chat", "s", prompt=f"stuck {number}"), *lines]))
            most_bytes = max(most_bytes, rig.status()["buffered_bytes"])
            assert most_bytes <= 4 * MIB
        assert most_bytes > 3 * MIB


@pytest.mark.fault("R3")
def test_what_clients_are_owed_has_a_sum_past_which_the_largest_is_cut(tmp_path: Path) -> None:
    limits = {"buffered_total_bytes": 24 * MIB}
    with serving(tmp_path, limits=limits) as rig, rig.client() as small:
        rig.answers["large"] = answers.openai_chat("y" * (3 * MIB))
        small.result("complete", prompt="large")
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                client = stack.enter_context(rig.client(receive_buffer_bytes=4096))
                client.send("complete", prompt="large")
                assert small.result("ping") == {}
                assert rig.status()["buffered_bytes"] <= 24 * MIB
            assert rig.status()["clients_cut"] >= 30 - 24 // 3
            # Who takes its answers is served throughout, also if it is slow to begin.
            small.send("complete", prompt="large", as_id="slow")
            assert rig.status()["buffered_bytes"] <= 24 * MIB
            assert len(small.final("slow")[1]["result"]["content"]) == 3 * MIB


@pytest.mark.fault("R3")
def test_those_who_take_their_answers_at_once_never_count_against_the_sum(tmp_path: Path) -> None:
    limits = {"buffered_total_bytes": 8 * MIB, "line_bytes": 4 * MIB}
    with serving(tmp_path, limits=limits) as rig, contextlib.ExitStack() as stack:
        rig.answers["large"] = answers.openai_chat("y" * (3 * MIB))
        clients = [stack.enter_context(rig.client()) for _ in range(12)]
        for client in clients:
            assert len(client.result("complete", prompt="large")["content"]) == 3 * MIB
        assert rig.status()["clients_cut"] == 0


@pytest.mark.fault("R3")
def test_requests_under_way_have_a_sum_too(tmp_path: Path) -> None:
    limits = {"buffered_total_bytes": 8 * MIB, "line_bytes": 4 * MIB}
    with serving(tmp_path, limits=limits) as rig, rig.client() as client, rig.client() as small:
        rig.answers["long question"] = held("gate", answers.openai_chat("at last"))
        for number in range(12):
            client.send("chat", prompt=f"long question {number}: " + "x" * MIB, as_id=number)
        refused = [client.line() for _ in range(5)]
        assert all(_is_refused(line) for line in refused)
        assert small.result("chat", prompt="short question")["content"] == "to: short question"
        rig.provider.open("gate")
        answered = [client.line() for _ in range(7)]
        assert all(line["result"]["content"] == "at last" for line in answered)
        assert sorted(line["id"] for line in refused + answered) == list(range(12))


@pytest.mark.fault("R7")
def test_calls_have_a_maximum_past_which_they_are_refused_and_hits_go_on(tmp_path: Path) -> None:
    limits = {"calls_per_uid": 10, "calls": 20}
    with serving(tmp_path, limits=limits) as rig, rig.client() as client:
        rig.answers["stuck"] = Answer((Hang(),), 1, 0)
        for number in range(10):
            client.send("chat", prompt=f"stuck {number}")
        rig.wait_until_asked("stuck", times=10)
        with rig.client() as other:
            error = other.ask("chat", prompt="one too many")["error"]
            assert error["data"]["type"] == "overloaded"
            assert "share" in error["message"]
            assert other.result("chat", prompt="the probe: asked before")["cached"] is True
        assert rig.asked("one too many") == 0


def test_a_connection_that_comes_and_goes_at_once_costs_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        for _ in range(2_000):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(rig.daemon.socket))
                sock.send(request_line("ping", 1))
