"""A new configuration for a running daemon: whole or not at all, while calls are under way."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import sutler
from tests.contract import answers
from tests.contract.scripted import Received
from tests.integration.cli import command
from tests.integration.faults.rig import held, let_others_in, serving
from tests.integration.node.reloads import NEW_KEY, OLD_KEY, reload, rewrite, until, write
from tests.support.other_user import OTHER_UID, as_user, needs_root

Config = dict[str, Any]


def key_of(request: Received) -> str:
    return request.headers["authorization"].removeprefix("Bearer ")


def rotate(config: Config) -> None:
    config["llm"]["providers"]["scripted"]["api_key"] = NEW_KEY


@pytest.mark.fault("O4")
def test_a_key_is_rotated_while_a_call_under_way_ends_with_the_old_one(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        rig.answers["slow"] = held("gate", answers.openai_chat("at last"))
        slow = client.send("chat", prompt="slow")
        rig.wait_until_asked("slow")
        connections = rig.provider.open_connections
        rewrite(rig, rotate)
        (change,) = reload(rig)["changes"]
        assert change["path"] == "llm.providers.scripted.api_key"
        assert change["before"] == '"***"'
        assert change["waits"] is None
        assert rig.daemon.result("chat", prompt="fresh")["content"] == "to: fresh"
        asked = [request for request in rig.provider.requests if request.body]
        keys = {each.json["messages"][-1]["content"]: key_of(each) for each in asked}
        assert (keys["slow"], keys["fresh"]) == (OLD_KEY, NEW_KEY)
        assert "provider_left" not in rig.daemon.log()
        rig.provider.open("gate")
        assert client.final(slow)[1]["result"]["content"] == "at last"
        # Nothing is left of the old one: not its connections either.
        until(lambda: "provider_left" in rig.daemon.log())
        until(lambda: rig.provider.open_connections <= connections)
        for text in (rig.daemon.log(), str(rig.status())):
            assert OLD_KEY not in text
            assert NEW_KEY not in text


def test_a_key_in_a_file_is_read_again_by_a_reload(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(OLD_KEY)
    with serving(tmp_path / "d") as rig:
        rewrite(rig, lambda c: c["llm"]["providers"]["scripted"].update(api_key=f"file:{key}"))
        assert reload(rig)["changes"] == []
        key.write_text(NEW_KEY)
        assert [change["path"] for change in reload(rig)["changes"]] == [
            "llm.providers.scripted.api_key"
        ]
        rig.daemon.result("chat", prompt="with it")
        assert key_of(rig.provider.requests[-1]) == NEW_KEY


@pytest.mark.fault("O3")
def test_a_wrong_configuration_changes_nothing_and_every_problem_is_told(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        before = rig.daemon.result("models")
        write(rig, "llm:\n  default_provder: openai\n  max_retries: many\nacess: {}\n")
        outcome = rig.daemon.result("reload")
        assert outcome["applied"] is False
        path = rig.daemon.folder / "sutler.yaml"
        told = "\n".join(outcome["problems"])
        assert f"{path}:2: llm.default_provder" in told
        assert "did you mean 'default_provider'?" in told
        assert f"{path}:3: llm.max_retries" in told
        assert f"{path}:4: acess" in told
        assert rig.status()["last_reload"]["problems"] == outcome["problems"]
        for problem in outcome["problems"]:
            assert problem.split(": ", 1)[1][:40] in rig.daemon.log()
        assert rig.daemon.result("models") == before
        rewrite(rig, lambda c: None, access={"operators": {"users": ["nobody-of-that-name"]}})
        (problem,) = rig.daemon.result("reload")["problems"]
        assert "nobody is called 'nobody-of-that-name'" in problem
        write(rig, "")
        (rig.daemon.folder / "sutler.yaml").unlink()
        (problem,) = rig.daemon.result("reload")["problems"]
        assert "cannot be read" in problem
        assert rig.daemon.result("models") == before


@pytest.mark.fault("O3")
def test_ten_hangups_in_a_second_under_load_lose_no_call(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        done = threading.Event()
        replies: list[str] = []
        failures: list[Exception] = []

        def ask(name: int) -> None:
            with sutler.Client(str(rig.daemon.socket), reconnect_s=0.0) as client:
                number = 0
                while not done.is_set():
                    number += 1
                    try:
                        prompt = f"{name} {number}"
                        assert client.chat(prompt, temperature=1.0) == f"to: {prompt}"
                        replies.append(prompt)
                    except Exception as error:  # noqa: BLE001 -- shown by the assertion below
                        failures.append(error)
                        return

        threads = [threading.Thread(target=ask, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for number in range(10):
            if number % 2:
                write(rig, "llm: [this, is, no, group]\n")
            else:
                rewrite(rig, lambda c, n=number: c["llm"].update(max_retries=n))  # type: ignore[misc]
            rig.daemon.process.send_signal(signal.SIGHUP)
        rewrite(rig, lambda c: c["llm"].update(max_retries=1))
        rig.daemon.process.send_signal(signal.SIGHUP)
        until(lambda: (last := rig.status()["last_reload"]) and last["applied"])
        count = len(replies)
        until(lambda: len(replies) > count + 20 or failures)
        done.set()
        for thread in threads:
            thread.join()
        assert failures == []


@pytest.mark.fault("O3")
def test_the_service_manager_hears_of_a_reload_and_that_it_is_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with serving(tmp_path / "d", environ=environ) as rig:
            assert manager.recv(1000).startswith(b"READY=1\nSTATUS=serving on ")
            for text, said in (("llm: 7\n", b"reload refused"), ("", b"reloaded: ")):
                write(rig, text)
                rig.daemon.process.send_signal(signal.SIGHUP)
                assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert manager.recv(1000).startswith(b"READY=1\n")
                assert said in manager.recv(1000)
            rewrite(rig, lambda c: None)
            reload(rig)


@pytest.mark.fault("O4")
def test_a_provider_is_taken_out_and_its_call_under_way_ends_as_it_began(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        other = {
            "kind": "openai_compatible",
            "base_url": rig.provider.base_url,
            "api_key": "sk-of-the-other-one",
            "default_model": "other-model",
            "models": ["other-model"],
        }
        rewrite(rig, lambda c: c["llm"]["providers"].update(other=other))
        reload(rig)
        rig.answers["slow"] = held("gate", answers.openai_error(503, "not now"))
        slow = client.send("chat", prompt="slow", model="other-model")
        rig.wait_until_asked("slow")
        rewrite(rig, lambda c: None)
        changes = reload(rig)["changes"]
        assert [(each["path"], each["after"]) for each in changes] == [
            ("llm.providers.other", None)
        ]
        assert "sk-of-the-other-one" not in str(changes)
        refused = rig.daemon.ask("chat", prompt="fresh", model="other-model")
        assert refused["error"]["data"]["type"] == "invalid_params"
        # It is even tried again where it began, though new calls cannot go there any more.
        rig.answers["slow"] = answers.openai_chat("the second time")
        rig.provider.open("gate")
        assert client.final(slow)[1]["result"]["content"] == "the second time"


@pytest.mark.fault("O4")
def test_a_lowered_limit_keeps_levels_in_proportion_and_refuses_what_never_fits(
    tmp_path: Path,
) -> None:
    limits = {"scripted": {"requests_per_minute": 60, "burst_s": 60, "calls_in_flight": 1}}
    with serving(tmp_path, llm={"rate_limits": limits}) as rig, rig.client() as client:
        for number in range(29):
            rig.daemon.result("chat", prompt=f"one of {number}")
        rig.answers["slow"] = held("gate", answers.openai_chat("at last"))
        slow = client.send("chat", prompt="slow")
        rig.wait_until_asked("slow")
        waiting = [client.send("chat", prompt=f"behind {number}") for number in range(3)]
        until(lambda: rig.daemon.result("queue")["waiting"])
        (before,) = rig.status()["buckets"]
        lower = {"requests_per_minute": 30, "burst_s": 60, "calls_in_flight": 2}
        rewrite(rig, lambda c: c["llm"].update(rate_limits={"scripted": lower}))
        reload(rig)
        (after,) = rig.status()["buckets"]
        buckets = [each["buckets"]["requests"] for each in (before, after)]
        full = [bucket["level"] / bucket["capacity"] for bucket in buckets]
        # Refilled a little between the two looks, and never full again.
        assert full[0] - 0.15 < full[1] < 0.8
        assert after["buckets"]["requests"]["per_minute"] == 30
        # One more may be in flight now: who waited goes on, and the first was not forgotten.
        for request_id in waiting:
            assert client.final(request_id)[1]["result"]["content"].startswith("to: behind")
        assert rig.status()["buckets"][0]["in_flight"] == 1
        rig.provider.open("gate")
        assert client.final(slow)[1]["result"]["content"] == "at last"


def test_what_waits_for_more_than_a_lowered_limit_can_ever_give_is_told_so(tmp_path: Path) -> None:
    limits = {"scripted": {"output_tokens_per_minute": 6000, "calls_in_flight": 1}}
    with serving(tmp_path, llm={"rate_limits": limits}) as rig, rig.client() as client:
        rig.answers["slow"] = held("gate", answers.openai_chat("at last"))
        slow = client.send("chat", prompt="slow", max_tokens=10)
        rig.wait_until_asked("slow")
        large = client.send("chat", prompt="large", max_tokens=5000)
        small = client.send("chat", prompt="small", max_tokens=10)
        until(lambda: len(rig.daemon.result("queue")["waiting"]) == 2)
        lower = {"output_tokens_per_minute": 600, "calls_in_flight": 1}
        rewrite(rig, lambda c: c["llm"].update(rate_limits={"scripted": lower}))
        reload(rig)
        error = client.final(large)[1]["error"]
        assert (error["data"]["type"], error["data"]["retryable"]) == ("rate_limited", False)
        rig.provider.open("gate")
        assert client.final(slow)[1]["result"]["content"] == "at last"
        assert client.final(small)[1]["result"]["content"] == "to: small"
        rewrite(rig, lambda c: None)
        reload(rig)


def test_cached_questions_go_where_the_new_configuration_sends_them(tmp_path: Path) -> None:
    with serving(tmp_path) as rig, rig.client() as client:
        first = client.result("chat", prompt="where?")
        assert client.result("chat", prompt="where?")["cached"]
        rewrite(rig, lambda c: c["llm"]["providers"]["scripted"].update(default_model="second"))
        reload(rig)
        second = client.result("chat", prompt="where?")
        assert second["cached"] is False
        assert rig.provider.requests[-1].json["model"] == "second"
        rewrite(rig, lambda c: None)
        reload(rig)
        third = client.result("chat", prompt="where?")
        assert third["cached"] is True
        assert third["model"] == first["model"]


def test_what_needs_a_restart_is_named_and_the_rest_is_taken_over(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:

        def change(config: Config) -> None:
            config["llm"] |= {"cache": {"max_size_mb": 7}, "aliases": {"mine": "test-model"}}
            config["daemon"] = {"socket": str(tmp_path / "elsewhere"), "log_format": "json"}

        rewrite(rig, change)
        waits = {each["path"]: each["waits"] is not None for each in reload(rig)["changes"]}
        # The socket is the command line's, above any file.
        assert waits == {
            "llm.cache.max_size_mb": True,
            "llm.aliases.mine": False,
            "daemon.log_format": True,
        }
        assert rig.daemon.result("chat", prompt="by alias", model="mine")["content"]
        # Asked again, what waits is still told.
        assert sum(each["waits"] is not None for each in reload(rig)["changes"]) == 2


def test_the_command_prints_the_differences_and_fails_for_a_wrong_file(tmp_path: Path) -> None:
    with serving(tmp_path) as rig:
        at = {"SUTLER_SOCKET": str(rig.daemon.socket)}
        rewrite(rig, rotate)
        done = command.sutler("reload", env=at)
        assert done.returncode == 0
        assert done.stdout == b'llm.providers.scripted.api_key: "***" -> "***" (another one)\n'
        write(rig, "lmm: {}\n")
        done = command.sutler("reload", env=at)
        assert done.returncode == 1
        assert b"did you mean 'llm'?" in done.stdout
        assert b"the old one stays in force" in done.stderr
        done = command.sutler("drain", env=at)
        assert done.returncode == 0
        assert rig.daemon.process.wait(20) == 0
        rewrite(rig, rotate)
        rig.daemon.start()


@needs_root
@pytest.mark.fault("X18")
def test_who_is_unlisted_by_a_reload_is_shown_out_and_operators_are_operators_at_once(
    tmp_path: Path,
) -> None:
    shared = {"daemon": {"socket_mode": "0666"}}
    with serving(tmp_path, **shared) as rig:
        let_others_in(rig.daemon.socket.parent)
        (resume, resumed), (pause, paused) = os.pipe(), os.pipe()

        def other() -> list[str]:
            with rig.client() as client:
                told = []
                for _ in range(2):
                    reply = client.ask("reload")
                    told.append("ok" if "result" in reply else reply["error"]["data"]["type"])
                    os.write(paused, b".")
                    os.read(resume, 1)
                return [*told, *("said more" for _ in client.rest())]

        def operate() -> None:
            for access in ({"operators": {"users": [OTHER_UID]}}, {"users": [0]}):
                os.read(pause, 1)
                rewrite(rig, lambda c: None, access=access, **shared)
                reload(rig)
                os.write(resumed, b".")

        operator = threading.Thread(target=operate)
        operator.start()
        assert as_user(OTHER_UID, other) == ["access_denied", "ok"]
        operator.join()
        assert f'uid={OTHER_UID} why="an operator\'s method"' in rig.daemon.log()
        for each in (resume, resumed, pause, paused):
            os.close(each)


@pytest.mark.fault("O4")
def test_a_budget_lowered_below_what_is_spent_refuses_and_shows_nothing_left(
    tmp_path: Path,
) -> None:
    prices = {"scripted/test-model": {"input_usd": 1000, "output_usd": 1000}}

    def of(usd: float) -> Config:
        return {"prices": prices, "budget": {"total_limit_usd": usd}}

    with serving(tmp_path, llm=of(100)) as rig, rig.client() as client:
        spent = rig.daemon.result("chat", prompt="one", max_tokens=10)["cost_nanousd"]
        assert spent > 0
        rig.answers["slow"] = held("gate", answers.openai_chat("at last"))
        slow = client.send("chat", prompt="slow", max_tokens=10)
        rig.wait_until_asked("slow")
        (before,) = rig.daemon.result("budget")["budgets"]
        assert before["pending_nanousd"] > 0
        rewrite(rig, lambda c: c["llm"].update(of(0.001)))
        reload(rig)
        (after,) = rig.daemon.result("budget")["budgets"]
        assert after["limit_nanousd"] == 1_000_000
        for name in ("settled_nanousd", "pending_nanousd"):
            assert after[name] == before[name]
        assert after.get("remaining_nanousd", 0) == 0
        error = rig.daemon.ask("chat", prompt="two", max_tokens=10)["error"]["data"]
        assert error["type"] == "budget_exceeded"
        assert error["limit_nanousd"] == 1_000_000
        assert error["settled_nanousd"] >= spent
        rig.provider.open("gate")
        assert client.final(slow)[1]["result"]["content"] == "at last"
        rewrite(rig, lambda c: c["llm"].update(of(100)))
        reload(rig)
        assert rig.daemon.result("chat", prompt="two", max_tokens=10)["content"] == "to: two"
