"""Where state, cache and socket are.

What the operator or systemd names is used or refused, never exchanged for another place.
Where nobody names one, the defaults are tried in order: XDG's folders, then ``$TMPDIR`` and
``/tmp`` under ``sutler-UID``; what was passed over, and why, is handed back to be logged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from sutler.wire import socket_candidates
from sutlerd.domain.record import record
from sutlerd.system.filesystems import Statfs, file_system, kernel_statfs
from sutlerd.system.open_folder import FolderRefused, UnsafeFolder, UnusableFolder, open_folder


@record
class Host:
    """What the choice depends on: the environment, who we are, and the kernel's statfs."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    statfs: Statfs = kernel_statfs


@record
class Place:
    """A chosen path, whose folder is there and safe.

    ``why`` names what chose it. ``warnings`` are whole sentences for the log: better places
    that were passed over, and file systems that nothing is known about.
    """

    path: Path
    why: str
    warnings: tuple[str, ...] = ()


@record
class _Purpose:
    word: str
    option: str
    systemd_variable: str
    xdg_variable: str = ""
    below_home: str = ""


@record
class _Candidate:
    """A default place. ``folders`` are made and checked in order, the last one is meant.

    Where ``is_shared``, others can put something at the path, which must not stop a start.
    """

    why: str
    base: str
    folders: tuple[Path, ...]
    private: bool
    is_shared: bool


_STATE = _Purpose(
    word="state",
    option="--state-dir",
    systemd_variable="STATE_DIRECTORY",
    xdg_variable="XDG_STATE_HOME",
    below_home=".local/state",
)
_CACHE = _Purpose(
    word="cache",
    option="--cache-dir",
    systemd_variable="CACHE_DIRECTORY",
    xdg_variable="XDG_CACHE_HOME",
    below_home=".cache",
)
_SOCKET = _Purpose(word="socket", option="--socket", systemd_variable="RUNTIME_DIRECTORY")


def state_folder(explicit: Path | None, host: Host) -> Place:
    """Choose, make and check the folder of what must last. Raises FolderRefused."""
    return _data_folder(_STATE, explicit, host)


def cache_folder(explicit: Path | None, host: Host) -> Place:
    """Choose, make and check the folder of what may be thrown away. Raises FolderRefused."""
    return _data_folder(_CACHE, explicit, host)


def socket_path(explicit: Path | None, host: Host) -> Place:
    """Choose the socket's path; its folder is made and checked. Raises FolderRefused.

    ``explicit`` goes before ``$SUTLER_SOCKET``, and that before ``$RUNTIME_DIRECTORY``.
    """
    named = host.environ.get("SUTLER_SOCKET")
    runtime = _systemd_folder(_SOCKET, host)
    if explicit is not None:
        path, why = explicit, "as configured"
    elif named:
        path, why = Path(named), "$SUTLER_SOCKET"
    elif runtime is not None:
        path, why = runtime / "sutler.sock", "$RUNTIME_DIRECTORY"
    else:
        place = _first_usable(_SOCKET, _socket_folders(host), [], host)
        return Place(path=place.path / "sutler.sock", why=place.why, warnings=place.warnings)
    path = Path(os.path.abspath(path))
    return Place(path=path, why=why, warnings=_use_given(path.parent, _SOCKET, host))


def _data_folder(purpose: _Purpose, explicit: Path | None, host: Host) -> Place:
    systemd = _systemd_folder(purpose, host)
    given = explicit if explicit is not None else systemd
    if given is not None:
        path = Path(os.path.abspath(given))
        why = "as configured" if explicit is not None else f"${purpose.systemd_variable}"
        return Place(path=path, why=why, warnings=_use_given(path, purpose, host))
    passed_over: list[str] = []
    candidates: list[_Candidate] = []
    xdg = _xdg_folder(purpose, host, passed_over)
    if xdg is not None:
        candidates.append(xdg)
    for base in _temporary_bases(host):
        own = Path(base, f"sutler-{host.uid}")
        candidates.append(
            _Candidate(
                why=f"below {base}",
                base=base,
                folders=(own, own / purpose.word),
                private=True,
                is_shared=True,
            )
        )
    return _first_usable(purpose, iter(candidates), passed_over, host)


