"""The project's own Python sources, parsed once for all tidy tests."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = {"sutler": ROOT / "client_lib", "sutlerd": ROOT / "daemon"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file. ``module`` is its dotted name, of the tests too (``tests.unit...``)."""

    path: Path
    module: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module; ``at_load`` if loading the importing file executes it."""

    module: str
    line: int
    at_load: bool


def _read(path: Path, root: Path) -> Source:
    dotted = ".".join(path.relative_to(root).with_suffix("").parts)
    text = path.read_text(encoding="utf-8")
    return Source(
        path=path,
        module=dotted.removesuffix(".__init__"),
        text=text,
        tree=ast.parse(text, str(path)),
    )


@cache
def package(name: str) -> tuple[Source, ...]:
    """Give the sources of ``sutler`` or ``sutlerd``; stub files (.pyi) are left to mypy."""
    root = SOURCE_ROOTS[name]
    return tuple(_read(path, root) for path in sorted((root / name).rglob("*.py")))


@cache
def suite() -> tuple[Source, ...]:
    return tuple(_read(path, ROOT) for path in sorted((ROOT / "tests").rglob("*.py")))


def everything() -> tuple[Source, ...]:
    return package("sutler") + package("sutlerd") + suite()


def imports_of(source: Source) -> Iterator[Import]:
    """List what ``source`` imports; ``from a import b`` counts as ``a.b``. What stands under
    ``if TYPE_CHECKING`` is not imported and not listed."""
    yield from _imports(source.tree.body, source, at_load=True)
    yield from _by_name(source.tree)


def _by_name(tree: ast.Module) -> Iterator[Import]:
    """List what ``importlib.import_module("name")`` imports, called here or in a thread."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = [node.func, *node.args[:1]]
        if any(ast.unparse(part).endswith("import_module") for part in called):
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield Import(module=str(argument.value), line=node.lineno, at_load=False)


def _imports(body: list[ast.stmt], source: Source, *, at_load: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module=alias.name, line=node.lineno, at_load=at_load)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, source)
            for alias in node.names:
                yield Import(module=f"{base}.{alias.name}", line=node.lineno, at_load=at_load)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports(node.orelse, source, at_load=at_load)
        else:
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for _, field in ast.iter_fields(node):
                if isinstance(field, list):
                    inner = [item for item in field if isinstance(item, ast.stmt)]
                    for handler in field:
                        if isinstance(handler, ast.ExceptHandler | ast.match_case):
                            inner += handler.body
                    yield from _imports(inner, source, at_load=at_load and not later)


def _absolute(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return node.module or ""
    parts = source.module.split(".")
    if source.path.name != "__init__.py":
        parts = parts[:-1]
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


@cache
def tracked_files() -> tuple[Path, ...]:
    """List the regular files that the repository holds or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())
