"""What the embedded child is started with, and what its first line may say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sutlerd.config.schema import EmbeddedConfig
from sutlerd.providers.embedded_child import DEFAULT_THREADS, EmbeddedChild
from sutlerd.system.clock import SystemClock
from sutlerd.system.supervision import ChildRefuses


def child(**config: object) -> EmbeddedChild:
    return EmbeddedChild(
        config=EmbeddedConfig.model_validate(config),
        model="smollm2",
        clock=SystemClock(),
        environ={"PATH": "/bin", "OPENAI_API_KEY": "sk-canary"},
    )


@pytest.mark.fault("X5")
def test_its_key_is_in_its_settings_alone_and_another_one_at_each_start() -> None:
    charge = child()
    first, second = charge.spec(), charge.spec()
    keys = [json.loads(spec.settings)["api_key"] for spec in (first, second)]
    assert len(set(keys)) == 2
    assert min(map(len, keys)) >= 40
    for spec in (first, second):
        readable_by_others = repr(spec.argv) + repr(dict(spec.environment))
        assert not any(key in readable_by_others for key in keys)
        assert "canary" not in readable_by_others


def test_a_text_with_the_key_in_it_is_masked() -> None:
    charge = child()
    assert charge.mask("nothing to hide yet") == "nothing to hide yet"
    key = json.loads(charge.spec().settings)["api_key"]
    assert charge.mask(f"it said {key}!") == "it said ***!"


def test_threads_are_the_configured_ones_else_one() -> None:
    assert child(threads=7).threads() == 7
    assert child().threads() == DEFAULT_THREADS == 1


def test_its_settings_are_those_of_the_configuration() -> None:
    settings = json.loads(child(slots=3, context_tokens=512, threads=1).spec().settings)
    assert settings["parent_pid"] == os.getpid()
    assert Path(settings["model_path"]).is_file()
    assert (settings["slots"], settings["context_tokens"], settings["threads"]) == (3, 512, 1)


def test_what_a_serving_child_says_is_not_kept_where_it_may_be_about_a_prompt() -> None:
    may_keep = child().spec().may_keep
    assert not may_keep("0.00.299.401 E srv    send_error: task id = 0, error: a prompt")
    assert may_keep("GGML_ASSERT(n_tokens <= n_batch) failed")
    assert may_keep("terminate called after throwing an instance of 'std::bad_alloc'")


def test_a_missing_file_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(ChildRefuses, match=r"embedded\.model_path cannot be read"):
        child(model_path=tmp_path / "nope.gguf").spec()


@pytest.mark.parametrize(
    ("first_line", "said"),
    [
        (b'{"error": "cannot load"}\n', "does not start: cannot load"),
        (b"Segmentation fault\n", "is not understood"),
        (b'{"address": "ftp://127.0.0.1:1"}\n', "is not understood"),
    ],
)
async def test_a_first_line_that_is_no_address_is_refused(first_line: bytes, said: str) -> None:
    with pytest.raises(ChildRefuses, match=said):
        await child().welcome(first_line)
