"""Answers between the daemon's cache and a file, and two files compared."""

from __future__ import annotations

from sutler.cache_file import Opened, Packed, batches, check, served_by
from sutler.cli_exit import CommandFailed, exit_code_for
from sutler.errors import SutlerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional, Tuple

    from sutler.client import Client

    #: ``-`` only in the first, ``+`` only in the second, ``~`` another answer; and the entries.
    Change = Tuple[str, Optional[Dict[str, Any]], Optional[Dict[str, Any]]]

_BATCH = 200
_BATCH_BYTES = 1 << 20
_SHOWN_CHARS = 60
_HEAD = ("version", "key_version", "price_table", "prompts")


def save(client: Client, path: str, scope: Optional[str] = None) -> Dict[str, Any]:
    """Write what is stored to a file, in its place when it is whole; give its manifest.

    Raises OSError where it cannot be written, and the client's errors.
    """
    asked: Dict[str, Any] = {} if scope is None else {"scope": scope}
    with Packed(path) as packed:
        while True:
            step = client.call("cache.export", asked)
            if "head" in step:
                packed.head(step["head"])
            for entry in step["entries"]:
                packed.add(entry)
            if step["next"] is None:
                break
            asked["after"] = step["next"]
        manifest = packed.end()
    return {**manifest, "left_out": packed.left_out}


def load(
    client: Client, path: str, scope: Optional[str] = None, ttl_s: Optional[float] = None
) -> Dict[str, int]:
    """Bring a file's answers into the cache; give how many were stored, and not.

    The whole file is checked before the first answer is stored. Raises `UsageProblem` for a
    file that is not whole; what the daemon refuses tells the lines.
    """
    total = {"stored": 0, "present": 0, "expired": 0, "dropped": 0}
    asked: Dict[str, Any] = {}
    if scope is not None:
        asked["scope"] = scope
    if ttl_s is not None:
        asked["ttl_s"] = ttl_s
    check(path)
    with Opened(path) as opened:
        asked["key_version"] = opened.head["key_version"]
        for batch, first in batches(opened, _BATCH, _BATCH_BYTES):
            try:
                step = client.call("cache.import", {**asked, "entries": batch})
            except SutlerError as error:
                place = "%s, lines %d to %d" % (path, first, first + len(batch) - 1)
                said = "%s: %s (%d answers were stored before)" % (place, error, total["stored"])
                raise CommandFailed(said, exit_code_for(error)) from error
            for name in total:
                total[name] += step[name]
    return total


def changes(one: Opened, other: Opened) -> Iterator[Change]:
    """Give what differs between two files, in the order of keys; neither is held in memory."""
    left, right = _entries(one), _entries(other)
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and _place(a) < _place(b)):
            yield "-", a, None
            a = next(left, None)
        elif a is None or _place(b) < _place(a):
            yield "+", None, b
            b = next(right, None)
        else:
            yield ("=" if _answer(a) == _answer(b) else "~"), a, b
            a, b = next(left, None), next(right, None)


def differing_heads(one: Opened, other: Opened) -> Iterator[str]:
    """Say what the answers of two files do not both stand on."""
    for name in _HEAD:
        if one.head.get(name) != other.head.get(name):
            if name == "prompts":
                yield "other prompts in the library"
            else:
                yield "%s: %s, %s" % (name, one.head.get(name), other.head.get(name))


def shown(entry: Dict[str, Any]) -> str:
    """Give an answer in a line for people."""
    reply = entry.get("reply")
    if reply is None:
        said = "%d floats" % entry["dimension"]
    else:
        said = repr(str(reply.get("content") or reply.get("tool_calls"))[:_SHOWN_CHARS])
    return "%s %s: %s" % (entry["key"][:12], served_by(entry), said)


def _entries(opened: Opened) -> Iterator[Dict[str, Any]]:
    return (entry for entry, _ in opened.entries())


def _place(entry: Dict[str, Any]) -> Tuple[str, str]:
    return entry["kind"], entry["key"]


def _answer(entry: Dict[str, Any]) -> Dict[str, Any]:
    """Give what was answered, without when and for how much."""
    answer = {name: entry[name] for name in entry if not name.endswith("_unix_s")}
    if "reply" in answer:
        answer["reply"] = {**answer["reply"], "saved_nanousd": None}
    return answer
