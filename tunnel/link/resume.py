"""Reliable signalling: messages cut into numbered frames, kept until acknowledged, replayed on the next connection.

Both ends keep one ``Reliable`` for the life of a session. A connection delivers in order or not at all, so a frame is
either the next one, or one that the other end had already when it was replayed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tunnel.counters import Counters
from tunnel.errors import BadPacket, LocalMisuse, WallpassError
from tunnel.link.frames import HEADER, SIGNAL_CONTROL, SIGNAL_HEADER, SIGNAL_MORE, signal_frame

__all__ = [
    "MAX_KEPT_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_SIGNAL_FRAME_BYTES",
    "NoSession",
    "Received",
    "Reliable",
    "SignalNotTaken",
    "SignallingFull",
]

# --- numbers of ours -----------------------------------------------------------------------------------------------
MAX_MESSAGE_BYTES = 1 << 20  # a SIP message with its metadata; far above what any transport of SIP admits
MAX_SIGNAL_FRAME_BYTES = 2048  # most SIP messages fit, and so does a frame into the least room a carrier gives
MAX_KEPT_BYTES = 256 * 1024  # unacknowledged; some 200 messages, what a busy site says in the seconds of an outage

_PIECE_BYTES = MAX_SIGNAL_FRAME_BYTES - HEADER.size - SIGNAL_HEADER.size
_MASK = 0xFFFFFFFF


class SignalNotTaken(WallpassError):
    """The link cannot take this message now; tell its sender to come back later."""


class NoSession(SignalNotTaken):
    """There is no session with the other end."""


class SignallingFull(SignalNotTaken):
    """Too much signalling waits for the other end's acknowledgement; ``kept_bytes`` says how much."""

    def __init__(self, kept_bytes: int) -> None:
        super().__init__(f"{kept_bytes} bytes of signalling wait for acknowledgement")
        self.kept_bytes = kept_bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A whole message. ``is_control``: for the link itself."""

    payload: bytes
    is_control: bool


class Reliable:
    """The signalling of one session, both directions."""

    __slots__ = (
        "_acknowledged",
        "_counters",
        "_partial",
        "_partial_bytes",
        "_partial_flags",
        "_received",
        "_sent",
        "_unacknowledged",
        "_unsent",
        "kept_bytes",
        "unconfirmed",
    )

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._unsent: deque[bytes] = deque()  # frames that no connection of today has carried
        self._unacknowledged: deque[bytes] = deque()  # frames sent on the connection of the moment, oldest first
        self._sent = 0  # sequence of the newest frame made
        self._acknowledged = 0  # sequence of the newest frame that the other end has
        self._received = 0  # sequence of the newest frame that this end has
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._partial_flags = 0
        self.kept_bytes = 0
        self.unconfirmed = 0  # frames received and not yet confirmed

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, payload: bytes, *, control: bool = False) -> None:
        """Take a message of up to MAX_MESSAGE_BYTES. Raises SignallingFull, and then nothing of it is kept.

        The bound is looked at before the message is added, so that a message of any size goes through an idle link.
        """
        if len(payload) > MAX_MESSAGE_BYTES:
            raise LocalMisuse(f"a message of {len(payload)} bytes is more than {MAX_MESSAGE_BYTES}")
        if self.kept_bytes >= MAX_KEPT_BYTES:
            self._counters.bump("link.signals_refused")
            raise SignallingFull(self.kept_bytes)
        flags = SIGNAL_CONTROL if control else 0
        for start in range(0, max(len(payload), 1), _PIECE_BYTES):
            more = SIGNAL_MORE if start + _PIECE_BYTES < len(payload) else 0
            self._sent += 1
            frame = signal_frame(self._sent, flags | more, payload[start : start + _PIECE_BYTES])
            self._unsent.append(frame)
            self.kept_bytes += len(frame)

    def take(self, room: int) -> list[bytes]:
        """The next frames to send, at most ``room`` bytes together; they are kept until acknowledged."""
        taken = []
        while self._unsent and len(self._unsent[0]) <= room:
            frame = self._unsent.popleft()
            room -= len(frame)
            self._unacknowledged.append(frame)
            taken.append(frame)
        return taken

    def acknowledge_untrusted(self, received: int) -> None:
        """The other end has everything up to ``received`` (mod 2^32). Raises BadPacket when it was never sent."""
        news = (received - self._acknowledged) & _MASK
        if news > len(self._unacknowledged):
            raise BadPacket(f"signalling frame {received} was acknowledged and never sent")
        for _ in range(news):
            self.kept_bytes -= len(self._unacknowledged.popleft())
        self._acknowledged += news

    def resume_untrusted(self, received: int) -> None:
        """A new connection, and the other end has everything up to ``received``: the rest is to be sent again."""
        self.acknowledge_untrusted(received)
        self._unsent.extendleft(reversed(self._unacknowledged))
        self._unacknowledged.clear()

    @property
    def unacknowledged_messages(self) -> int:
        """How many messages of this end's user the other end is not known to have, whole."""
        last_pieces = (frame for queue in (self._unacknowledged, self._unsent) for frame in queue)
        return sum(not frame[_FLAGS_AT] & (SIGNAL_MORE | SIGNAL_CONTROL) for frame in last_pieces)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def confirm(self) -> int:
        """What to tell the other end: the sequence (mod 2^32) up to which everything was received."""
        self.unconfirmed = 0
        return self._received & _MASK

    def receive_untrusted(self, payload: bytes) -> Received | None:
        """The payload of a SIGNAL frame: returns the message that it completes, if any. Raises BadPacket."""
        if len(payload) < SIGNAL_HEADER.size:
            raise BadPacket("a signalling frame is shorter than its header")
        sequence, flags = SIGNAL_HEADER.unpack_from(payload)
        if flags & ~(SIGNAL_MORE | SIGNAL_CONTROL):
            raise BadPacket(f"a signalling frame has unknown flags {flags:#04x}")
        ahead = (sequence - self._received - 1) & _MASK
        if ahead > _MASK // 2:
            self._counters.bump("link.duplicate_signals")
            return None
        if ahead:
            raise BadPacket(f"{ahead} signalling frames are missing before {sequence}")
        if self._partial and flags & SIGNAL_CONTROL != self._partial_flags:
            raise BadPacket("a message changed its kind between two frames")
        if self._partial_bytes + len(payload) - SIGNAL_HEADER.size > MAX_MESSAGE_BYTES:
            raise BadPacket(f"a message is larger than {MAX_MESSAGE_BYTES} bytes")
        self._received += 1
        self.unconfirmed += 1
        self._partial.append(payload[SIGNAL_HEADER.size :])
        self._partial_bytes += len(self._partial[-1])
        self._partial_flags = flags & SIGNAL_CONTROL
        if flags & SIGNAL_MORE:
            return None
        message = b"".join(self._partial)
        self._partial.clear()
        self._partial_bytes = 0
        return Received(message, bool(flags & SIGNAL_CONTROL))


_FLAGS_AT = HEADER.size + SIGNAL_HEADER.size - 1