def _systemd_folder(purpose: _Purpose, host: Host) -> Path | None:
    # systemd separates several folders of one unit with colons; the first is ours.
    first = host.environ.get(purpose.systemd_variable, "").partition(":")[0]
    return Path(first) if first else None


def _use_given(folder: Path, purpose: _Purpose, host: Host) -> tuple[str, ...]:
    """Make and check a folder that somebody named; give the warnings."""
    warnings = _check_file_system(folder, purpose, host)
    os.close(
        open_folder(folder, purpose=purpose.word, uid=host.uid, sticky_is_safe=purpose is _SOCKET)
    )
    return warnings


def _check_file_system(folder: Path, purpose: _Purpose, host: Host) -> tuple[str, ...]:
    try:
        found = file_system(str(folder), host.statfs)
    except OSError as error:
        raise UnusableFolder(
            f"the file system of the {purpose.word} folder {folder} cannot be asked for: "
            f"{error.strerror}; give another folder with {purpose.option}"
        ) from None
    if found.is_network:
        raise UnusableFolder(
            f"the {purpose.word} folder {folder} is on a network file system ({found.name}), "
            "where locks and shared memory are not dependable: give a folder on a local disk "
            f"with {purpose.option}, for example one below $TMPDIR"
        )
    if found.is_known:
        return ()
    return (
        f"the {purpose.word} folder {folder} is on a file system of an unknown kind "
        f"({found.name}): make sure that it is local to this node",
    )


def _xdg_folder(purpose: _Purpose, host: Host, passed_over: list[str]) -> _Candidate | None:
    named = host.environ.get(purpose.xdg_variable, "")
    if named and not os.path.isabs(named):
        passed_over.append(f"${purpose.xdg_variable} ({named}) is not an absolute path")
        named = ""
    home = host.environ.get("HOME", "")
    if named:
        why, base, folder = f"${purpose.xdg_variable}", "", Path(named, "sutler")
    elif os.path.isabs(home):
        why, base, folder = "below $HOME", home, Path(home, purpose.below_home, "sutler")
    else:
        passed_over.append(f"neither ${purpose.xdg_variable} nor $HOME is set")
        return None
    return _Candidate(why=why, base=base, folders=(folder,), private=False, is_shared=False)


def _temporary_bases(host: Host) -> list[str]:
    named = host.environ.get("TMPDIR", "")
    return list(dict.fromkeys([named, "/tmp"] if os.path.isabs(named) else ["/tmp"]))


def _socket_folders(host: Host) -> Iterator[_Candidate]:
    for path in socket_candidates(host.environ, host.uid):
        folder = Path(path).parent
        if folder.is_absolute():
            yield _Candidate(
                why=f"below {folder.parent}",
                base=str(folder.parent),
                folders=(folder,),
                # /run/sutler is laid down by packages, with a mode that lets users in.
                private=str(folder) != "/run/sutler",
                is_shared=True,
            )


def _first_usable(
    purpose: _Purpose, candidates: Iterator[_Candidate], passed_over: list[str], host: Host
) -> Place:
    for candidate in candidates:
        folder = candidate.folders[-1]
        if candidate.base and not os.path.isdir(candidate.base):
            passed_over.append(f"{candidate.base} is not there")
            continue
        try:
            warnings = _check_file_system(folder, purpose, host)
            for each in candidate.folders:
                os.close(
                    open_folder(each, purpose=purpose.word, uid=host.uid, private=candidate.private)
                )
        except FolderRefused as refusal:
            if isinstance(refusal, UnsafeFolder) and not candidate.is_shared:
                raise
            passed_over.append(refusal.message)
            continue
        reasons = tuple(
            f"the {purpose.word} folder is {folder}, because {reason}" for reason in passed_over
        )
        return Place(path=folder, why=candidate.why, warnings=reasons + warnings)
    raise UnusableFolder(
        f"there is no place for the {purpose.word} folder: {'; '.join(passed_over)}; "
        f"give one with {purpose.option}"
    )
