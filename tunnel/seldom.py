"""What may be said again only after a while: a log line about a peer that fails with every call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["Seldom"]

# Our number: subjects that are remembered; the one spoken of longest ago is forgotten first.
MOST_SUBJECTS = 1_000


class Seldom:
    """Lets each subject through once in ``every_s`` seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._said_at: OrderedDict[Hashable, float] = OrderedDict()

    def may(self, subject: Hashable, now: float) -> bool:
        """Whether to speak of ``subject`` now; then not again for a while."""
        if now < self._said_at.get(subject, -self._every_s) + self._every_s:
            return False
        self._said_at[subject] = now
        self._said_at.move_to_end(subject)
        if len(self._said_at) > MOST_SUBJECTS:
            self._said_at.popitem(last=False)
        return True
