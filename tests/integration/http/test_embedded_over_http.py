"""Both SDKs on the embedded model: a real model, with no key and no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.integration.http.rig import http_socket
from tests.support.daemon_process import DaemonProcess

pytestmark = pytest.mark.timeout(120)
ASK: Any = [{"role": "user", "content": "Name a noble gas."}]


@pytest.fixture(scope="module")
def daemon(module_folder: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(module_folder, config="embedded: {threads: 1}\n") as running:
        yield running


def client(daemon: DaemonProcess) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(http_socket(daemon))), timeout=100)


def test_the_openai_package_on_the_embedded_model(daemon: DaemonProcess) -> None:
    with openai.OpenAI(
        base_url="http://localhost/v1", api_key="none", http_client=client(daemon)
    ) as sdk:
        reply = sdk.chat.completions.create(model="embedded", messages=ASK, max_tokens=12)
        assert reply.choices[0].message.content
        assert reply.usage is not None
        assert reply.usage.completion_tokens > 0
        stream = sdk.chat.completions.create(
            model="embedded",
            messages=[{"role": "user", "content": "Name a river."}],
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 1
        assert chunks[-1].usage is not None
        responded = sdk.responses.create(
            model="embedded", input="Name a noble gas.", max_output_tokens=12
        )
        assert responded.output_text == reply.choices[0].message.content
        vectors = sdk.embeddings.create(model="embedded", input=["one wagon", "every rank"])
        assert len(vectors.data[0].embedding) == len(vectors.data[1].embedding) > 100
        schema = {
            "type": "object",
            "properties": {"gas": {"type": "string", "maxLength": 8}},
            "required": ["gas"],
            "additionalProperties": False,
        }
        formatted = sdk.chat.completions.create(
            model="embedded",
            messages=ASK,
            max_tokens=40,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "gas", "schema": schema, "strict": True},
            },
        )
        assert '"gas"' in (formatted.choices[0].message.content or "")


def test_the_anthropic_package_on_the_embedded_model(daemon: DaemonProcess) -> None:
    with anthropic.Anthropic(
        base_url="http://localhost", api_key="none", http_client=client(daemon)
    ) as sdk:
        reply = sdk.messages.create(model="embedded", messages=ASK, max_tokens=12)
        assert reply.content[0].type == "text"
        assert reply.usage.output_tokens > 0
        with sdk.messages.stream(
            model="embedded", messages=[{"role": "user", "content": "Name a sea."}], max_tokens=12
        ) as stream:
            assert len(list(stream.text_stream)) > 1
        counted = sdk.messages.count_tokens(model="embedded", messages=ASK)
        assert counted.input_tokens > 3
