"""``sutlerd install`` and ``uninstall``: the systemd units into their folders, and out again.

Files are written whole or not at all. What was changed by hand since is neither overwritten
nor removed, and the configuration never is. systemd itself is told nothing: what to run next
is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import resources
from pathlib import Path

from sutlerd.domain.record import record
from sutlerd.system.exits import CannotStart, Exit

_PLACEHOLDER = "@SUTLERD@"
#: What the service's sandbox does not show it.
_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")


@record
class _File:
    """One file of the package and where it goes. ``keeps``: it is its owner's once it is there."""

    source: str
    target: Path
    keeps: bool = False


def system_files(root: Path) -> list[_File]:
    etc = root / "etc"
    return [
        _File(source="sutlerd.service", target=etc / "systemd/system/sutlerd.service"),
        _File(source="sutlerd.socket", target=etc / "systemd/system/sutlerd.socket"),
        _File(source="sysusers.conf", target=etc / "sysusers.d/sutlerd.conf"),
        _File(source="tmpfiles.conf", target=etc / "tmpfiles.d/sutlerd.conf"),
        _File(source="sutler.yaml", target=etc / "sutler/sutler.yaml", keeps=True),
    ]


def user_files(config_home: Path) -> list[_File]:
    units = config_home / "systemd/user"
    return [
        _File(source="user/sutlerd.service", target=units / "sutlerd.service"),
        _File(source="user/sutlerd.socket", target=units / "sutlerd.socket"),
        _File(source="sutler.yaml", target=config_home / "sutler/sutler.yaml", keeps=True),
    ]


def unit_text(source: str, sutlerd: str) -> str:
    """Give a file of the package, ready to be used with this command line of the daemon."""
    text = resources.files("sutlerd").joinpath("_data/systemd", source).read_text("utf-8")
    return text.replace(_PLACEHOLDER, sutlerd)


def own_command() -> str:
    """Give how this very daemon is started, as a unit spells it."""
    beside = Path(sys.executable).with_name("sutlerd")
    return str(beside) if os.access(beside, os.X_OK) else f"{sys.executable} -m sutlerd"


def run(options: argparse.Namespace) -> Exit:
    """Do it, or say what would be done. Raises ``CannotStart`` where a file cannot be written."""
    files = _files(options)
    command = own_command()
    try:
        for each in files:
            text = unit_text(each.source, command)
            if options.command == "install":
                _say(_install(each, text, dry=options.dry_run))
            else:
                _say(_uninstall(each, text, dry=options.dry_run))
    except OSError as error:
        raise CannotStart(
            Exit.CANNOT_CREATE, f"{error.filename}: {error.strerror}; --dry-run shows what is done"
        ) from None
    if options.system and options.command == "install" and command.startswith(_HIDDEN):
        _say(
            f"warning: the service will not see {command}: its sandbox hides home and temporary "
            "folders; install sutlerd elsewhere, for example in /opt/sutler"
        )
    _say(*_next_steps(options))
    return Exit.CLEAN


def _files(options: argparse.Namespace) -> list[_File]:
    if options.system:
        return system_files(options.root)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return user_files(options.root / home.lstrip("/"))


def _install(file: _File, text: str, *, dry: bool) -> str:
    there = _read(file.target)
    if there == text:
        return f"same     {file.target}"
    if there is not None and file.keeps:
        return f"kept     {file.target}: it is yours"
    if there is not None and not dry:
        _write(file.target.with_name(file.target.name + ".before"), there)
    if not dry:
        _write(file.target, text)
    said = "would be written" if dry else "written "
    return f"{said} {file.target}" + (
        "" if there is None else f", the old one is {file.target}.before"
    )


def _uninstall(file: _File, text: str, *, dry: bool) -> str:
    there = _read(file.target)
    if there is None:
        return f"not there {file.target}"
    if there != text:
        return f"kept     {file.target}: it was changed since; remove it yourself"
    if not dry:
        file.target.unlink()
    return f"{'would be removed' if dry else 'removed '} {file.target}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, "utf-8")
        fresh.chmod(0o644)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _next_steps(options: argparse.Namespace) -> list[str]:
    systemctl = "systemctl --user" if options.user else "systemctl"
    if options.command == "uninstall":
        return [f"before: {systemctl} disable --now sutlerd.socket sutlerd.service"]
    users = [] if options.user else ["systemd-sysusers", "systemd-tmpfiles --create sutlerd.conf"]
    steps = [*users, f"{systemctl} daemon-reload", f"{systemctl} enable --now sutlerd.socket"]
    return ["next:", *(f"  {step}" for step in steps)]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
