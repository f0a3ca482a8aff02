"""A file of stored answers: JSON lines, packed by gzip. Loaded by ``sutler cache`` and ``run``.

The first line is a head: what the answers stand on. Then come the answers, in the order of their
keys. The last line is the manifest: how many they are, who gave them, which prompts they were
made from, and a hash of all lines before. A file is read in one pass that holds one line; what
it says is believed only after the manifest.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import zlib

from sutler.cli_exit import UsageProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, NoReturn, Optional, Tuple

FORMAT = 1
#: An answer of more takes no line of the wire on the way back.
MAX_LINE_BYTES = 8 << 20
#: What is larger, unpacked, and more than so many times its size is made to fill a disk.
_HARMLESS_BYTES = 64 << 20
_MOST_TIMES = 200
_MOST_DIGITS = 4000
_GZIP = b"\x1f\x8b"
_KINDS = ("reply", "vector")


class Tally:
    """What the manifest says, counted line by line."""

    def __init__(self) -> None:
        self.entries = 0
        self._models: Dict[str, int] = {}
        self._prompts: Dict[str, str] = {}
        self._fingerprints = hashlib.sha256()
        self._lines = hashlib.sha256()

    def line(self, line: bytes) -> None:
        self._lines.update(line)

    def entry(self, entry: Dict[str, Any]) -> None:
        self.entries += 1
        self._fingerprints.update(("%s %s\n" % (entry["kind"], entry["key"])).encode())
        served = served_by(entry)
        self._models[served] = self._models.get(served, 0) + 1
        prompt = (entry.get("reply") or {}).get("prompt")
        if prompt:
            self._prompts["%s@%s" % (prompt["name"], prompt["version"])] = prompt["hash"]

    def manifest(self) -> Dict[str, Any]:
        return {
            "entries": self.entries,
            "models": dict(sorted(self._models.items())),
            "prompts": dict(sorted(self._prompts.items())),
            "fingerprints_sha256": self._fingerprints.hexdigest(),
            "lines_sha256": self._lines.hexdigest(),
        }


def served_by(entry: Dict[str, Any]) -> str:
    """Name who gave an answer: ``provider/model``, and the model alone for a vector."""
    reply = entry.get("reply")
    return "%s/%s" % (reply["provider"], reply["model"]) if reply else str(entry["model"])


class Packed:
    """Writes a file in its place, whole or not at all. A context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fresh = "%s.%d.new" % (path, os.getpid())
        self._tally = Tally()
        #: Answers that are too long for a line.
        self.left_out = 0

    def __enter__(self) -> Packed:
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            raise OSError(errno.EINVAL, "is no file, and would be replaced by one")
        # Answers are nobody else's to read.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._raw = open(os.open(self._fresh, flags, 0o600), "wb")
        # No name and no time in it: the same answers make the same file.
        self._file = gzip.GzipFile("", "wb", 6, self._raw, 0)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._file.close()
                self._raw.flush()
                os.fsync(self._raw.fileno())
                os.replace(self._fresh, self._path)
        finally:
            self._raw.close()
            if os.path.exists(self._fresh):
                os.unlink(self._fresh)

    def head(self, head: Dict[str, Any]) -> None:
        self._write(_spelt({"sutler_cache": FORMAT, **head}))

    def add(self, entry: Dict[str, Any]) -> None:
        line = _spelt(entry)
        if len(line) > MAX_LINE_BYTES:
            self.left_out += 1
            return
        self._tally.entry(entry)
        self._write(line)

    def end(self) -> Dict[str, Any]:
        """Write the manifest, and give it."""
        manifest = self._tally.manifest()
        self._file.write(_spelt({"manifest": manifest}))
        return manifest

    def _write(self, line: bytes) -> None:
        self._tally.line(line)
        self._file.write(line)


