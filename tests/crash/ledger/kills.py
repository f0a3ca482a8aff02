"""Kills a daemon over and over under load, and compares its ledger with the provider's bill."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, Self

from sutlerd.app import LEDGER
from tests.contract.answers import Answer, Wait, openai_chat
from tests.contract.scripted import Received, ScriptedProvider
from tests.integration.ledger.conftest import NANO_IN, NANO_OUT, configured
from tests.support.daemon_process import DaemonProcess
from tests.support.ledger_file import LedgerFile, read_ledger
from tests.support.wire_client import WireClient

CHILD = Path(__file__).with_name("daemon_child.py")
LIMIT_NANOUSD = 50 * 10**9
CALLS = 12
#: A daemon that was killed at no point is killed by us, at the latest after so long.
LIVES_S = 0.15


class Forge:
    """The process that daemons are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def fork(self, **asked: Any) -> Forked:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return Forked(self)

    def told(self) -> dict[str, int]:
        assert self._process.stdout is not None
        said: dict[str, int] = json.loads(self._process.stdout.readline())
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Forked:
    """A daemon out of a forge, as far as tests look at a process."""

    def __init__(self, forge: Forge) -> None:
        self.pid = forge.told()["pid"]
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(forge,), daemon=True).start()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("sutlerd", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _watch(self, forge: Forge) -> None:
        self.returncode = forge.told()["returncode"]
        self._ended.set()


class Killed(DaemonProcess):
    """The daemon that kills itself at ``point``."""

    point, count = "random", 1

    def __init__(self, forge: Forge, folder: Path, *, config: str) -> None:
        super().__init__(folder, config=config)
        self._forge = forge

    def launched(self) -> Any:
        return self._forge.fork(
            point=self.point,
            count=self.count,
            options=self._options(),
            folder=str(self.folder),
            log=str(self.log_path),
        )


class Kills:
    """One folder, one provider, many lives. ``chance`` decides everything that varies."""

    def __init__(
        self, forge: Forge, folder: Path, provider: ScriptedProvider, chance: random.Random
    ) -> None:
        self._chance = chance
        self._provider = provider
        provider.always = self._answer
        budget = {"daily_limit_usd": LIMIT_NANOUSD // 10**9}
        self.daemon = Killed(forge, folder, config=configured(provider, budget=budget))
        self._asked = 0
        self._acknowledged: set[str] = set()
        #: Asked and not answered, with the length that was asked for: asked again in a later life.
        self._owed: deque[tuple[str, int]] = deque()

    def live(self, point: str, count: int) -> bool:
        """Let one daemon live until it is killed; tell whether it died at its point."""
        self.daemon.point, self.daemon.count = point, count
        clients = []
        try:
            self.daemon.start()
        except AssertionError:
            assert self.daemon.process.returncode == -signal.SIGKILL, self.daemon.log()[-2000:]
            return True
        for _ in range(3):
            clients.append(threading.Thread(target=self._ask, daemon=True))
            clients[-1].start()
        process = self.daemon.process
        with contextlib.suppress(subprocess.TimeoutExpired):
            lives_s = LIVES_S * (self._chance.random() if point == "random" else 1.0)
            process.wait(lives_s)
        at_its_point = process.poll() is not None
        self.daemon.kill()
        assert process.returncode == -signal.SIGKILL
        for client in clients:
            client.join(30)
        return at_its_point

    def check(self) -> LedgerFile:
        """Compare what the file says with what the provider billed and callers were told."""
        ledger = read_ledger(self.daemon.folder / "state" / LEDGER)
        tokens_in, tokens_out = self._provider.billed_tokens()
        billed = tokens_in * NANO_IN + tokens_out * NANO_OUT
        spent = ledger.settled() + ledger.held()
        unknown = ledger.held() + sum(each.cost_nanousd for each in ledger.unknown)
        assert ledger.is_consistent()
        assert billed <= spent <= billed + unknown
        assert spent <= LIMIT_NANOUSD
        written = [each.held.request_id for each in ledger.records]
        written += [held.request_id for held in ledger.open]
        assert len(set(written)) == len(written), "an attempt is in the ledger twice"
        assert self._acknowledged <= set(written), "an acknowledged attempt is lost"
        bought = Counter(r.json["messages"][-1]["content"] for r in self._provider.requests)
        assert max(bought.values(), default=0) <= 1, "a request id was paid for twice"
        return ledger

    def _answer(self, request: Received) -> Answer:
        usual = openai_chat(
            tokens_in=self._chance.randrange(1, 60),
            tokens_out=self._chance.randrange(1, request.json["max_tokens"] + 1),
        )
        wait = Wait(self._chance.choice((0.0, 0.002, 0.02)))
        return Answer((wait, *usual.steps), usual.tokens_in, usual.tokens_out)

    def _ask(self) -> None:
        """Ask on one connection until it breaks, and remember what was answered."""
        names: dict[object, tuple[str, int]] = {}
        with contextlib.suppress(OSError, EOFError), WireClient(self.daemon.socket) as client:
            while True:
                while len(names) < CALLS:
                    name, most = self._next()
                    names[name] = name, most
                    client.send(
                        "chat",
                        as_id=name,
                        prompt=name,
                        request_id=name,
                        max_tokens=most,
                        cache="off",
                    )
                line = client.line()
                name, _ = names.pop(line["id"])
                if "result" in line:
                    self._acknowledged.add(name)
                else:
                    assert line["error"]["data"]["type"] in ("outcome_unknown", "shutting_down")
        self._owed.extend(names.values())

    def _next(self) -> tuple[str, int]:
        with contextlib.suppress(IndexError):
            if self._chance.random() < 0.3:
                return self._owed.popleft()
        self._asked += 1
        name = f"{threading.get_ident()}-{self._asked}-{time.monotonic_ns()}"
        return name, self._chance.randrange(1, 200)
