"""One fuzz target for each function whose name ends in ``_untrusted``: any bytes go in, only BadPacket may come out.

A target is named like its function (``module:Class.function``). State that an input must not spoil (sessions, stores) is made
anew for each input, or is cheap to keep. ``test_targets.py`` sees to it that no function is without.
"""

from __future__ import annotations

import fuzz.targets_link
import fuzz.targets_phone
import fuzz.targets_sip  # noqa: F401
from fuzz.target import TARGETS

__all__ = ["TARGETS"]
