"""Ollama's wire with a server and a client that nobody here wrote: a proxy with its API in
front of llama.cpp, and the official client as the referee of what the wire holds.

Both want a newer Python than ours, so they are looked for beside it: the tests run where
``ollama-proxy`` is on the path, with the package ``ollama`` in the same environment.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Verdict
from sutlerd.providers.ollama import Ollama
from tests.contract.harness import Wired, contents, wired
from tests.contract.llama_server import API_KEY

PROXY = shutil.which("ollama-proxy")
pytestmark = [
    pytest.mark.skipif(PROXY is None, reason="ollama-proxy is not on the path"),
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp brings the model"),
]
ROOT = Path(__file__).parents[2]
MODEL = "local/smollm2"
PROMPT = "Count from one to five."

#: Reads ``{"address", "chat", "embed"}``; writes what the client makes of them.
REFEREE = """
import json, sys, ollama
from ollama._types import ChatRequest, EmbedRequest
asked = json.load(sys.stdin)
client = ollama.Client(asked["address"])
chat, embed = asked["chat"], asked["embed"]
unknown = {
    "chat": sorted(set(chat) - set(ChatRequest.model_validate(chat).model_dump())),
    "embed": sorted(set(embed) - set(EmbedRequest.model_validate(embed).model_dump())),
}
fields = {k: v for k, v in chat.items() if k in ("model", "messages", "options", "think")}
whole = client.chat(**fields)
pieces = [piece.message.content for piece in client.chat(**fields, stream=True)]
vectors = client.embed(model=embed["model"], input=embed["input"]).embeddings
names = [model.model for model in client.list().models]
json.dump({"unknown": unknown, "whole": whole.message.content, "done": whole.done_reason,
    "streamed": "".join(pieces), "vectors": vectors, "names": names}, sys.stdout)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert PROXY is not None
    llama = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.llama_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    port = free_port()
    with llama:
        assert llama.stdout is not None
        line = next(line for line in llama.stdout if line.startswith("address "))
        settings = {
            "PATH": os.environ["PATH"],
            "EXTRA_MODELS": MODEL,
            "PROVIDERS_LOCAL_BASE_URL": line.removeprefix("address ").strip() + "/v1",
            "PROVIDERS_LOCAL_API_KEY": API_KEY,
        }
        proxy = subprocess.Popen(
            [PROXY, "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path_factory.mktemp("proxy"),
            env=settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with proxy:
            try:
                until_s = time.monotonic() + 30
                while not answers(f"http://127.0.0.1:{port}/api/tags"):
                    assert proxy.poll() is None, "the proxy ended at start"
                    assert time.monotonic() < until_s, "the proxy did not start"
                    time.sleep(0.05)
                yield f"http://127.0.0.1:{port}"
            finally:
                proxy.kill()
                llama.kill()


def refereed(question: dict[str, Any]) -> dict[str, Any]:
    """Ask the official client the same, in its own environment."""
    assert PROXY is not None
    ran = subprocess.run(
        [Path(PROXY).parent / "python", "-c", REFEREE],
        input=json.dumps(question),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


def chat(wire: Wired, **fields: Any) -> BuiltRequest:
    request = ChatRequest(
        messages=({"role": "user", "content": PROMPT},),
        **{"max_tokens": 8, "temperature": 0.0, **fields},
    )
    return wire.endpoint.build_chat(request, MODEL)


async def test_what_we_send_and_read_is_what_the_official_client_sends_and_reads(
    address: str,
) -> None:
    async with wired(
        "lean", address, dialect=Ollama(provider="node"), api_key=None, timeout_s=50
    ) as wire:
        asked, deadline_s = chat(wire), wire.deadline_s(50)
        whole = await wire.endpoint.complete(asked, deadline_s=deadline_s)
        pieces: list[Delta | Reply] = []
        async with wire.endpoint.stream(asked, deadline_s=deadline_s) as batches:
            async for batch in batches:
                pieces += batch
        texts = wire.endpoint.build_embed(EmbedRequest(texts=("a dog", "the oil")), MODEL)
        embedded = await wire.endpoint.embed(texts, deadline_s=deadline_s)
    question = {"address": address, "chat": asked.body, "embed": texts.body}
    said = refereed(question)
    # Two fields that the client has no name for, and the server's own documents have.
    assert said["unknown"] == {"chat": ["shift", "truncate"], "embed": []}
    assert said["whole"] == whole.content != ""
    assert said["done"] == whole.finish_reason
    assert isinstance(pieces[-1], Reply)
    assert said["streamed"] == "".join(contents(pieces)) == pieces[-1].content
    assert MODEL in said["names"]
    ours = [list(struct.unpack(f"<{embedded.dimension}f", v)) for v in embedded.vectors]
    assert ours == [pytest.approx(row, abs=1e-3) for row in said["vectors"]]


async def test_a_model_that_nobody_serves_is_an_error_with_the_server_s_words(
    address: str,
) -> None:
    async with wired("lean", address, dialect=Ollama(provider="node"), api_key=None) as wire:
        request = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=8)
        asked = wire.endpoint.build_chat(request, "nobody/model")
        with pytest.raises(AttemptFailed, match="nobody") as raised:
            await wire.endpoint.complete(asked, deadline_s=wire.deadline_s())
    assert raised.value.verdict is Verdict.REFUSED
