"""Files of templates: everything that is wrong is told with its line, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.prompts.reading import read_templates
from tests.unit.prompts.conftest import problems, simple, template

HEAD = "templates:\n  - name: a\n    version: 1\n    user: hi {x}\n"


def test_all_that_a_template_may_say_is_read() -> None:
    made = template(
        "description: ours\n" + HEAD + "    variables:\n      - x\n"
        "      - {name: y, default: [1, 2.5, true, null, 'no'], description: why}\n"
        "    deprecated: use b\n    metadata: {since: '2026', deep: {er: [1]}}\n"
        "    defaults: {lane: background, max_tokens: 5, temperature: 0.5, model_class: small,\n"
        "               stop: [END], fallback: false, timeout_s: 3, top_p: 1, seed: 7}\n"
    )
    assert [(v.name, v.required, v.default) for v in made.variables] == [
        ("x", True, None),
        ("y", False, [1, 2.5, True, None, "no"]),
    ]
    assert made.deprecated == "use b"
    assert made.defaults["model_class"] == "small"
    assert made.metadata == {"since": "2026", "deep": {"er": [1]}}


@pytest.mark.parametrize("written", ["1.10", "'1.10'", '"1.10"'])
def test_a_version_is_what_is_written_with_quotes_or_without(written: str) -> None:
    assert template(simple(version=written)).version.text == "1.10"


@pytest.mark.fault("X16")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "    variables: [x]\n    description: no\n", "t.yaml:6: templates[0].description"),
        (HEAD + "    variables: [x]\n    system: 1e3\n", "t.yaml:6: templates[0].system"),
        (HEAD + "    variables: [x]\n    metadata: {a: no}\n", "'no' is true or false, or text"),
        (HEAD + "    variables: [x]\n    variables: [y]\n", "t.yaml:6: templates[0].variables"),
        (HEAD + "    variables: !!python/object/apply:os.system [ls]\n", "t.yaml:5: templates[0]"),
        (HEAD + "    schema: &a [*a]\n", "alias '*a' of no anchor"),
        (HEAD + "    shema: {}\n", "t.yaml:5: templates[0].shema: unknown key 'shema'; did you"),
        (HEAD + "    defaults: {maxtokens: 4}\n", "'maxtokens'; did you mean 'max_tokens'"),
        (HEAD + "    defaults: {temperature: hot}\n", "must be a number from 0 to 2"),
        (HEAD + "    defaults: {lane: fast}\n", "one of interactive, normal"),
        (HEAD + "    system: 'see {{y}}'\n    variables: [x]\n", "{{y}} is not among the"),
        (HEAD + "    variables: [x, x]\n", "x is declared twice"),
        (HEAD + "    variables: [x-y]\n", "'x-y' must be letters, digits and '_'"),
        (HEAD + "    variables: {x: {default: 1, required: true}}\n", "must be false for one with"),
        (HEAD + "    examples: [{user: u}]\n", "an example has a user and an assistant part"),
        (HEAD + "    user: [a]\n", "duplicate key 'user', first on line 4"),
        ("templates:\n  - {name: a b, version: 1, user: x}\n", "must be 1 to 64 letters"),
        ("templates:\n  - {name: a, version: one, user: x}\n", "t.yaml:2: templates[0].version"),
        ("templates:\n  - {version: 1}\n", "t.yaml:2: templates[0].name: is missing"),
        ("templates: {a: 1}\n", "t.yaml:1: templates: must be a list"),
        ("prompts: []\n", "unknown key 'prompts'"),
        ("", "t.yaml:1: is empty; it must hold 'templates:'"),
        ("templates:\n  - {name: a\n", "not YAML"),
        (simple() + "  - {name: greeting, version: '1.0.0', user: x}\n", "twice, first on line 2"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text)), problems(text)


@pytest.mark.fault("X16")
def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    layers = "".join(
        f"      {chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n"
        for i in range(9)
    )
    bomb = HEAD + "    variables: [x]\n    metadata:\n      a: &a [z, z, z]\n" + layers
    assert any("unfolds to more than" in problem for problem in problems(bomb))


def test_all_faults_of_a_file_are_told_at_once() -> None:
    text = (
        "templates:\n  - {name: a, version: x, user: '{{q}}'}\n  - {nam: b, version: 1, user: 2}\n"
    )
    assert [problem.split(":")[1] for problem in problems(text)] == ["2", "2", "3", "3", "3"]


YAMLISH = st.lists(
    st.sampled_from(
        [
            "templates:", "\n  - ", "name: a", "\n    ", "version: 1", "user: '{x}'", "variables:",
            "[x]", "{x: 1}", "schema:", "defaults:", "&a", "*a", "!!str", "!x", "<<:", "{{x}}",
            "examples:", "deprecated: yes", "'", ": ", "\n", ", ", "}", "metadata: {a: [1, no]}",
        ]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@pytest.mark.fault("X16")
@given(text=YAMLISH | st.text(max_size=80))
def test_any_text_gives_templates_or_problems_with_lines(text: str) -> None:
    sheet = read_templates(text, "t.yaml")
    assert not (sheet.templates and sheet.problems)
    assert all(problem.line is None or problem.line >= 1 for problem in sheet.problems)
