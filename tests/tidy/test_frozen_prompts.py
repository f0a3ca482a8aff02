"""A prompt that was published stays as it is: another text is another version."""

from __future__ import annotations

from sutlerd.prompts.reading import read_templates
from tests.tidy.frozen_prompts import changed, frozen, shipped
from tests.tidy.sources import ROOT


def test_no_published_version_of_the_library_has_changed() -> None:
    edited = changed(shipped(), frozen())
    assert not edited, f"{', '.join(edited)}: give the new text a higher version"


def test_every_version_of_the_library_is_kept_in_the_list() -> None:
    new = sorted(shipped().keys() - frozen().keys())
    assert not new, f"{', '.join(new)}: run python -m tests.tidy.frozen_prompts"


def test_any_edit_of_a_text_is_seen() -> None:
    text = (ROOT / "prompts" / "safety.yaml").read_text(encoding="utf-8")
    before = {each.key: each for each in read_templates(text, "safety.yaml").templates}
    lines = text.splitlines(keepends=True)
    line = next(n for n, each in enumerate(lines) if each == "    user: |-\n") + 1
    lines[line] = lines[line].rstrip("\n") + " Please.\n"
    after = {each.key: each for each in read_templates("".join(lines), "safety.yaml").templates}
    kept = {key: each.hash for key, each in before.items()}
    assert changed(before, kept) == []
    assert len(changed(after, kept)) == 1
