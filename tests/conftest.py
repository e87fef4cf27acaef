"""What every test may use; `support` holds the simulated worlds.

Property tests try the same examples in each run, so that a run says what a change did;
``--hypothesis-profile=explore`` tries new ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", print_blob=True)
settings.load_profile("repeatable")
