"""What is in the repository works anywhere: it names no one's machine and no package index."""

from __future__ import annotations

import socket

from tests.tidy.sources import ROOT, tracked_files

#: Written in two halves, so that this list does not find itself.
FORBIDDEN = tuple(
    "".join(halves)
    for halves in (
        ("/wo", "rk/"),
        ("/opt/", "pypi"),
        ("/opt/", "wheels"),
        ("/tmp/", "w/"),
        ("py", "pi.org"),
        ("python", "hosted.org"),
        ("npmjs", ".org"),
        ("deb.", "debian.org"),
        ("--index", "-url"),
        ("--find", "-links"),
    )
)
#: The option that keeps an index out of the lock is the one place where an index is named.
ALLOWED = {"Makefile": "--no-emit-index-url"}


def test_no_tracked_file_names_a_machine_or_an_index() -> None:
    forbidden = list(FORBIDDEN)
    host = socket.gethostname()
    if len(host) >= 8 and any(character.isdigit() for character in host):
        forbidden.append(host)  # a generated name; "localhost" and its like are words
    found = []
    for path in tracked_files():
        name = str(path.relative_to(ROOT))
        text = path.read_bytes().decode("utf-8", "replace").replace(ALLOWED.get(name, "\0"), "")
        found += [f"{name}: {word}" for word in forbidden if word in text]
    assert found == []
