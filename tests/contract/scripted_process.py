"""The scripted provider as a process of its own, steered by files; for tests that kill things.

``ProviderProcess(folder)`` starts ``python -m tests.contract.scripted_process folder``. In
the folder: ``control.json`` (``{"always": answer, "queue": [answers]}``; a newer one replaces
what is left of the older), ``address`` once it listens, and ``journal.jsonl``: a line for each
request, written before the first byte of its answer, so that it holds the true bill whenever
either side is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from tests.contract.answers import Answer, openai_chat
from tests.contract.scripted import Received, ScriptedProvider

ROOT = Path(__file__).parents[2]


class ProviderProcess:
    """The parent's side. A context manager; the process dies with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def script(self, always: Answer | None = None, queue: list[Answer] | None = None) -> None:
        """Say what to answer from now on."""
        plain = {
            "always": (always or openai_chat()).to_json(),
            "queue": [answer.to_json() for answer in queue or []],
        }
        fresh = self.folder / "control.new"
        fresh.write_text(json.dumps(plain))
        fresh.replace(self.folder / "control.json")

    def __enter__(self) -> ProviderProcess:
        if not (self.folder / "control.json").exists():
            self.script()
        address = self.folder / "address"
        address.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.scripted_process", str(self.folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        until = time.monotonic() + 30
        while not address.exists():
            assert self.process.poll() is None, "the scripted provider ended at start"
            assert time.monotonic() < until, "the scripted provider did not start"
            time.sleep(0.01)
        self.base_url = address.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def journal(self) -> list[dict[str, Any]]:
        """Give what was asked: ``number``, ``path``, ``body``, ``tokens_in``, ``tokens_out``."""
        path = self.folder / "journal.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]


class _Steered(ScriptedProvider):
    """Reads the control file before each answer and journals each request."""

    def __init__(self, folder: Path) -> None:
        super().__init__(always=self._next)
        self._folder = folder
        self._version: tuple[int, int] | None = None
        self._journal = (folder / "journal.jsonl").open("a", buffering=1)

    def _next(self, request: Received) -> Answer:
        control = self._folder / "control.json"
        found = control.stat()
        if (found.st_mtime_ns, found.st_ino) != self._version:
            self._version = (found.st_mtime_ns, found.st_ino)
            plain = json.loads(control.read_text())
            self._usual = Answer.from_json(plain["always"])
            self._left = deque(Answer.from_json(item) for item in plain["queue"])
        answer = self._left.popleft() if self._left else self._usual
        entry = {
            "number": request.number,
            "path": request.path,
            "body": request.json if request.body else None,
            "tokens_in": answer.tokens_in,
            "tokens_out": answer.tokens_out,
        }
        self._journal.write(json.dumps(entry) + "\n")
        return answer


async def _serve(folder: Path) -> None:
    async with _Steered(folder) as provider:
        fresh = folder / "address.new"
        fresh.write_text(provider.base_url)
        fresh.replace(folder / "address")
        # The pipe from the parent closes when the parent dies, however it dies.
        await asyncio.to_thread(os.read, 0, 1)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
