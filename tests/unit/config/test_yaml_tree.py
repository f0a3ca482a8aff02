"""The reader of YAML: lines and paths kept, bounded, and nothing a file says is run."""

from __future__ import annotations

import pytest

from sutlerd.config.yaml_tree import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_MERGED_KEYS,
    Mapping,
    Scalar,
    Sequence,
    parse,
)


def test_every_node_knows_its_line_and_whether_it_was_quoted() -> None:
    root, faults = parse('a: 1\nb:\n  - "x"\n  - y\n')
    assert faults == []
    assert isinstance(root, Mapping)
    line, items = root.entries["b"]
    assert line == 2
    assert isinstance(items, Sequence)
    assert items.items == [
        Scalar(line=3, text="x", plain=False),
        Scalar(line=4, text="y", plain=True),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_a_file_that_says_nothing_is_empty(text: str) -> None:
    root, faults = parse(text)
    assert faults == []
    assert root is None or root == Scalar(line=root.line, text="", plain=True)


@pytest.mark.fault("X16")
@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system", "!!python/name:os.system", "!mine", "!!binary", "!!set"],
)
def test_an_unknown_tag_is_a_fault_with_its_line(tag: str) -> None:
    _, faults = parse(f"a: 1\nb: {tag} [id]\n")
    (fault,) = faults
    assert fault[:2] == (2, ("b",))
    assert "unknown tag" in fault[2]


def test_yamls_own_names_of_plain_kinds_are_no_unknown_tags() -> None:
    root, faults = parse("a: !!str 5\nb: !!map {c: !!seq [1]}\nd: ! 7\n")
    assert faults == []
    assert isinstance(root, Mapping)
    assert root.entries["a"][1] == Scalar(line=1, text="5", plain=False)
    assert root.entries["d"][1] == Scalar(line=3, text="7", plain=False)


@pytest.mark.fault("X16")
def test_every_duplicate_key_is_a_fault_that_names_the_first_line() -> None:
    _, faults = parse("a:\n  x: 1\n  x: 2\nb: 1\na: 2\n")
    assert [(line, path) for line, path, _ in faults] == [(3, ("a", "x")), (5, ("a",))]
    assert "first on line 1" in faults[1][2]


def test_aliases_and_merges_work_and_own_keys_win() -> None:
    root, faults = parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n")
    assert faults == []
    assert isinstance(root, Mapping)
    merged = root.entries["b"][1]
    assert isinstance(merged, Mapping)
    texts = {key: node.text for key, (_, node) in merged.entries.items() if hasattr(node, "text")}
    assert texts == {"y": "3", "x": "1"}


@pytest.mark.fault("X16")
def test_an_alias_inside_of_its_own_anchor_makes_no_endless_tree() -> None:
    root, faults = parse("a: &a [*a]\n")
    assert isinstance(root, Mapping)
    assert "of no anchor" in faults[0][2]


@pytest.mark.fault("X16")
def test_aliases_depth_and_merged_keys_are_bounded() -> None:
    many = "a: &a 1\nb: [" + "*a, " * (MAX_ALIASES + 1) + "]\n"
    deep = "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH
    keys = ", ".join(f"k{i}: 1" for i in range(MAX_MERGED_KEYS // 10))
    merges = f"a: &a {{{keys}}}\n" + "".join(f"b{i}: {{<<: *a}}\n" for i in range(11))
    assert f"more than {MAX_ALIASES} aliases" in parse(many)[1][0][2]
    assert f"more than {MAX_DEPTH} deep" in parse(deep)[1][0][2]
    assert f"more than {MAX_MERGED_KEYS} keys" in parse(merges)[1][0][2]


@pytest.mark.fault("X16")
def test_a_million_brackets_are_refused_without_reading_them_all() -> None:
    for text in ("[" * 1_000_000, "{" * 1_000_000, "- " * 500_000, "{a: " * 200_000):
        (fault,) = parse(text)[1]
        assert "deep" in fault[2]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1\nb: 2\n", 2), ("a: b: c\n", 1), ("a:\n\t- b\n", 2), ("a: 1\nb: \x07\n", 2)],
)
def test_broken_syntax_ends_the_reading_with_its_line(text: str, line: int) -> None:
    root, faults = parse(text)
    assert root is None
    assert [fault[0] for fault in faults] == [line]
    assert faults[0][2].startswith("not YAML")


def test_keys_that_are_no_text_and_merges_of_no_mapping_are_faults() -> None:
    _, faults = parse("? [a]\n: 1\n<<: 5\n")
    assert [fault[2] for fault in faults] == ["a key must be text", "'<<' merges mappings only"]
