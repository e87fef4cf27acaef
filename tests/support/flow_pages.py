"""docs/FLOWS.md and docs/RULES.md, made from what the tests say of themselves (``python tests/flows/matrix.py``).

| read | for |
| --- | --- |
| ``@flow("id", ways=..., callers=...)`` in tests/**/test_*.py | the cells of a flow |
| ``@pytest.mark.real("id", "sipp")`` there, or in ``pytestmark`` | flows that real SIP software shows, and which software |
| ids at the start of a test's docstring, ``T16, 3-#8: ...`` | the index of rules |

Nothing is imported but the table of flows, so that it runs without root and without anything of the field.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.flow_table import CALLERS, CLIENTS, FLOWS, NO_SENSE, WAYS

__all__ = ["COMMAND", "FILES", "Told", "flows_page", "ids_of", "rules_page", "told", "told_by"]

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
COMMAND = "python tests/flows/matrix.py"
MADE = f"Made by `{COMMAND}` from the tests themselves; do not edit."

# Ids of the rules and of the field notes, A1, J, T16, S4-22, DEC3, 3-#5.
_ID = r"(?:S[0-4]-[0-9]+|DEC[0-9]+|3-#[0-9]+|[A-OT][0-9]*)"
_IDS = re.compile(rf"({_ID}(?:, {_ID})*):")


@dataclass(frozen=True)
class Told:
    """What one test function says of itself. ``cells``: (flow, way, caller); ``real``: flows, shown by ``clients``."""

    path: str
    name: str
    ids: tuple[str, ...]
    cells: tuple[tuple[str, str, str], ...]
    real: tuple[str, ...]
    clients: tuple[str, ...]


@dataclass
class _Row:
    cells: set[tuple[str, str]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    real: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def told() -> Iterator[Told]:
    """Every test of the tree, in a fixed order."""
    for path in sorted(TESTS.rglob("test_*.py")):
        yield from told_by(path.read_text(encoding="utf-8"), path.relative_to(TESTS).as_posix())


def told_by(source: str, path: str) -> Iterator[Told]:
    """The tests of one file."""
    tree = ast.parse(source)
    everywhere = [name for call in _marks_of_module(tree) for name in _real(call)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
            real = everywhere + [name for call in calls for name in _real(call)]
            yield Told(
                path,
                node.name,
                ids_of(ast.get_docstring(node) or ""),
                tuple(cell for call in calls if _name(call) == "flow" for cell in _cells(call)),
                tuple(name for name in real if name in FLOWS),
                tuple(name for name in real if name in CLIENTS),
            )


def ids_of(docstring: str) -> tuple[str, ...]:
    """The ids that a docstring begins with."""
    match = _IDS.match(docstring)
    return tuple(match[1].split(", ")) if match else ()


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _cells(call: ast.Call) -> Iterator[tuple[str, str, str]]:
    name = ast.literal_eval(call.args[0])
    said = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    for way in said.get("ways", "".join(WAYS)):
        for caller in said.get("callers", CALLERS):
            yield name, way, caller


def _real(call: ast.Call) -> list[str]:
    """The flows and the clients that a mark names."""
    if _name(call) != "pytest.mark.real":
        return []
    names = [ast.literal_eval(each) for each in call.args]
    unknown = [name for name in names if name not in FLOWS and name not in CLIENTS]
    assert not unknown, f"{unknown} is no flow and no client of support/flow_table.py"
    return names


def _marks_of_module(tree: ast.Module) -> Iterator[ast.Call]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            yield from (call for call in ast.walk(node.value) if isinstance(call, ast.Call))


def flows_page() -> str:
    """docs/FLOWS.md."""
    rows: dict[str, _Row] = defaultdict(_Row)
    for test in told():
        for name, way, caller in test.cells:
            rows[name].cells.add((way, caller))
            rows[name].files.add(test.path)
        assert test.clients or not test.real, f"{test.path}: {test.name} does not say which real client shows its flows"
        for name in test.real:
            rows[name].real[test.path].update(test.clients)
    cells = [(way, caller) for way in WAYS for caller in CALLERS]
    heads = [f"{way} {'out' if caller == 'inside' else 'in'}" for way, caller in cells]
    lines = [
        "# Call flows",
        "",
        MADE,
        "",
        "A, B and C are the ways the pair is used: phones inside with a hosted registrar; a PBX inside with a trunk;",
        "a PBX inside with remote workers. *out*: who is inside begins; *in*: who is outside. Each tick is a test of",
        "that cell, with scripted phones over in-memory wires and a virtual clock, in the files named. *Real clients*:",
        "the software that shows the flow through a real firewall; the link leads to its test.",
        "",
        f"| flow | {' | '.join(heads)} | tests | real clients |",
        f"| --- |{' --- |' * (len(cells) + 2)}",
    ]
    for name, meaning in FLOWS.items():
        row = rows[name]
        marks = [_mark(name, cell, row) for cell in cells]
        files = ", ".join(_link(Path(each).stem.removeprefix("test_"), each) for each in sorted(row.files))
        real = ", ".join(_link(", ".join(sorted(who)), path) for path, who in sorted(row.real.items()))
        lines.append(f"| {meaning} (`{name}`) | {' | '.join(marks)} | {files} | {real} |")
    reasons = sorted({(flow, way, reason) for (flow, way, _), reason in NO_SENSE.items()})
    lines += ["", "Cells that cannot be:", "", *(f"- `{flow}` {way}: {reason}" for flow, way, reason in reasons)]
    return "\n".join([*lines, ""])


def _link(text: str, path: str) -> str:
    return f"[{text}](../tests/{path})"


def _mark(name: str, cell: tuple[str, str], row: _Row) -> str:
    if cell in row.cells:
        return "✓"
    return "–" if (name, *cell) in NO_SENSE else " "


def rules_page() -> str:
    """docs/RULES.md."""
    tests: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for test in told():
        for each in test.ids:
            tests[each].add((test.path, test.name))
    lines = [
        "# Which test shows which rule",
        "",
        MADE,
        "",
        "The ids are those of the rules for SIP, SDP and RTP (A1 to O) and of the field notes (T1, S4-9, 3-#5, DEC3).",
        "",
        "| id | tests |",
        "| --- | --- |",
    ]
    for each in sorted(tests, key=_order):
        by_file: dict[str, list[str]] = defaultdict(list)
        for path, name in sorted(tests[each]):
            by_file[path].append(name)
        shown = "; ".join(f"{_link(path, path)}: {', '.join(names)}" for path, names in by_file.items())
        lines.append(f"| {each} | {shown} |")
    return "\n".join([*lines, ""])


def _order(an_id: str) -> tuple[object, ...]:
    """By family, then by number."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", an_id))


FILES = {DOCS / "FLOWS.md": flows_page, DOCS / "RULES.md": rules_page}
