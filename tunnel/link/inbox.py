"""Media on the way in: frames to sinks, except what came too late to be worth playing.

``sinks`` is what the streams of this end enter themselves in. Before the greeting nothing is handed out.
"""

from __future__ import annotations

from tunnel.counters import Counters
from tunnel.errors import BadPacket
from tunnel.link.frames import STAMP, Sink, Sinks, dispatch_untrusted
from tunnel.link.lateness import Lateness
from tunnel.link.priority import Classifier, Priority

__all__ = ["Inbox"]


class Inbox:
    """The receiving side of a session's media, connection after connection."""

    __slots__ = ("_closed", "_counters", "_current", "_late", "lateness", "sinks")

    def __init__(self, classifier: Classifier, counters: Counters) -> None:
        self.sinks = Sinks()
        self.lateness = Lateness()
        self._counters = counters
        self._late = _LateSinks(self.sinks, classifier)
        self._closed = Sinks()
        self._current = self._closed

    def open(self) -> None:
        """A connection is greeted; nothing is known about its delay."""
        self.lateness.reset()
        self._current = self.sinks

    def close(self) -> None:
        """The connection is gone."""
        self._current = self._closed

    def dispatch_untrusted(self, buffer: bytes, at: int) -> int:
        """Hand out media frames from ``at`` on; returns the offset of the first frame that is something else."""
        return dispatch_untrusted(buffer, self._current, at)

    def hear_clock_untrusted(self, payload: bytes, now: float) -> None:
        """A CLOCK frame: the media behind it are as old as it says. Raises BadPacket."""
        if self._current is self._closed:
            raise BadPacket("media came before the greeting")
        if len(payload) != STAMP.size:
            raise BadPacket("a clock frame does not hold a stamp")
        self._current = self._late if self.lateness.is_late(STAMP.unpack(payload)[0], now) else self.sinks

    def report(self) -> None:
        """Move what was counted by the packet into the counters."""
        sinks, late = self.sinks, self._late
        if sinks.unknown:
            self._counters.bump("link.unknown_channel", sinks.unknown)
            sinks.unknown = 0
        if late.stale:
            self._counters.bump("link.stale_received", late.stale)
            late.stale = 0
        if sinks.failed or late.failed:
            self._counters.bump("link.sink_failed", sinks.failed + late.failed)
            sinks.failed = late.failed = 0


class _LateSinks(Sinks):
    """Stands in for the sinks while a late batch is handed out: URGENT packets pass, the others are ``stale``."""

    __slots__ = ("_classifier", "_sinks", "stale")

    def __init__(self, sinks: Sinks, classifier: Classifier) -> None:
        super().__init__()
        self._sinks = sinks
        self._classifier = classifier
        self.stale = 0

    def __missing__(self, channel: int) -> Sink:
        return lambda packet: self._judge(channel, packet)

    def _judge(self, channel: int, packet: bytes) -> None:
        if self._classifier.of(channel, packet[1] if len(packet) > 1 else 0) is Priority.URGENT:
            self._sinks[channel](packet)
        else:
            self.stale += 1
