"""A scripted provider, and real daemons in front of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.answers import Answer, openai_chat, openai_embeddings, openai_stream
from tests.contract.scripted import Received, ScriptedProvider
from tests.support.daemon_process import DaemonProcess

CONFIG = """\
llm:
  default_provider: scripted
  {llm}
  providers:
    scripted:
      kind: openai_compatible
      base_url: {base_url}
      api_key: not-a-real-key-1234
      default_model: test-model
      models: [test-model]
      embed_models: [test-embed]
      dimension: 2
"""

StartDaemon = Callable[..., DaemonProcess]


def answer(request: Received) -> Answer:
    """Answer by what is asked: each text has its own reply and its own vector."""
    if request.path.endswith("/embeddings"):
        texts = request.json["input"]
        vectors = [[float(len(text)), 1.0] for text in texts]
        return openai_embeddings(vectors, model="test-embed", tokens_in=len(texts))
    said = f"reply to {request.json['messages'][-1]['content']}"
    if request.json.get("stream"):
        return openai_stream(["reply ", "to ", said.removeprefix("reply to ")])
    return openai_chat(said)


@pytest.fixture(scope="module")
def module_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider.in_thread(always=answer) as scripted:
        yield scripted


@pytest.fixture
def provider(module_provider: ScriptedProvider) -> ScriptedProvider:
    module_provider.requests.clear()
    return module_provider


def temporary_folder() -> Iterator[Path]:
    """A folder with a short path: a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="st-") as path:
        yield Path(path)


folder = pytest.fixture(temporary_folder, name="folder")
module_folder = pytest.fixture(temporary_folder, scope="module", name="module_folder")


def configured(provider: ScriptedProvider, llm: str = "") -> str:
    """Write a configuration; ``llm`` are lines for the ``llm`` group."""
    return CONFIG.format(base_url=provider.base_url, llm=llm.replace("\n", "\n  "))


@pytest.fixture
def start(provider: ScriptedProvider, folder: Path) -> Iterator[StartDaemon]:
    """Start a daemon of the test's own; ``config`` goes behind the ``llm`` group."""
    with ExitStack() as stack:

        def started(name: str = "d", *, llm: str = "", config: str = "") -> DaemonProcess:
            text = configured(provider, llm) + config
            return stack.enter_context(DaemonProcess(folder / name, config=text))

        yield started


@pytest.fixture(scope="module")
def daemon(module_provider: ScriptedProvider, module_folder: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(module_folder, config=configured(module_provider)) as running:
        yield running
