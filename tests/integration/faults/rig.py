"""A daemon and a scripted provider, and the probe that every test here ends with."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.contract import answers
from tests.contract.answers import Answer, Gate
from tests.contract.scripted import Received, ScriptedProvider
from tests.support.daemon_process import DaemonProcess
from tests.support.probe import Probe
from tests.support.wire_client import WireClient

DIMENSION = 8


class Rig:
    """``limits``, ``daemon`` and so on are groups of the configuration, ``llm`` adds to its.

    ``answers`` is what the provider says to requests that hold a text; to others, ``by_default``.
    """

    def __init__(
        self,
        folder: Path,
        provider: ScriptedProvider,
        *,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        llm: Mapping[str, Any] | None = None,
        **groups: Mapping[str, Any],
    ) -> None:
        self.provider = provider
        self.answers: dict[str, Answer] = {}
        provider.always = self._answer
        config = {"llm": {**llm_group(provider.base_url), **(llm or {})}, **groups}
        self.daemon = DaemonProcess(
            folder,
            config=json.dumps(config),
            arguments=arguments,
            environ=environ,
            prefix=prefix,
        )

    def _answer(self, request: Received) -> Answer:
        body = request.body.decode()
        chosen = (answer for text, answer in self.answers.items() if text in body)
        return next(chosen, None) or by_default(request)

    def client(self, **options: Any) -> WireClient:
        return WireClient(self.daemon.socket, **options)

    def status(self) -> dict[str, Any]:
        return self.daemon.result("status")

    def rss_bytes(self) -> int:
        """Give the daemon's resident memory."""
        pages = Path(f"/proc/{self.daemon.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def asked(self, prompt: str) -> int:
        """Count the provider's requests that hold this prompt."""
        return sum(prompt in request.body.decode() for request in self.provider.requests)

    def wait_until_asked(self, prompt: str, times: int = 1) -> None:
        self.provider.wait_until(lambda: self.asked(prompt) >= times)


@contextlib.contextmanager
def serving(folder: Path, *, cached: bool = True, **settings: Any) -> Iterator[Rig]:
    """Serve, and probe at the end; leaving with an error leaves the probe out.

    ``cached`` is false where the cache is out of order on purpose.
    """
    with ScriptedProvider.in_thread() as provider:
        rig = Rig(folder, provider, **settings)
        with rig.daemon:
            probe = Probe(rig.daemon, cached=cached)
            yield rig
            rig.answers.clear()
            probe.check()


def llm_group(base_url: str, **more: Any) -> dict[str, Any]:
    scripted = {
        "kind": "openai_compatible",
        "base_url": base_url,
        "api_key": "sk-scripted-key-of-the-test",
        "default_model": "test-model",
        "models": ["test-model"],
        "embed_models": ["test-embed"],
        "dimension": DIMENSION,
    }
    return {"default_provider": "scripted", "providers": {"scripted": scripted}, **more}


def by_default(request: Received) -> Answer:
    """Answer what was asked: a chat by its last message, a text by a vector of its length."""
    body = request.json
    if request.path.endswith("/embeddings"):
        return answers.openai_embeddings(
            [[float(len(text))] * DIMENSION for text in body["input"]], model=body["model"]
        )
    said = f"to: {body['messages'][-1]['content']}"
    if body.get("stream"):
        return answers.openai_stream(re.findall(r"\S+\s*", said))
    return answers.openai_chat(said)


def held(gate: str, answer: Answer) -> Answer:
    """Have an answer wait at a gate before its first byte."""
    return Answer((Gate(gate), *answer.steps), answer.tokens_in, answer.tokens_out)


def let_others_in(folder: Path) -> None:
    """Let other users walk down to what is in a folder that root has made."""
    for each in (folder, *folder.parents):
        if each.stat().st_uid == 0 and not each.stat().st_mode & 0o011:
            each.chmod(0o711)
