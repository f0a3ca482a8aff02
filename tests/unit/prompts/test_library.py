"""Folders of prompts: what is changed, broken, replaced or taken away while they are served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sutlerd.domain.errors import InvalidParams
from sutlerd.prompts.library import Folder, PromptLibrary
from sutlerd.prompts.published import FILE_NAME, Published
from tests.support.event_list import EventList
from tests.unit.prompts.conftest import MakeLibrary, simple


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def looked(library: PromptLibrary) -> bool:
    """Look twice, as a change needs: once to see it, once more when it has settled."""
    library.look()
    changed = library.look()
    library.put_in_place()
    return changed


def said(library: PromptLibrary, reference: str = "greeting") -> str:
    return library.registry.find(reference).user.source


def told(library: PromptLibrary) -> list[str]:
    return [str(problem) for problem in library.registry.problems]


def test_a_change_is_served_when_it_has_settled(library: MakeLibrary, site: Path) -> None:
    write(site / "a.yaml", simple(version="1.0"))
    ours = library()
    assert said(ours) == "Hello"
    assert ours.look() is False
    write(site / "a.yaml", simple(version="1.1", user="Changed"))
    assert ours.look() is False, "somebody may still be writing"
    assert ours.look() is True
    assert said(ours) == "Hello", "until the loop puts it in place"
    ours.put_in_place()
    assert said(ours) == "Changed"
    (site / "a.yaml").unlink()
    write(site / "b.yml", simple("other"))
    assert looked(ours)
    with pytest.raises(InvalidParams, match="there is no template 'greeting'"):
        said(ours)
    assert said(ours, "other") == "Hello"


@pytest.mark.fault("O3")
def test_a_file_that_breaks_keeps_its_last_good_templates_and_says_where(
    library: MakeLibrary, site: Path, events: EventList
) -> None:
    write(site / "a.yaml", simple())
    write(site / "b.yaml", simple("other"))
    ours = library()
    assert said(ours) == "Hello"
    write(site / "a.yaml", simple() + "    sytem: x\n")
    assert looked(ours)
    assert (said(ours), said(ours, "other")) == ("Hello", "Hello")
    (problem,) = told(ours)
    assert problem.startswith(f"{site}/a.yaml:5: templates[0].sytem: unknown key 'sytem'; did you")
    looked(ours)
    errors = [fields for level, _, fields in events.events if level == "error"]
    assert [fields["said"] for fields in errors] == [problem], "told once, not at every look"
    write(site / "a.yaml", simple(version="1.1", user="mended"))
    looked(ours)
    assert (said(ours), told(ours)) == ("mended", [])


@pytest.mark.fault("O3")
def test_a_file_that_was_never_good_gives_nothing_and_takes_nothing_away(
    library: MakeLibrary, site: Path
) -> None:
    write(site / "a.yaml", "templates: [")
    write(site / "b.yaml", simple())
    ours = library()
    assert said(ours) == "Hello"
    assert "a.yaml:2: not YAML" in told(ours)[0]


def test_a_published_text_does_not_change_not_even_after_a_restart(
    library: MakeLibrary, site: Path, state: Path
) -> None:
    write(site / "a.yaml", simple())
    ours = library()
    assert said(ours) == "Hello"
    write(site / "a.yaml", simple(user="Another"))
    assert looked(ours)
    assert said(ours) == "Hello", "the text that was published goes on being served"
    assert "never changes" in told(ours)[0]
    again = library()
    with pytest.raises(InvalidParams, match="never changes"):
        said(again)
    write(site / "a.yaml", simple())
    assert said(library()) == "Hello"
    assert (state / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', "\udcff", "[" * 100_000])
def test_a_broken_store_of_hashes_is_put_aside_and_told(
    library: MakeLibrary, site: Path, state: Path, events: EventList, text: str
) -> None:
    (state / FILE_NAME).write_bytes(text.encode(errors="surrogateescape"))
    write(site / "a.yaml", simple())
    assert said(library()) == "Hello"
    assert (state / "prompts.broken").exists()
    assert any("is broken" in str(fields["said"]) for fields in events.named("prompts"))


def test_a_store_that_cannot_be_written_is_told_and_stops_nothing(
    site: Path, tmp_path: Path, events: EventList, own_uid: int
) -> None:
    write(site / "a.yaml", simple())
    missing = Published(tmp_path / "gone", events)
    ours = PromptLibrary([Folder(path=site)], missing, events, own_uid=own_uid)
    assert said(ours) == "Hello"
    assert any("cannot be written" in str(fields["said"]) for fields in events.named("prompts"))


@pytest.mark.fault("X16")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_prompt_file_that_others_can_write_is_refused(
    library: MakeLibrary, site: Path, mode: int
) -> None:
    write(site / "a.yaml", simple())
    (site / "a.yaml").chmod(mode)
    ours = library()
    assert len(ours.registry) == 0
    assert "can be written by others" in told(ours)[0]


@pytest.mark.fault("X16")
def test_a_folder_that_others_can_write_is_refused(library: MakeLibrary, site: Path) -> None:
    write(site / "a.yaml", simple())
    site.chmod(0o777)
    ours = library()
    assert len(ours.registry) == 0
    assert str(site) in told(ours)[0]
    assert "can be written by others" in told(ours)[0]
    site.chmod(0o700)
    looked(ours)
    assert (said(ours), told(ours)) == ("Hello", [])


@pytest.mark.fault("X16")
def test_a_prompt_file_of_another_user_is_refused(site: Path, state: Path, own_uid: int) -> None:
    if own_uid == 0:
        os.chown(site, 1234, 1234)
    write(site / "a.yaml", simple())
    events = EventList()
    other = own_uid + 1 if own_uid else 4321
    ours = PromptLibrary([Folder(path=site)], Published(state, events), events, own_uid=other)
    assert len(ours.registry) == 0
    assert "belongs to uid" in told(ours)[0]


@pytest.mark.fault("X16")
def test_a_file_of_a_hundred_megabytes_is_refused_by_its_size(
    library: MakeLibrary, site: Path
) -> None:
    write(site / "a.yaml", "")
    os.truncate(site / "a.yaml", 100 * 1024 * 1024)
    assert "is over" in told(library())[0]


def test_what_is_no_prompt_file_is_left_alone(library: MakeLibrary, site: Path) -> None:
    os.mkfifo(site / "pipe.yaml", 0o600)
    (site / "gone.yaml").symlink_to(site / "nowhere")
    (site / "README.md").write_text("templates: [")
    (site / ".a.yaml.swp").write_text("templates: [")
    (site / ".hidden.yaml").write_text("templates: [")
    write(site / "good.yaml", simple())
    ours = library()
    assert said(ours) == "Hello"
    assert sorted(problem.partition(": ")[2] for problem in told(ours)) == [
        "cannot be read: No such file or directory",
        "cannot be read: is not a regular file",
    ]


def test_a_folder_that_goes_away_leaves_what_was_read_and_is_told(
    library: MakeLibrary, site: Path
) -> None:
    write(site / "a.yaml", simple())
    ours = library()
    assert said(ours) == "Hello"
    site.rename(site.parent / "moved")
    looked(ours)
    assert said(ours) == "Hello"
    assert told(ours) == [f"{site}: No such file or directory"]
    (site.parent / "moved").rename(site)
    looked(ours)
    assert told(ours) == []


def test_other_folders_are_read_at_once_when_the_configuration_names_them(
    library: MakeLibrary, site: Path, tmp_path: Path
) -> None:
    write(site / "a.yaml", simple())
    ours = library()
    assert said(ours) == "Hello"
    more = tmp_path / "more"
    more.mkdir(mode=0o700)
    write(more / "a.yaml", simple("other"))
    ours.read_from([Folder(path=more)])
    ours.put_in_place()
    assert list(ours.registry.by_name) == ["other"]
    assert ours.look() is False


def test_a_text_is_judged_before_it_is_put_into_a_folder(library: MakeLibrary, site: Path) -> None:
    write(site / "a.yaml", simple())
    ours = library()
    assert said(ours) == "Hello"
    assert not ours.check(simple(), "new.yaml").problems
    assert "never changes" in str(ours.check(simple(user="x"), "new.yaml").problems[0])
    assert "new.yaml:1" in str(ours.check("nothing", "new.yaml").problems[0])
    assert len(ours.registry) == 1
