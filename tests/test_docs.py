"""The pages of docs/ that are made from the tests are what the tests say now."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.flow_pages import COMMAND, FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_says_what_the_tests_say(path: Path) -> None:
    assert path.is_file(), f"docs/{path.name} is missing: run {COMMAND}"
    assert path.read_text(encoding="utf-8") == FILES[path](), f"docs/{path.name} is stale: run {COMMAND}"
