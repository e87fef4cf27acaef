"""The pages of docs/ that are made from the tests are what the tests say now, and the list of counters is the code's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.flow_pages import COMMAND, FILES

ROOT = Path(__file__).parents[1]
PACKAGES = ("tunnel", "inside_agent", "outside_server")
LISTED = set(
    re.findall(r"`((?:sip|media|link|tunnel|internal)\.[a-z_.<>0-9]+)`", (ROOT / "docs/COUNTERS.md").read_text("utf-8"))
)
OPEN = {name.partition("<")[0] for name in LISTED if "<" in name}
CAUSE = "sip.refused."


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_says_what_the_tests_say(path: Path) -> None:
    assert path.is_file(), f"docs/{path.name} is missing: run {COMMAND}"
    assert path.read_text(encoding="utf-8") == FILES[path](), f"docs/{path.name} is stale: run {COMMAND}"


def test_every_counter_of_the_code_is_listed() -> None:
    unlisted = {name for name in counted() if not is_listed(name)}
    assert not unlisted, "to be explained in docs/COUNTERS.md"


def test_every_listed_counter_is_in_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    gone = {
        name for name in LISTED if name.partition("<")[0] not in code and f'"{name.rpartition(".")[2]}"' not in code
    }
    assert not gone, "docs/COUNTERS.md has what nobody counts"


def is_listed(name: str) -> bool:
    """Itself, by its beginning (``sip.answered.<status>``), or, put together, by one that begins so."""
    known = name in LISTED or any(map(name.startswith, OPEN - {CAUSE}))
    return known or (name.endswith((".", "_")) and any(each.startswith(name) for each in LISTED))


def counted() -> Iterator[str]:
    """The names of counters as the code has them; of a name that is put together, the part that is fixed."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield from _counted_by(node)


def _counted_by(call: ast.Call) -> Iterator[str]:
    match ast.unparse(call.func).rpartition(".")[2]:
        case "bump" | "Drop" if call.args:
            yield from _texts(call.args[0])
        case "Answer":
            named = [each.value for each in call.keywords if each.arg == "cause"] + call.args[4:]
            yield from (CAUSE + text for each in named for text in _texts(each))


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) | ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one)
            yield from _texts(other)
