"""Imports point one way, and nothing heavy is imported before the daemon is ready."""

from __future__ import annotations

import subprocess
import sys

from tests.tidy.sources import Import, Source, imports_of, package

#: From the bottom up. A module imports its own room and the floors below, never a sibling.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"domain"}),
    frozenset({"config", "telemetry", "system"}),
    frozenset({"admission", "ledger", "cache", "providers", "prompts"}),
    frozenset({"pipeline"}),
    frozenset({"server", "http"}),
    frozenset({"app", "assembly", "commands", "generation", "lifecycle", "reload", "__main__"}),
)
#: The top floor is one room: the composition root and the way in.
TOP = len(FLOORS) - 1

#: Imported inside the function that first needs them, an SDK in a thread.
HEAVY = frozenset(
    {
        "aiohttp",
        "anthropic",
        "genai_prices",
        "jsonschema",
        "openai",
        "opentelemetry",
        "prometheus_client",
        "redis",
        "tiktoken",
        "xllamacpp",
    }
)

#: Loaded only where the client's extra is installed.
EXTRAS = {"sutler.top_rich": {"rich"}}


def _floor(room: str) -> int:
    return next((floor for floor, rooms in enumerate(FLOORS) if room in rooms), TOP)


def _may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    here, there = _floor(importer), _floor(imported)
    return there < here or here == there == TOP


def _imports(name: str) -> list[tuple[Source, Import]]:
    return [(source, found) for source in package(name) for found in imports_of(source)]


def test_the_daemons_rooms_import_downwards_only() -> None:
    wrong = []
    for source, found in _imports("sutlerd"):
        parts, here = found.module.split("."), source.module.split(".")
        if parts[0] != "sutlerd" or len(here) == 1 or parts[1] == "__version__":
            continue
        if not _may_import(here[1], parts[1]):
            wrong.append(f"{source.name}:{found.line} imports {found.module}")
    assert wrong == []


def test_every_room_has_its_floor() -> None:
    rooms = {source.module.split(".")[1] for source in package("sutlerd") if "." in source.module}
    folders = {path.parent.name for path in (s.path for s in package("sutlerd"))} - {"sutlerd"}
    assert rooms & folders <= frozenset().union(*FLOORS)


def test_the_daemon_knows_nothing_of_the_client_but_the_wire() -> None:
    wrong = [
        f"{source.name}:{found.line} imports {found.module}"
        for source, found in _imports("sutlerd")
        if found.module.split(".")[0] == "sutler" and not found.module.startswith("sutler.wire")
    ]
    assert wrong == []


def test_the_client_needs_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"sutler"}
    wrong = [
        f"{source.name}:{found.line} imports {found.module}"
        for source, found in _imports("sutler")
        if found.module.split(".")[0] not in allowed | EXTRAS.get(source.module, set())
    ]
    assert wrong == []


def test_nothing_heavy_is_imported_at_module_level() -> None:
    wrong = [
        f"{source.name}:{found.line} imports {found.module}"
        for source, found in _imports("sutlerd")
        if found.at_load and found.module.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_loading_the_whole_daemon_loads_nothing_heavy() -> None:
    code = "import sys, sutlerd.app, sutlerd.__main__; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in child.stdout.split()}
    assert loaded & HEAVY == set()
