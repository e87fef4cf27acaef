"""Channel ids: which half of the session's id space belongs to which end, and which ids are free."""

from __future__ import annotations

from collections import deque

from tunnel.errors import LocalMisuse
from tunnel.media.plane import LedgerFull

__all__ = ["AGENT_CHANNELS", "SERVER_CHANNELS", "ChannelSpace"]

# Part of the wire format: even ids carry RTP, the odd id above each its RTCP.
AGENT_CHANNELS = range(16, 32768, 2)
SERVER_CHANNELS = range(32768, 65536, 2)


class ChannelSpace:
    """The ids that one end of one session hands out; first freed is first reused, so a freed id rests longest."""

    def __init__(self, ids: range) -> None:
        self._ids = ids
        self._fresh = iter(ids)  # never handed out; a list of them would cost an idle session 640 KiB
        self._freed: deque[int] = deque()
        self._used: set[int] = set()
        self._adopted: set[int] = set()  # of the other end's half

    def adopt(self, channel: int) -> bool:
        """Take on an id that the other end handed out; False where a stream of ours has it already."""
        if self.owns(channel) or channel in self._adopted:
            return False
        self._adopted.add(channel)
        return True

    def allocate(self) -> int:
        """An even channel id that nobody uses. Raises LedgerFull."""
        channel = next(self._fresh, None)
        if channel is None:
            if not self._freed:
                raise LedgerFull(f"all {len(self._ids)} channels of this session are in use")
            channel = self._freed.popleft()
        self._used.add(channel)
        return channel

    def free(self, channel: int) -> None:
        """Take ``channel`` back; an id of the other end's half is only let go."""
        if not self.owns(channel):
            self._adopted.discard(channel)
            return
        if channel not in self._used:
            raise LocalMisuse(f"channel {channel} was freed but is not in use")
        self._used.remove(channel)
        self._freed.append(channel)

    def owns(self, channel: int) -> bool:
        """Whether it is for this end to hand out ``channel``."""
        return channel in self._ids

    @property
    def in_use(self) -> int:
        """How many ids are handed out now."""
        return len(self._used)
