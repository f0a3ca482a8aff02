"""All templates together: the newest is found, and what was published stays as it was."""

from __future__ import annotations

import pytest

from sutlerd.domain.errors import InvalidParams
from sutlerd.prompts.reading import read_templates
from sutlerd.prompts.registry import Registry, gather
from tests.unit.prompts.conftest import simple


def registry(
    *texts: str, published: dict[str, str] | None = None, before: Registry | None = None
) -> tuple[Registry, dict[str, str]]:
    sheets = [read_templates(text, f"{place}.yaml") for place, text in enumerate(texts)]
    assert not [problem for sheet in sheets for problem in sheet.problems]
    return gather(
        [sheet.templates for sheet in sheets],
        [],
        published=published or {},
        before=before or Registry(),
    )


def said(found: Registry, reference: str) -> str:
    return found.find(reference).user.source


def test_registry_load() -> None:
    texts = [simple(version=f'"{v}"', user=f"v{v}") for v in ("1.9", "1.10", "1.2", "2.0-dev")]
    found, fresh = registry(*texts, simple("other"))
    assert list(found.by_name) == ["greeting", "other"]
    assert [t.version.text for t in found.by_name["greeting"]] == ["2.0-dev", "1.10", "1.9", "1.2"]
    assert said(found, "greeting") == said(found, "greeting@1") == "v1.10"
    assert said(found, "greeting@1.9") == "v1.9"
    assert said(found, "greeting@2-dev") == "v2.0-dev"
    assert (len(found), found.files, found.problems) == (5, 5, ())
    assert sorted(fresh) == ["greeting@1.10", "greeting@1.2", "greeting@1.9", "other@1"]


def test_a_name_with_nothing_released_is_the_newest_under_development() -> None:
    found, _ = registry(simple(version="1.1-dev", user="one"), simple(version="1.2-dev"))
    assert said(found, "greeting") == "Hello"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("greting", "did you mean greeting"),
        ("zzz", "prompts.list tells"),
        ("greeting@3", "no such version; there are 1.0"),
        ("../greeting", "is no template's name"),
    ],
)
def test_what_is_not_there_is_told_with_what_there_is(reference: str, words: str) -> None:
    found, _ = registry(simple())
    with pytest.raises(InvalidParams, match=words):
        found.find(reference)


def test_a_site_overrides_by_a_higher_version_wherever_it_stands() -> None:
    found, _ = registry(simple(user="shipped"), simple(version='"1.1"', user="ours"))
    assert said(found, "greeting") == "ours"
    assert said(found, "greeting@1.0.0") == "shipped"


def test_a_changed_text_under_a_published_version_is_refused_with_its_place() -> None:
    first, fresh = registry(simple(user="then"))
    changed, more = registry(simple(user="now"), published=fresh)
    assert not more
    (problem,) = changed.problems
    assert str(problem).startswith("0.yaml:2: greeting@1.0 differs from what was published")
    with pytest.raises(InvalidParams, match="never changes: give it a higher one"):
        changed.find("greeting")
    kept, _ = registry(simple(user="now"), published=fresh, before=first)
    assert said(kept, "greeting") == "then"
    assert kept.problems


def test_a_second_text_under_the_same_version_does_not_replace_the_first() -> None:
    found, _ = registry(simple(user="shipped"), simple(user="ours"))
    assert said(found, "greeting") == "shipped"
    assert "1.yaml" in str(found.problems[0])
    again, _ = registry(simple(user="same"), simple(user="same"))
    assert (len(again), again.problems) == (1, ())


def test_a_version_under_development_may_change() -> None:
    found, fresh = registry(simple(version="1.1-dev", user="a"), simple(version="1.1-dev"))
    assert fresh == {}
    assert said(found, "greeting@1.1-dev") == "Hello"


CONTENT = """\
templates:
  - name: a
    version: 1
    description: one
    variables: {x: {default: 1}}
    user: hi {x}
    schema: {type: object, properties: {p: {type: string}, q: {type: string}}}
    defaults: {temperature: 0}
    metadata: {author: me}
"""


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("description: one", "description: two", False),
        ("metadata: {author: me}", "deprecated: use b", False),
        ("version: 1", 'version: "1.0.0"', False),
        ("default: 1", "default: 2", True),
        ("hi {x}", "ho {x}", True),
        ("temperature: 0", "temperature: 1", True),
        ("{p: {type: string}, q: {type: string}}", "{q: {type: string}, p: {type: string}}", True),
        ("    user:", "    system: be kind\n    user:", True),
        ("    user:", "    examples: [{user: u, assistant: a}]\n    user:", True),
    ],
)
def test_the_hash_covers_what_can_change_an_answer(old: str, new: str, *, differs: bool) -> None:
    assert old in CONTENT
    (one,) = read_templates(CONTENT, "t").templates
    (other,) = read_templates(CONTENT.replace(old, new), "t").templates
    assert (one.hash != other.hash) is differs
