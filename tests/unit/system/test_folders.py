"""Which folder is chosen, what is said about it, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sutlerd.system.exits import Exit
from sutlerd.system.filesystems import Statfs, kernel_statfs
from sutlerd.system.folders import Host, cache_folder, socket_path, state_folder
from sutlerd.system.open_folder import UnsafeFolder, UnusableFolder
from tests.support.other_user import OTHER_UID, needs_root

UID = os.geteuid()
NFS = 0x6969
EXT4 = 0xEF53


def _mounted(folder: Path, magic: int) -> Statfs:
    """Everything below ``folder`` is on the file system with this number, the rest on ext4."""

    def statfs(path: str) -> int:
        kernel_statfs(path)
        return magic if Path(path).is_relative_to(folder) else EXT4

    return statfs


def _host(statfs: Statfs = kernel_statfs, **environ: object) -> Host:
    return Host(environ={name: str(value) for name, value in environ.items()}, statfs=statfs)


def test_a_given_folder_is_used_before_any_other(tmp_path: Path) -> None:
    host = _host(STATE_DIRECTORY=tmp_path / "systemd", HOME=tmp_path)
    place = state_folder(tmp_path / "given", host)
    assert (place.path, place.why, place.warnings) == (tmp_path / "given", "as configured", ())
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o700


def test_systemds_folders_come_before_xdgs_and_only_its_first_counts(tmp_path: Path) -> None:
    host = _host(
        STATE_DIRECTORY=f"{tmp_path}/lib:{tmp_path}/other",
        CACHE_DIRECTORY=tmp_path / "cache",
        RUNTIME_DIRECTORY=tmp_path / "run",
        HOME=tmp_path,
        XDG_RUNTIME_DIR=tmp_path,
    )
    assert state_folder(None, host).path == tmp_path / "lib"
    assert cache_folder(None, host).path == tmp_path / "cache"
    assert socket_path(None, host).path == tmp_path / "run" / "sutler.sock"


def test_xdgs_folders_have_the_homes_defaults(tmp_path: Path) -> None:
    host = _host(HOME=tmp_path, XDG_CACHE_HOME=tmp_path / "xdg")
    assert state_folder(None, host).path == tmp_path / ".local/state/sutler"
    assert cache_folder(None, host).path == tmp_path / "xdg/sutler"
    assert state_folder(None, host).warnings == ()


def test_a_socket_variable_is_the_daemons_too(tmp_path: Path) -> None:
    host = _host(SUTLER_SOCKET=tmp_path / "a.sock", RUNTIME_DIRECTORY=tmp_path / "run")
    assert socket_path(None, host).path == tmp_path / "a.sock"
    assert socket_path(tmp_path / "b.sock", host).path == tmp_path / "b.sock"


def test_the_socket_is_where_clients_look(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    both = _host(XDG_RUNTIME_DIR=tmp_path / "run", TMPDIR=tmp_path)
    place = socket_path(None, both)
    assert place.path == tmp_path / "run" / "sutler" / "sutler.sock"
    assert stat.S_IMODE(place.path.parent.stat().st_mode) == 0o700
    missing = _host(XDG_RUNTIME_DIR=tmp_path / "missing", TMPDIR=tmp_path)
    place = socket_path(None, missing)
    assert place.path == tmp_path / f"sutler-{UID}" / "sutler.sock"
    assert "missing is not there" in place.warnings[0]


def test_a_folder_of_ours_in_tmp_is_closed_to_others(tmp_path: Path) -> None:
    own = tmp_path / f"sutler-{UID}"
    own.mkdir(mode=0o755)
    assert state_folder(None, _host(TMPDIR=tmp_path)).path == own / "state"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700


def test_without_a_home_the_temporary_folder_is_used_and_said(tmp_path: Path) -> None:
    place = state_folder(None, _host(TMPDIR=tmp_path, XDG_STATE_HOME="relative/path"))
    assert place.path == tmp_path / f"sutler-{UID}" / "state"
    assert len(place.warnings) == 2
    assert "relative/path) is not an absolute path" in place.warnings[0]
    assert "neither $XDG_STATE_HOME nor $HOME is set" in place.warnings[1]
    gone = state_folder(None, _host(HOME=tmp_path / "gone", TMPDIR=tmp_path))
    assert "gone is not there" in gone.warnings[0]


@pytest.mark.fault("S13")
def test_a_home_on_a_network_is_passed_over_and_said(tmp_path: Path) -> None:
    (home := tmp_path / "home").mkdir()
    host = _host(_mounted(home, NFS), HOME=home, TMPDIR=tmp_path)
    for choose, word in ((state_folder, "state"), (cache_folder, "cache")):
        place = choose(None, host)
        assert place.path == tmp_path / f"sutler-{UID}" / word
        assert "network file system (NFS)" in place.warnings[0]
    assert list(home.iterdir()) == []


@pytest.mark.fault("S13")
def test_a_given_folder_on_a_network_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for magic, name in ((NFS, "NFS"), (0x0BD00BD0, "Lustre"), (0x01021997, "9p")):
        host = _host(_mounted(tmp_path, magic), STATE_DIRECTORY=tmp_path / "systemd")
        with pytest.raises(UnusableFolder, match=rf"\({name}\).*--state-dir.*TMPDIR") as raised:
            state_folder(tmp_path / "state", host)
        assert raised.value.exit_code == Exit.CANNOT_CREATE
        with pytest.raises(UnusableFolder, match=name):
            state_folder(None, host)
        with pytest.raises(UnusableFolder, match="--cache-dir"):
            cache_folder(tmp_path / "cache", host)
        with pytest.raises(UnusableFolder, match="--socket"):
            socket_path(tmp_path / "s.sock", host)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("S13")
def test_an_unknown_file_system_is_a_warning(tmp_path: Path) -> None:
    place = state_folder(tmp_path / "state", _host(_mounted(tmp_path, 0x65735546)))
    assert place.path.is_dir()
    assert "unknown kind (0x65735546)" in place.warnings[0]


@pytest.mark.fault("X3")
def test_a_link_as_our_state_folder_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".local/state").mkdir(parents=True)
    (tmp_path / ".local/state/sutler").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeFolder, match="symbolic link"):
        state_folder(None, _host(HOME=tmp_path, TMPDIR=tmp_path))
    assert list((tmp_path / "elsewhere").iterdir()) == []


@needs_root
@pytest.mark.fault("X3")
def test_a_squatted_folder_in_tmp_is_passed_over_and_said(tmp_path: Path) -> None:
    (squatted := tmp_path / f"sutler-{UID}").mkdir()
    os.chown(squatted, OTHER_UID, OTHER_UID)
    (run := tmp_path / "run").mkdir()
    place = socket_path(None, _host(XDG_RUNTIME_DIR=run, TMPDIR=tmp_path))
    assert place.path.parent == run / "sutler"
    (run / "sutler").rmdir()
    (run / "sutler").symlink_to(squatted)
    only_here = _host(
        lambda path: EXT4 if Path(path).is_relative_to(tmp_path) else NFS,
        XDG_RUNTIME_DIR=run,
        TMPDIR=tmp_path,
    )
    with pytest.raises(UnusableFolder) as raised:
        socket_path(None, only_here)
    assert "symbolic link" in raised.value.message
    assert f"owned by uid {OTHER_UID}" in raised.value.message
    assert "/run/sutler" in raised.value.message
    assert list(squatted.iterdir()) == []


def test_with_no_place_at_all_every_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(UnusableFolder) as raised:
        state_folder(None, _host(lambda path: NFS, HOME=tmp_path))
    assert raised.value.message.count("(NFS)") == 2
    assert "--state-dir" in raised.value.message
