"""What docs/ARCHITECTURE.md and the house rules say of the tree, read from the source itself."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tunnel", "inside_agent", "outside_server")
FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IDS = [str(path) for path in FILES]

# What a file of the core, one without [io], does without.
IO_MODULES = frozenset({"hypercorn", "logging", "random", "secrets", "select", "socket", "ssl", "time", "trio"})
IO_NAMES = frozenset({"os.getrandom", "os.urandom"})
# Core files that may import something of it, and why.
CORE_EXCEPTIONS = {
    "tunnel/link/secure.py": {"ssl"},  # MemoryBIO: TLS as bytes in and bytes out
}
# Command lines are shells of their own: they put the I/O together when a command is called.
COMMAND_LINES = {"inside_agent/cli.py", "outside_server/cli.py"}

MOST_LINES = 400
# Packages whose docstring is a map of their files.
MAPPED = ("tunnel/sip", "tunnel/media", "tunnel/link")

# Tests of no single file.
TESTS_OF_SEVERAL = {"tests/tunnel/link/test_freeze.py"}  # a whole link that stops for a while


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def is_io(path: Path) -> bool:
    first, _, _ = (ast.get_docstring(tree_of(path)) or "").partition("\n\n")
    return "[io]" in first


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Each import of the file as (module, name); name is "" for ``import module``."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def names_used(path: Path) -> set[str]:
    """``module.name`` for each attribute of a plain name, and each name imported from a module."""
    attributes = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute))
    used = {f"{node.value.id}.{node.attr}" for node in attributes if isinstance(node.value, ast.Name)}
    return used | {f"{module}.{name}" for module, name in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_the_core_does_no_io(path: Path) -> None:
    if is_io(path) or str(path) in COMMAND_LINES:
        return
    allowed = CORE_EXCEPTIONS.get(str(path), set())
    imported = {module.partition(".")[0] for module, _ in imports(path)} & IO_MODULES
    assert imported == allowed, f"{path} has no [io] in its docstring"
    assert not names_used(path) & IO_NAMES, f"{path}: the core is given its entropy"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_private_names_stay_in_their_package(path: Path) -> None:
    package = path.parent.as_posix().replace("/", ".")
    for module, name in imports(path):
        if module.partition(".")[0] not in PACKAGES:
            continue
        private = name.startswith("_") or any(part.startswith("_") for part in module.split("."))
        assert not private or module.rpartition(".")[0] == package, f"{path} imports {module}.{name}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_who_may_import_whom(path: Path) -> None:
    packages = {module.partition(".")[0] for module, _ in imports(path)} & set(PACKAGES)
    may = {path.parts[0], "tunnel"}
    if path.parts[0] == "outside_server" and path.name.startswith("demo"):
        may.add("inside_agent")
    assert packages <= may


def test_the_core_reaches_io_only_through_what_it_is_given() -> None:
    """A core file imports no [io] file while the program runs; names that only types need do not count."""
    io_modules = {module_of(path) for path in FILES if is_io(path)}
    reached = {
        f"{path} -> {module}"
        for path in FILES
        if not is_io(path) and str(path) not in COMMAND_LINES and path.name != "__init__.py"
        for module in running_imports(path) & io_modules
    }
    assert not reached


def running_imports(path: Path) -> set[str]:
    """Modules that importing the file imports: those at its top level."""
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_files_are_short() -> None:
    files = [*FILES, *(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))]
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {path: length for path, length in lengths.items() if length > MOST_LINES}, "ask which noun escaped"


@pytest.mark.parametrize("package", MAPPED)
def test_the_map_of_a_package_shows_its_files_and_no_others(package: str) -> None:
    rows = re.findall(
        r"^\|[^|]*\|([^|]*)\|$", ast.get_docstring(tree_of(Path(package, "__init__.py"))) or "", re.MULTILINE
    )
    shown = {
        name
        for row in rows[2:]
        for group in row.replace("[io]", "").split(";")
        for name in group.partition(":")[0].replace(" ", "").split(",")
    }
    assert shown == {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}


def test_tests_mirror_the_tree() -> None:
    strays = {
        str(test)
        for package in PACKAGES
        for test in (path.relative_to(ROOT) for path in (ROOT / "tests" / package).rglob("test_*.py"))
        if not mirrored(test)
    }
    assert strays == TESTS_OF_SEVERAL


def mirrored(test: Path) -> bool:
    """Whether test_noun.py or test_noun_topic.py stands where noun.py, or a folder of that name, stands."""
    words = test.stem.split("_")[1:]
    folder = ROOT.joinpath(*test.parts[1:-1])
    nouns = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    return any((folder / f"{noun}.py").exists() or (folder / noun).is_dir() for noun in nouns)


def test_no_group_is_repeated_possessively() -> None:
    """Python before 3.11.5, which Debian 12 has, takes ``(?:a|b)*+`` for a match where there is none."""
    lines = ((path, line.partition("# ")[0]) for path in FILES for line in (ROOT / path).read_text().splitlines())
    assert not [(str(path), line) for path, line in lines if re.search(r"\)[*+?]\+", line)]
