"""``${NAME}`` and ``${NAME:-default}`` in values, and secrets kept in files.

Pure but for the two look-ups it is given. A name is looked for among systemd's credentials
first, because what the service manager hands over never enters the environment; a variable
that is set but empty counts as unset, as it does in a shell's ``${NAME:-default}``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from sutlerd.domain.record import record

MAX_SECRET_BYTES: Final = 64 * 1024

#: ``$${`` stands for a literal ``${``.
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")

#: Reads at most so many bytes of a small file; raises ``OSError``.
ReadSecret = Callable[[str, int], bytes]


@record
class Substituted:
    """A value after substitution. ``text`` is ``None`` if a variable of it is unset.

    ``origin`` tells where it came from, e.g. ``$NAME``; it is empty if nothing was replaced.
    """

    text: str | None
    origin: str = ""


class SubstitutionFault(Exception):
    """A reference that cannot be followed; the message never holds a value."""


class Sources:
    """Where values from outside of the file come from."""

    def __init__(self, environ: Mapping[str, str], read_secret: ReadSecret) -> None:
        self._environ = environ
        self._read_secret = read_secret

    def substitute(self, text: str) -> Substituted:
        """Replace every reference in ``text``. Raises ``SubstitutionFault``."""
        if "${" not in text:
            return Substituted(text=text)
        origins: list[str] = []
        pieces: list[str] = []
        unset: list[str] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            pieces.append(text[end : match.start()])
            end = match.end()
            if match[0] == "$${":
                pieces.append("${")
                continue
            name, default = match[1], match[2]
            if name is None:
                raise SubstitutionFault("'${' begins no ${NAME} or ${NAME:-default}; write '$${'")
            found = self.look_up(name)
            origins.append(found.origin)
            if found.text is not None:
                pieces.append(found.text)
            elif default is not None:
                pieces.append(default)
            else:
                unset.append(found.origin)
        pieces.append(text[end:])
        if unset:
            return Substituted(text=None, origin=" and ".join(dict.fromkeys(unset)))
        return Substituted(text="".join(pieces), origin=" and ".join(dict.fromkeys(origins)))

    def look_up(self, name: str) -> Substituted:
        """Find a name among the credentials, then in the environment."""
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if folder:
            try:
                text = self._read(os.path.join(folder, name))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise SubstitutionFault(f"credential {name}: {error.strerror}") from None
            else:
                return Substituted(text=text or None, origin=f"credential {name}")
        return Substituted(text=self._environ.get(name) or None, origin=f"${name}")

    def secret(self, text: str) -> Substituted:
        """Follow ``file:PATH`` and ``credential:NAME``; anything else is the secret itself."""
        scheme, separator, rest = text.partition(":")
        if not separator or scheme not in ("file", "credential"):
            return Substituted(text=text)
        if scheme == "credential":
            found = self._credential(rest)
        else:
            found = self._file(rest)
        if not found.text:
            raise SubstitutionFault(f"{found.origin} is empty")
        return found

    def _credential(self, name: str) -> Substituted:
        if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,255}", name) or name in (".", ".."):
            raise SubstitutionFault("'credential:' wants the name of a systemd credential")
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SubstitutionFault(
                f"credential {name}: $CREDENTIALS_DIRECTORY is not set; "
                f"give the unit LoadCredential={name}:PATH"
            )
        return self._from_file(os.path.join(folder, name), f"credential {name}")

    def _file(self, path: str) -> Substituted:
        if not os.path.isabs(path):
            raise SubstitutionFault("'file:' wants an absolute path")
        return self._from_file(path, f"file:{path}")

    def _from_file(self, path: str, origin: str) -> Substituted:
        try:
            return Substituted(text=self._read(path), origin=origin)
        except OSError as error:
            raise SubstitutionFault(f"{origin}: {error.strerror or 'cannot be read'}") from None

    def _read(self, path: str) -> str:
        raw = self._read_secret(path, MAX_SECRET_BYTES)
        try:
            return raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise OSError(0, "is not UTF-8 text") from None
