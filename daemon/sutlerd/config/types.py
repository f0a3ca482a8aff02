"""The kinds of values a setting may have: narrow types with a clear complaint each.

Types are checked, never guessed: a number is no text, a truth is no number, and money is
exact decimals from the characters in the file.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from sutlerd.config.readers import By, FromList, Spelt, Then, Within

MAX_USD: Final = Decimal(10) ** 9

#: Names that travel in paths, labels and logs: one narrow pattern.
Name = Annotated[str, Spelt(pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")]
Model = Annotated[str, Spelt(pattern=r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}")]
Header = Annotated[str, Spelt(pattern=r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")]
#: A user or a group: its name or its number.
Account = str | Annotated[int, Within(least=0, most=2**32 - 2)]

#: A part of the whole. An exponent without a bound would make a number of gigabytes.
_PART: Final = re.compile(r"[-+]?[0-9._]{1,40}(?:[eE][-+]?[0-9]{1,3}|/[0-9_]{1,40})?")

Seconds = Annotated[float, Within(above=0, most=366 * 86_400)]
Percent = Annotated[float, Within(least=0, most=100)]
Count = Annotated[int, Within(least=1, most=2**53)]
Bytes = Annotated[int, Within(least=1, most=2**50)]


def _usd(value: Any) -> Decimal:
    # A float has already lost the digits that were written.
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("must be an amount in dollars, e.g. 12.50, without quotes")
    amount = Decimal(value)
    if not (amount.is_finite() and 0 <= amount <= MAX_USD):
        raise ValueError(f"must be between 0 and {MAX_USD} dollars")
    return amount


def _share(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal, Fraction)):
        raise ValueError("must be a part of the whole, e.g. 1/16 or 0.25")
    if isinstance(value, str) and not _PART.fullmatch(value.strip()):
        raise ValueError("must be a part of the whole, e.g. 1/16 or 0.25")
    try:
        part = Fraction(value)
    except (ValueError, ZeroDivisionError, InvalidOperation, OverflowError):
        raise ValueError("must be a part of the whole, e.g. 1/16 or 0.25") from None
    if not 0 < part <= 1:
        raise ValueError("must be above 0 and at most 1")
    return part


def _zone(value: str) -> str:
    if value == "UTC":
        return value
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        from sutlerd.config.problems import suggestion

        near = suggestion(value, zoneinfo.available_timezones())
        raise ValueError(f"no such time zone; use a name such as Europe/Berlin{near}") from None
    return value


def _mode(value: str) -> str:
    digits = value.removeprefix("0o").removeprefix("0")
    if len(digits) != 3 or not set(digits) <= set("01234567"):
        raise ValueError('must be a file mode in octal digits, e.g. "0660"')
    return "0" + digits


def _absolute(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("must be a path without NUL characters")
    if str(path).startswith("~/"):
        try:
            path = path.expanduser()
        except RuntimeError:
            raise ValueError("begins with ~, and there is no home folder") from None
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _base_url(value: str) -> str:
    try:
        split = urlsplit(value)
        usable = split.scheme in ("http", "https") and bool(split.hostname)
        _ = split.port
    except ValueError:
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise ValueError("must be an address such as https://host/v1")
    if split.username is not None or split.password is not None:
        raise ValueError("must hold no user and no password; a key goes into api_key")
    if split.query or split.fragment:
        raise ValueError("must end with its path: no '?' and no '#'")
    return value.rstrip("/")


def host_and_port(text: str) -> tuple[str, int]:
    """Split ``host:port``, an IPv6 host in brackets. Raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError("must be host:port, e.g. 127.0.0.1:8788")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _loopback(text: str) -> str:
    host, _ = host_and_port(text)
    if host not in ("127.0.0.1", "::1"):
        raise ValueError(
            "must be on loopback, 127.0.0.1 or [::1]: what comes from elsewhere is not encrypted"
        )
    return text


Usd = Annotated[Decimal, By(_usd)]
Share = Annotated[Fraction, By(_share)]
Zone = Annotated[str, Then(_zone)]
Loopback = Annotated[str, Then(_loopback)]
SocketMode = Annotated[str, Then(_mode)]
AbsolutePath = Annotated[Path, Then(_absolute)]
BaseUrl = Annotated[str, Then(_base_url)]

#: Marks a tuple that files write as a list.
AsList = FromList()