class Opened:
    """A file that is being read. A context manager; raises `UsageProblem` for a bad file.

    ``head`` is there at once, ``manifest`` when all of ``entries`` was gone through.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = 0
        self.manifest: Dict[str, Any] = {}
        self._tally = Tally()
        self._unpacked_bytes = 0

    def __enter__(self) -> Opened:
        try:
            if not os.path.isfile(self.path) and os.path.exists(self.path):
                raise UsageProblem("%s: is no file" % self.path)
            self._raw = open(self.path, "rb")
        except OSError as error:
            raise UsageProblem("%s: %s" % (self.path, error.strerror)) from None
        self._packed_bytes = os.fstat(self._raw.fileno()).st_size
        is_packed = self._raw.peek(2)[:2] == _GZIP
        self._read = (gzip.GzipFile(fileobj=self._raw) if is_packed else self._raw).readline
        try:
            self.head = self._read_head()
        except BaseException:
            self._raw.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def entries(self) -> Iterator[Tuple[Dict[str, Any], int]]:
        """Give each answer and the bytes of its line; at the end the manifest was right."""
        before = ("", "")
        while True:
            line = self._line()
            if not line:
                self._fail("ends before its manifest: it was cut off")
            entry = self._object(line)
            if "manifest" in entry:
                break
            place = self._place(entry)
            if place <= before:
                self._fail("is not in the order of keys")
            before = place
            self._tally.line(line)
            yield entry, len(line)
        self.manifest = entry["manifest"]
        if self.manifest != self._tally.manifest():
            self._fail("the manifest is not that of the lines before: the file was changed")
        if self._line():
            self._fail("goes on after its manifest")

    def _read_head(self) -> Dict[str, Any]:
        line = self._line()
        is_head = line.startswith(b'{"sutler_cache":')
        head = self._object(line) if is_head else {}
        if not is_head or type(head.get("key_version")) is not int:
            raise UsageProblem("%s: is no file of sutler cache export" % self.path)
        if type(head["sutler_cache"]) is not int or head["sutler_cache"] != FORMAT:
            said = (self.path, head["sutler_cache"], FORMAT)
            raise UsageProblem("%s: is of format %s; this sutler reads %d" % said)
        self._tally.line(line)
        return head

    def _line(self) -> bytes:
        """Give the next line, ``b""`` at the end."""
        try:
            line = self._read(MAX_LINE_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            self._fail("cannot be unpacked: %s" % error)
        self.number += 1
        self._unpacked_bytes += len(line)
        if len(line) > MAX_LINE_BYTES:
            self._fail("is longer than %d bytes" % MAX_LINE_BYTES)
        if self._unpacked_bytes > _HARMLESS_BYTES + _MOST_TIMES * self._packed_bytes:
            self._fail("unpacks to more than %d times its size" % _MOST_TIMES)
        if line and not line.endswith(b"\n"):
            self._fail("is cut off")
        return line

    def _object(self, line: bytes) -> Dict[str, Any]:
        try:
            value = json.loads(
                line.decode("utf-8"),
                parse_constant=_no_constant,
                parse_int=_integer,
                parse_float=_finite,
            )
        except (ValueError, RecursionError):
            self._fail("is not JSON")
        if not isinstance(value, dict):
            self._fail("is no object")
        return value

    def _place(self, entry: Dict[str, Any]) -> Tuple[str, str]:
        """Give what the order goes by; count the entry."""
        kind, key = entry.get("kind"), entry.get("key")
        try:
            if kind not in _KINDS or type(key) is not str or len(key) != 64:
                raise ValueError
            is_reply = kind == "reply"
            if is_reply is not isinstance(entry.get("reply"), dict):
                raise ValueError
            if not is_reply and type(entry["dimension"]) is not int:
                raise ValueError
            self._tally.entry(entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._fail("is no answer")
        return str(kind), key

    def _fail(self, said: str) -> NoReturn:
        raise UsageProblem("%s:%d: %s" % (self.path, self.number, said))


def check(path: str) -> Dict[str, Any]:
    """Go through a whole file; give its manifest. Raises `UsageProblem`."""
    with Opened(path) as opened:
        for _ in opened.entries():
            pass
        return opened.manifest


def batches(
    opened: Opened, most: int, most_bytes: int
) -> Iterator[Tuple[List[Dict[str, Any]], int]]:
    """Give the answers some at a time, with the number of the first one's line."""
    batch: List[Dict[str, Any]] = []
    size_bytes, first = 0, 2
    for entry, line_bytes in opened.entries():
        if batch and (len(batch) >= most or size_bytes + line_bytes > most_bytes):
            yield batch, first
            batch, size_bytes, first = [], 0, opened.number
        batch.append(entry)
        size_bytes += line_bytes
    if batch:
        yield batch, first


def _spelt(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(digits: str) -> Optional[int]:
    # Reading a million digits takes hours before Python 3.11.
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number of %d digits" % len(digits))
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(digits)
    return value
