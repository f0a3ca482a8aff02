"""Other people's clients, used as their documents say: ``llm``, LangChain, LiteLLM.

They live in an environment of their own, since they want older SDKs: set ``SUTLER_CLIENTS`` to
a Python that has them (``pip install llm langchain-openai langchain-anthropic litellm``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.faults.rig import Rig

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


def run(rig: Rig, home: Path, *command: str) -> str:
    """Run a command through ``sutler proxy``, at a home of its own."""
    environ = {**os.environ, "SUTLER_SOCKET": str(rig.daemon.socket), "HOME": str(home)}
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
    said = run(rig, tmp_path, CLIENTS, "-c", LANGCHAIN)
    assert said.splitlines() == [
        "to: by LangChain",
        "to: streamed by LangChain",
        "to: by the other class",
        "8",
    ]


def test_litellm_asks_by_both_apis(rig: Rig, tmp_path: Path) -> None:
    said = run(rig, tmp_path, CLIENTS, "-c", LITELLM).splitlines()
    # It also says on standard output that it does not know the model's price.
    assert said.count("to: by LiteLLM") == 3
