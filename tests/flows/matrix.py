"""Writes docs/FLOWS.md and docs/RULES.md: ``python tests/flows/matrix.py`` (see support/flow_pages.py)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.flow_pages import FILES

if __name__ == "__main__":
    for path, page in FILES.items():
        path.write_text(page(), encoding="utf-8")
