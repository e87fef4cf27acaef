"""What every carrier is: a dumb pipe for bytes that never makes anybody wait in the middle of something."""

from __future__ import annotations

from typing import Protocol

__all__ = ["MAX_ROOM_BYTES", "MIN_ROOM_BYTES", "Carrier"]

# --- numbers of ours -----------------------------------------------------------------------------------------------
MIN_ROOM_BYTES = 2560  # holds any frame of the link with its TLS record; 25 ms of a line for ten calls
MAX_ROOM_BYTES = 16384  # one full record


class Carrier(Protocol):
    """One way out of the building, already connected. Every method raises CarrierLost once the connection is gone."""

    @property
    def name(self) -> str:
        """What it is and where it goes, for people: ``direct 203.0.113.10:443``."""

    def room(self) -> int:
        """How many bytes ``try_send`` should be given now so that they do not wait long in a queue that nobody can
        re-order: 0, or at least MIN_ROOM_BYTES. After 0, ``wait_writable`` returns when it is no longer 0.
        """

    def try_send(self, data: bytes | memoryview) -> int:
        """Send what can be sent without waiting; returns how many bytes were taken, 0 when it would block."""

    def try_receive(self, max_bytes: int) -> bytes | None:
        """What has arrived, None when nothing has, b"" when the other end has closed."""

    async def wait_readable(self) -> None:
        """Return when ``try_receive`` has something to say. One task at a time."""

    async def wait_writable(self) -> None:
        """Return when there is room and ``try_send`` would take something. One task at a time."""

    def close(self) -> None:
        """Close at once; may be called twice. Tasks that wait are woken with CarrierLost."""
