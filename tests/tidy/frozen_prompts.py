"""The hashes of all prompt versions that were ever in the library, kept beside the tests.

    python -m tests.tidy.frozen_prompts

notes versions that are new. It never changes a hash that is there: whoever pinned a version, or
published a run that used it, counts on its text.
"""

from __future__ import annotations

import json

from sutlerd.prompts.reading import read_templates
from sutlerd.prompts.template import Template
from tests.tidy.sources import ROOT

PLACE = ROOT / "tests" / "data" / "prompt_hashes.json"


def shipped() -> dict[str, Template]:
    """Give the library's released versions by ``name@version``."""
    found: dict[str, Template] = {}
    for path in sorted((ROOT / "prompts").glob("*.yaml")):
        sheet = read_templates(path.read_text(encoding="utf-8"), path.name)
        assert not sheet.problems, sheet.problems
        for template in sheet.templates:
            if template.version.is_release:
                assert template.key not in found, f"{template.key} is in two files"
                found[template.key] = template
    return found


def frozen() -> dict[str, str]:
    """Give the hashes that are kept, by ``name@version``."""
    hashes: dict[str, str] = json.loads(PLACE.read_text(encoding="utf-8"))
    return hashes


def changed(templates: dict[str, Template], kept: dict[str, str]) -> list[str]:
    """Name the versions whose text is not the one that was published."""
    return [key for key, each in templates.items() if kept.get(key, each.hash) != each.hash]


def main() -> None:
    kept = frozen() if PLACE.exists() else {}
    fresh = {key: template.hash for key, template in shipped().items()}
    text = json.dumps({**fresh, **kept}, indent=1, sort_keys=True)
    PLACE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
