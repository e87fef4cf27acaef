"""Which packets may go before which: the classes of everything that leaves by the link."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from tunnel.errors import LocalMisuse

__all__ = ["Classifier", "Priority"]


class Priority(IntEnum):
    """The lower goes first. 0 to 2 in strict order, 3 and 4 share what is left."""

    CONTROL = 0  # the link's own
    SIGNALLING = 1  # SIP
    URGENT = 2  # DTMF and RTCP
    AUDIO = 3
    OTHER = 4  # video, fax, anything else


class Classifier:
    """What is known of each stream; asked only when packets must be taken apart."""

    __slots__ = ("_channels",)

    def __init__(self) -> None:
        self._channels: dict[int, tuple[Priority, frozenset[int]]] = {}

    def set_class(self, channel: int, priority: Priority, dtmf_payload_types: Iterable[int]) -> None:
        """Packets of the even ``channel`` are AUDIO or OTHER, but URGENT with one of these payload types (RFC 4733)."""
        if priority not in (Priority.AUDIO, Priority.OTHER):
            raise LocalMisuse(f"a stream is audio or other, not {priority.name.lower()}")
        self._channels[channel] = priority, frozenset(dtmf_payload_types)

    def forget(self, channel: int) -> None:
        """The stream is closed."""
        self._channels.pop(channel, None)

    def of(self, channel: int, second_byte: int) -> Priority:
        """The class of a packet: ``second_byte`` is marker and payload type of RTP, or the packet type of RTCP."""
        if channel & 1:
            return Priority.URGENT
        known = self._channels.get(channel)
        if known is None:
            return Priority.OTHER
        priority, dtmf = known
        if second_byte & 0x7F in dtmf:
            return Priority.URGENT
        if priority is Priority.AUDIO and 192 <= second_byte <= 223:  # RTCP on the RTP port (RFC 5761 section 4)
            return Priority.URGENT
        return priority
