"""Folders are opened without following anything, and refused where others could change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sutlerd.system.exits import Exit
from sutlerd.system.open_folder import UnsafeFolder, UnusableFolder, open_folder, refuse_links
from tests.support.other_user import OTHER_UID, as_user, needs_root

UID = os.geteuid()


def _open(path: Path, *, sticky_is_safe: bool = False, private: bool = False) -> None:
    descriptor = open_folder(
        path, purpose="state", uid=UID, sticky_is_safe=sticky_is_safe, private=private
    )
    try:
        assert os.path.samestat(os.fstat(descriptor), os.lstat(path))
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.fault("O10")
def test_missing_folders_are_made_for_us_alone(tmp_path: Path) -> None:
    _open(tmp_path / "a" / "b")
    for made in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_folder_that_others_may_read_is_fine_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    _open(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_private_one_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    _open(tmp_path, private=True)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.fault("O10")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(UnsafeFolder, match="chmod go-w") as raised:
        _open(folder)
    assert f"mode {mode:04o}" in raised.value.message
    assert f"owner uid {UID}" in raised.value.message
    assert raised.value.exit_code == Exit.CANNOT_CREATE


@needs_root
def test_a_sticky_folder_of_root_may_hold_a_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    _open(tmp_path, sticky_is_safe=True)


@needs_root
@pytest.mark.fault("O10")
def test_anothers_folder_is_refused_with_its_owner_and_the_remedy(tmp_path: Path) -> None:
    os.chown(tmp_path, OTHER_UID, OTHER_UID)
    with pytest.raises(UnsafeFolder, match=f"owned by uid {OTHER_UID}.*chown it"):
        _open(tmp_path)
    with pytest.raises(UnusableFolder, match=f"owned by uid {OTHER_UID}.*make it by hand"):
        _open(tmp_path / "below")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("O10")
def test_nothing_is_made_where_everyone_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UnusableFolder, match="everyone may write"):
        _open(tmp_path / "below")
    tmp_path.chmod(0o1777)
    _open(tmp_path / "below")


@pytest.mark.fault("X3")
def test_a_link_is_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(UnsafeFolder, match=f"symbolic link \\(to {target}\\)"):
        _open(link)
    assert list(target.iterdir()) == []
    assert link.is_symlink()
    (dangling := tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UnsafeFolder, match="symbolic link"):
        _open(dangling)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeFolder, match="not a folder"):
        _open(tmp_path / "file")
    with pytest.raises(UnsafeFolder, match="not a folder"):
        _open(tmp_path / "file" / "below")


def test_a_link_to_nowhere_above_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UnusableFolder, match="cannot be made"):
        _open(tmp_path / "dangling" / "state")


@needs_root
def test_a_folder_that_cannot_be_made_or_opened_is_said(tmp_path: Path) -> None:
    def attempt(path: Path) -> str:
        with pytest.raises(UnusableFolder) as raised:
            open_folder(path, purpose="state", uid=OTHER_UID)
        return raised.value.message

    denied = as_user(OTHER_UID, lambda: attempt(Path("/usr/sutler-state")))
    assert "/usr/sutler-state: Permission denied" in denied
    assert "cannot be opened" in as_user(OTHER_UID, lambda: attempt(tmp_path / "x"))


@pytest.mark.fault("X3")
def test_a_database_file_must_be_a_plain_file_of_ours(tmp_path: Path) -> None:
    refuse_links(tmp_path, ["data.mdb"], uid=UID)
    (tmp_path / "data.mdb").write_bytes(b"x")
    refuse_links(tmp_path, ["data.mdb", "lock.mdb"], uid=UID)
    with pytest.raises(UnsafeFolder, match="owned by uid"):
        refuse_links(tmp_path, ["data.mdb"], uid=UID + 1)
    (tmp_path / "lock.mdb").symlink_to(tmp_path / "data.mdb")
    with pytest.raises(UnsafeFolder, match=r"lock\.mdb is a symbolic link"):
        refuse_links(tmp_path, ["data.mdb", "lock.mdb"], uid=UID)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnsafeFolder, match="is not a file"):
        refuse_links(tmp_path, ["folder"], uid=UID)
