"""Too many scrapes, and too many names: neither costs the callers or the memory anything."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import pytest

from tests.contract import answers
from tests.contract.answers import Answer, Wait
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import UnixConnection, ask, http_rig, http_socket
from tests.integration.monitoring.test_metrics import scraped, scraped_once
from tests.support.wire_client import WireClient

LONG = os.environ.get("SUTLER_LONG") == "1"
SCRAPES = 30_000 if LONG else 1_500
DEAF = 100
NAMES = 100_000 if LONG else 4_000
#: The long proof of calls in a storm: scrapes a second, callers, how long each way is measured,
#: and how long the provider thinks.
SCRAPES_PER_S, CALLERS, MEASURED_S, THINKS_S = 1000, 8, 15.0, 0.2
SCRAPER = Path(__file__).with_name("scraper.py")
_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.fault("O13")
def test_a_storm_of_scrapes_is_given_one_text_a_second_and_who_does_not_read_is_cut(
    folder: Path,
) -> None:
    with http_rig(folder, limits={"stall_s": 1.0}) as rig, contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(DEAF)]
        for sock in deaf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(str(http_socket(rig.daemon)))
            # As many as the daemon takes: each answer waits for the one before it to be read.
            sock.sendall(_SCRAPE * 40)
        over = threading.Event()
        answered: list[int] = []

        def call() -> None:
            while not over.is_set():
                rig.daemon.result("chat", prompt="in the storm")
                answered.append(1)

        caller = threading.Thread(target=call)
        caller.start()
        texts: set[bytes] = set()
        begun_s = time.monotonic()
        with contextlib.closing(UnixConnection(http_socket(rig.daemon))) as connection:
            for _ in range(SCRAPES):
                reply = ask(connection, "GET", "/metrics")
                assert reply.status == 200
                texts.add(reply.body)
        passed_s = time.monotonic() - begun_s
        over.set()
        caller.join(30)
        assert answered, "nobody was served in the storm"
        assert len(texts) <= passed_s + 2, "written more than once a second"
        until_s = time.monotonic() + 30
        while (cut := rig.status()["clients_cut"]) < DEAF:
            assert time.monotonic() < until_s, f"only {cut} of {DEAF} were cut"
            time.sleep(0.1)


def storm_of_names(client: WireClient, first: int, count: int) -> None:
    """Ask under so many names of components, projects, ranks, models and methods."""
    for number in range(first, first + count):
        name = f"{number:x}-{'n' * 40}"
        labels = {"component": name, "project": f"p{name}", "rank": str(number), f"l{number}": "x"}
        client.result("complete", prompt="one of many", labels=labels, temperature=0)
        unheard_of = {"model": f"scripted/m-{name}", "cache": "only"}
        _, reply = client.final(client.send("complete", prompt="x", labels=labels, **unheard_of))
        assert reply["error"]["data"]["type"] == "cache_miss", reply


@pytest.mark.fault("X17")
def test_no_number_of_names_makes_more_series_or_holds_more_memory(folder: Path) -> None:
    with http_rig(folder) as rig, rig.client() as client:
        storm_of_names(client, 0, NAMES // 2)
        half, half_bytes = set(scraped(rig)), rig.rss_bytes()
        storm_of_names(client, NAMES // 2, NAMES)
        whole = set(scraped(rig))
        assert whole == half, whole ^ half
        assert len(whole) < 400
        assert rig.rss_bytes() - half_bytes < 32 * 2**20
        rows = rig.daemon.result("usage", by=["component", "project", "model"])["rows"]
        assert len(rows) <= 1024 + 1, "and one for all the rest"
        assert "other" in {row["component"] for row in rows}
        calls = sum(row["calls"] for row in rows)
        assert calls >= 3 * NAMES, "what has no line of its own is counted all the same"


@pytest.mark.fault("X17")
def test_long_and_many_labels_are_refused_by_name(folder: Path) -> None:
    with http_rig(folder) as rig:
        for labels in (
            {"component": "x" * 65_536},
            {"x" * 65_536: "y"},
            {f"l{number}": "x" for number in range(17)},
        ):
            error = rig.daemon.ask("complete", prompt="x", labels=labels)["error"]
            assert error["data"]["type"] == "invalid_params"
            assert "labels" in error["message"] and len(error["message"]) < 2_000
        assert scraped_once(rig)


@contextlib.contextmanager
def storm(rig: Rig, answered: list[int]) -> Iterator[None]:
    """Scrape a thousand times a second, in a process of its own."""
    command = [sys.executable, str(SCRAPER), str(http_socket(rig.daemon)), str(SCRAPES_PER_S)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield
        answered.append(int(process.communicate(timeout=30)[0]))


def times_of_calls(rig: Rig, begins: int) -> list[float]:
    """Give how long uncached calls took, asked by several callers for a while."""
    times: list[float] = []
    until_s = time.monotonic() + MEASURED_S

    def call(caller: int) -> None:
        number = 0
        with rig.client() as client:
            while time.monotonic() < until_s:
                begun_s = time.perf_counter()
                prompt = f"thinks {begins} {caller} {number}"
                client.result("complete", prompt=prompt, cache="off", max_tokens=9)
                times.append(time.perf_counter() - begun_s)
                number += 1

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(60)
    return times


if LONG:

    @pytest.mark.fault("O13")
    @pytest.mark.timeout(300)
    def test_a_thousand_scrapes_a_second_make_calls_no_slower(folder: Path) -> None:
        with http_rig(folder) as rig:
            fine = answers.openai_chat("thought")
            rig.answers["thinks"] = Answer((Wait(THINKS_S), *fine.steps))
            ratios = []
            for taking in range(3):
                answered: list[int] = []
                still = quantiles(times_of_calls(rig, 2 * taking), n=100)
                with storm(rig, answered):
                    stormy = quantiles(times_of_calls(rig, 2 * taking + 1), n=100)
                ratios.append(stormy[98] / still[98])
                per_s = answered[0] / MEASURED_S
                print(
                    f"\n{per_s:.0f} scrapes/s; calls p50 {still[49]:.4f} -> {stormy[49]:.4f} s, "
                    f"p99 {still[98]:.4f} -> {stormy[98]:.4f} s"
                )
                if ratios[-1] <= 1.1:
                    break
            assert min(ratios) <= 1.1, ratios
