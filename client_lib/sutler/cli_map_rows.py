"""The rows that ``sutler map`` reads and writes. Pure: bytes in, values out, and back.

A row read is a prompt as a JSON string, a list of messages, or an object with ``prompt`` or
``messages`` and any parameters of a call; an ``id`` in it is carried over to the row
written. A row written is ``{"index", "input", "id"?, "result" | "error"}``; ``input`` is a
digest of what was asked, by which a later run knows that the file belongs to its input.
"""

from __future__ import annotations

import hashlib
import json
import os

from sutler.calls import COMPLETE_OPTIONS, seconds
from sutler.cli_input import parameters_of, strict_json
from sutler.errors import InvalidParams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, Optional

    from sutler.errors import SutlerError

#: What every written line begins with: a torn last line is cut off only if it does, too.
LINE_START = b'{"index": '

#: What only addresses, labels or times a call may differ between a run and its resumption.
_NOT_ASKED = frozenset(("timeout_s", "lane", "labels", "metadata", "request_id", "cache"))


class Row:
    """One row to ask: its place in the input, its parameters, or why it cannot be asked."""

    __slots__ = ("_request_id", "digest", "index", "parameters", "problem", "tag")

    def __init__(
        self,
        index: int,
        digest: str,
        parameters: Dict[str, Any],
        tag: Any = None,
        problem: Optional[str] = None,
    ) -> None:
        self.index = index
        self.digest = digest
        self.parameters = parameters
        self.tag = tag
        self.problem = problem
        self._request_id = ""

    def asked(self) -> Dict[str, Any]:
        """Give the parameters with a request id that stays the same however often it is asked."""
        if not self._request_id:
            self._request_id = os.urandom(16).hex()
        asked = {"request_id": self._request_id}
        asked.update(self.parameters)
        return asked


class WrittenRow:
    """What a line of the output says about its row; ``error`` is None for an answer."""

    __slots__ = ("digest", "error", "index")

    def __init__(self, index: int, digest: str, error: Optional[Dict[str, Any]]) -> None:
        self.index = index
        self.digest = digest
        self.error = error

    @property
    def retryable(self) -> bool:
        return self.error is not None and bool(self.error.get("retryable"))


def _refuse_unknown(parameters: Dict[str, Any]) -> None:
    """Raise ValueError for what the client would refuse with the whole run."""
    for name in parameters:
        if name not in COMPLETE_OPTIONS and name not in ("prompt", "messages"):
            raise ValueError("there is no parameter %r" % name)
    if parameters.get("timeout_s") is not None:
        seconds(parameters["timeout_s"], "timeout_s")


def read_row(index: int, raw: bytes, options: Dict[str, Any]) -> Row:
    """Read one line of the input; what is wrong with it becomes the row's problem."""
    try:
        value = strict_json(raw.decode("utf-8"))
        tag = value.pop("id", None) if isinstance(value, dict) else None
        parameters = parameters_of(value, options)
        _refuse_unknown(parameters)
        asked = {name: item for name, item in parameters.items() if name not in _NOT_ASKED}
        canonical = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError, InvalidParams) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        problem = "the row cannot be asked: %s" % said
        return Row(index, _digest(raw.strip()), {}, problem=problem)
    return Row(index, _digest(canonical), parameters, tag)


def read_rows(lines: Iterable[bytes], options: Dict[str, Any]) -> Iterator[Row]:
    """Read every line that is not blank; ``options`` hold where a row says nothing itself."""
    index = 0
    for raw in lines:
        if raw.strip():
            yield read_row(index, raw, options)
            index += 1


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def written_line(row: Row, kind: str, value: Dict[str, Any]) -> bytes:
    """Give the line for ``row``; ``kind`` is ``result`` or ``error``."""
    line: Dict[str, Any] = {"index": row.index, "input": row.digest}
    if row.tag is not None:
        line["id"] = row.tag
    line[kind] = value
    return json.dumps(line).encode("ascii") + b"\n"


def read_written(raw: bytes) -> Optional[WrittenRow]:
    """Read a line of the output back; None if ``sutler map`` did not write it."""
    if not raw.startswith(LINE_START):
        return None
    try:
        line = json.loads(raw.decode("utf-8"))
        index, digest = line["index"], line["input"]
        error = None if "result" in line else line["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return WrittenRow(index, digest, error)


def is_torn(raw: bytes) -> bool:
    """Say whether ``raw``, the end of a file without a line end, is the start of our line.

    A file system that lost its power may have left zeros where the line should be.
    """
    start = raw.rstrip(b"\x00")
    return start.startswith(LINE_START) or LINE_START.startswith(start)


def error_value(error: SutlerError) -> Dict[str, Any]:
    """Give an error as the row written shows it; its names are those of the wire."""
    value: Dict[str, Any] = {
        "type": error.type,
        "message": error.message,
        "retryable": error.retryable,
        "retry_after_s": error.retry_after_s,
        "request_id": error.request_id,
    }
    if error.data:
        value["data"] = error.data
    return value


def problem_value(message: str) -> Dict[str, Any]:
    """Give the error of a row that was never sent, in the form that the daemon's errors have."""
    return {"type": "invalid_params", "message": message, "retryable": False}
