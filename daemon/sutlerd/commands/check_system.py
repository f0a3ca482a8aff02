"""The machine's part of ``sutlerd check``: folders, socket, limits, systemd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sutlerd.commands.findings import Finding, error, ok, warning
from sutlerd.config.schema import Config
from sutlerd.reload import access_of
from sutlerd.system.access import socket_gid
from sutlerd.system.exits import CannotStart
from sutlerd.system.filesystems import file_system
from sutlerd.system.folders import Host, Place, cache_folder, socket_path, state_folder
from sutlerd.system.hardening import connection_limit, harden
from sutlerd.system.listening import somaxconn_warning
from sutlerd.system.socket_path import closed_folder_warning

_CONNECT_LIMIT_S = 5.0
#: The first whose units know everything that ours say.
_SYSTEMD_VERSION = 247
#: Shows what the units give to the service, but for its folders.
_AS_THE_SERVICE = (
    "CREDENTIALS_DIRECTORY=/etc/credstore sutlerd check "
    "--config=/etc/sutler/sutler.yaml --socket=/run/sutler/sutler.sock"
)
_UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def check_folders(config: Config, host: Host) -> Iterator[Finding]:
    """Choose the folders as a start would; what is not there yet is made."""
    daemon = config.daemon
    yield from _folder("state folder", lambda: state_folder(daemon.state_dir, host))
    if config.llm.cache.enabled and config.llm.cache.backend != "memory":
        yield from _folder("cache folder", lambda: cache_folder(daemon.cache_dir, host))


def _folder(what: str, choose: Callable[[], Place]) -> Iterator[Finding]:
    try:
        place = choose()
    except CannotStart as refusal:
        yield error(what, refusal.message)
        return
    kind = file_system(str(place.path)).name
    yield ok(what, f"{place.path} ({place.why}), on {kind}")
    for said in place.warnings:
        yield warning(what, said)


def check_socket(config: Config, host: Host) -> Iterator[Finding]:
    what = "socket"
    try:
        place = socket_path(config.daemon.socket, host)
        socket_gid(config.daemon.socket_group)
        access_of(config, host.uid)
    except CannotStart as refusal:
        yield error(what, refusal.message)
        return
    for said in place.warnings:
        yield warning(what, said)
    closed = closed_folder_warning(place.path, config.daemon.socket_mode_bits)
    if closed is not None:
        yield warning(what, closed)
    yield _who_listens(what, place)


def _who_listens(what: str, place: Place) -> Finding:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_LIMIT_S)
        try:
            probe.connect(str(place.path))
            probe.sendall(b'{"method": "ping"}\n')
            answered = probe.recv(4096)
        except FileNotFoundError:
            return ok(what, f"{place.path} ({place.why}), free")
        except ConnectionRefusedError:
            return ok(what, f"{place.path} ({place.why}), left over from a daemon that ended")
        except OSError as trouble:
            return warning(
                what,
                f"{place.path}: what listens there does not answer ({trouble})",
                "look who it is: ss -xlp",
            )
    if b'"result"' in answered:
        return ok(what, f"{place.path} ({place.why}): a daemon answers there")
    return warning(what, f"{place.path}: something else answers there", "ss -xlp tells who")


def check_limits(config: Config) -> Iterator[Finding]:
    """Look at the limits as the daemon would set them for itself."""
    hardened = harden()
    most, limited = connection_limit(config.limits.connections, hardened.descriptors)
    for said in (*hardened.warnings, limited):
        if said is not None:
            yield warning("limits", said)
    if limited is None:
        yield ok("limits", f"{hardened.descriptors} file descriptors, {most} connections")
    backlog = somaxconn_warning()
    if backlog is not None:
        yield warning("limits", backlog, "sysctl -w net.core.somaxconn=4096")


def check_systemd(environ: Mapping[str, str]) -> Iterator[Finding]:
    what = "systemd"
    if not os.path.isdir("/run/systemd/system"):
        yield ok(what, "not running here: start sutlerd by hand, or sutler run -- COMMAND")
        return
    version = _version()
    if version is None:
        yield warning(what, "its version cannot be told", "is systemctl on the path?")
    elif version < _SYSTEMD_VERSION:
        yield warning(
            what,
            f"version {version} has no credentials",
            "keep the keys in files: api_key: file:/etc/sutler/NAME.key",
        )
    found = [path for path in _UNIT_FOLDERS if Path(path, "sutlerd.service").exists()]
    if found:
        yield ok(what, f"version {version}, units in {found[0]}")
        if "STATE_DIRECTORY" not in environ:
            yield warning(
                what,
                "the service has keys, folders and a socket of its own, and these are yours",
                f"{_AS_THE_SERVICE}, as root",
            )
    else:
        yield warning(what, "the units are not installed", "sutlerd install --system")


def _version() -> int | None:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    try:
        said = subprocess.run(
            [systemctl, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
        return int(said.split()[1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
