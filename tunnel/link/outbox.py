"""What waits to leave: control frames, and media by class and age.

A packet's way:

1. ``add_media``: a batch, framed by whoever drained the sockets, is appended whole.
2. ``take_media``, nothing congested: the batches leave whole, each behind its CLOCK frame.
3. ``take_media`` under back-pressure: batches are taken apart into lanes by class; what is past its deadline is
   dropped here, at the sender, and counted; the rest leaves URGENT first, then AUDIO and OTHER by deficit round-robin.

Only the third step looks at packets.
"""

from __future__ import annotations

from collections import Counter, deque

from tunnel.counters import Counters
from tunnel.link.frames import CLOCK_FRAME_BYTES, HEADER, MAX_BATCH_BYTES, clock_frame
from tunnel.link.priority import Classifier, Priority

__all__ = ["AUDIO_DEADLINE_S", "MAX_WAITING_BYTES", "OTHER_DEADLINE_S", "URGENT_DEADLINE_S", "Outbox"]

# --- numbers of the rules (N2) -------------------------------------------------------------------------------------
URGENT_DEADLINE_S = 2.0
AUDIO_DEADLINE_S = 0.080
OTHER_DEADLINE_S = 0.120

# --- numbers of ours -----------------------------------------------------------------------------------------------
MAX_WAITING_BYTES = 1 << 20  # 120 ms of 1000 calls; more than a deadline's worth can wait only when nothing moves
_MAX_CONTROL_FRAMES = 64  # with a greeting of full length among them they still fit into one record
_AUDIO_QUANTUM_BYTES = 6000  # audio gets three quarters of what is left when video wants all of it
_OTHER_QUANTUM_BYTES = 2000


class _Lane:
    """Packets of one class, oldest first."""

    __slots__ = ("deadline_s", "deficit", "frames", "late", "overflow", "quantum")

    def __init__(self, name: str, deadline_s: float, quantum: int) -> None:
        self.late = f"link.late_dropped.{name}"
        self.overflow = f"link.overflow_dropped.{name}"
        self.deadline_s = deadline_s
        self.quantum = self.deficit = quantum
        self.frames: deque[tuple[float, bytes]] = deque()  # arrival, whole frame


class Outbox:
    """The queue in front of one connection at a time; media older than their deadline never leave it."""

    __slots__ = (
        "_batches",
        "_bytes",
        "_classifier",
        "_control",
        "_counters",
        "_dropped",
        "_lanes",
        "_round",
        "_urgent",
    )

    def __init__(self, classifier: Classifier, counters: Counters) -> None:
        self._classifier = classifier
        self._counters = counters
        self._control: list[bytes] = []
        self._batches: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._dropped: Counter[int] = Counter()  # by even channel
        self._urgent = _Lane("urgent", URGENT_DEADLINE_S, 0)
        audio = _Lane("audio", AUDIO_DEADLINE_S, _AUDIO_QUANTUM_BYTES)
        other = _Lane("other", OTHER_DEADLINE_S, _OTHER_QUANTUM_BYTES)
        self._lanes = {Priority.URGENT: self._urgent, Priority.AUDIO: audio, Priority.OTHER: other}
        self._round = deque([audio, other])

    @property
    def waiting_bytes(self) -> int:
        """Media bytes that wait, late ones included that nobody has looked at yet."""
        return self._bytes

    def dropped(self, channel: int) -> int:
        """How many packets of the stream ``channel`` and of its RTCP never left: too late, or too many."""
        return self._dropped[channel]

    def forget(self, channel: int) -> None:
        """The stream is closed."""
        self._classifier.forget(channel)
        self._dropped.pop(channel, None)

    # --- control -----------------------------------------------------------------------------------------------------

    def add_control(self, frame: bytes) -> None:
        """A whole LINK frame, for the connection of the moment. A peer that asks and never reads loses the oldest."""
        self._control.append(frame)
        if len(self._control) > _MAX_CONTROL_FRAMES:
            del self._control[0]

    def take_control(self) -> list[bytes]:
        """All LINK frames that wait."""
        taken, self._control = self._control, []
        return taken

    def drop_control(self) -> None:
        """Another connection: what was said to the old one is void."""
        self._control.clear()

    # --- media -------------------------------------------------------------------------------------------------------

    def add_media(self, batch: bytes, now: float) -> None:
        """Whole media frames that reached this end now."""
        self._batches.append((now, batch))
        self._bytes += len(batch)
        if self._bytes > MAX_WAITING_BYTES:
            self._take_apart()
            self._expire(now)
            self._shed()

    def keep_urgent(self, batch: bytes, now: float) -> None:
        """The same while the session has no connection: only URGENT packets are worth keeping."""
        self._batches.append((now, batch))
        self._bytes += len(batch)
        self._take_apart()
        for lane in self._round:
            self._drop(lane, len(lane.frames), "link.dropped_while_down")
        self._expire(now)
        self._shed()

    def clear_media(self) -> None:
        """The session is over."""
        self._batches.clear()
        for lane in self._lanes.values():
            lane.frames.clear()
        self._bytes = 0

    def take_media(self, room: int, now: float, *, can_wait: bool = False) -> list[bytes]:
        """Media frames and their CLOCK frames, at most ``room`` bytes together; empty when nothing fits or waits.

        ``can_wait``: only signalling in this record limits the room, and the next record has all of it.
        """
        batches = self._batches
        if not self._bytes:
            return []
        if batches and self._is_flowing(now):
            if self._bytes + CLOCK_FRAME_BYTES * len(batches) <= room:
                taken: list[bytes] = []
                for arrived, batch in batches:
                    taken += (clock_frame(arrived), batch)
                batches.clear()
                self._bytes = 0
                return taken
            if can_wait:
                return []
        self._take_apart()
        self._expire(now)
        return self._take_by_class(room)

    def _is_flowing(self, now: float) -> bool:
        """No back-pressure: what waits is young, and fits into one record as it stands."""
        batches = self._batches
        return (
            batches[0][0] + AUDIO_DEADLINE_S > now
            and self._bytes + CLOCK_FRAME_BYTES * len(batches) <= MAX_BATCH_BYTES + CLOCK_FRAME_BYTES
            and not any(lane.frames for lane in self._lanes.values())
        )

    def _take_apart(self) -> None:
        unpack, classify, lanes = HEADER.unpack_from, self._classifier.of, self._lanes
        for arrived, batch in self._batches:
            at, end = 0, len(batch)
            while at < end:
                channel, length = unpack(batch, at)
                stop = at + HEADER.size + length
                second_byte = batch[at + HEADER.size + 1] if length > 1 else 0
                lanes[classify(channel, second_byte)].frames.append((arrived, batch[at:stop]))
                at = stop
        self._batches.clear()

    def _expire(self, now: float) -> None:
        for lane in self._lanes.values():
            oldest = now - lane.deadline_s
            late = 0
            for arrived, _ in lane.frames:
                if arrived > oldest:
                    break
                late += 1
            self._drop(lane, late, lane.late)

    def _shed(self) -> None:
        """Bring what waits back under its bound: the least urgent first, the oldest of those first."""
        for lane in reversed(self._lanes.values()):
            while lane.frames and self._bytes > MAX_WAITING_BYTES:
                self._drop(lane, 1, lane.overflow)

    def _drop(self, lane: _Lane, packets: int, counter: str) -> None:
        for _ in range(packets):
            frame = lane.frames.popleft()[1]
            self._bytes -= len(frame)
            self._dropped[HEADER.unpack_from(frame)[0] & ~1] += 1
        if packets:
            self._counters.bump(counter, packets)

    def _take_by_class(self, room: int) -> list[bytes]:
        taken: list[bytes] = []
        stamped, room = self._take_lane(self._urgent, taken, room, -1.0, room)
        waiting = self._round
        while any(lane.frames for lane in waiting):
            lane = waiting[0]
            stamped, left = self._take_lane(lane, taken, room, stamped, lane.deficit)
            lane.deficit -= room - left
            room = left
            if lane.frames and len(lane.frames[0][1]) <= lane.deficit:
                break  # the turn is not over, the room is
            if not lane.frames:
                lane.deficit = 0
            waiting.rotate(-1)
            waiting[0].deficit += waiting[0].quantum
        return taken

    def _take_lane(
        self, lane: _Lane, taken: list[bytes], room: int, stamped: float, allowance: int
    ) -> tuple[float, int]:
        """Move frames of one lane to ``taken``: returns the arrival that was stamped last, and the room left."""
        frames = lane.frames
        while frames:
            arrived, frame = frames[0]
            size = len(frame)
            stamp_bytes = 0 if arrived == stamped else CLOCK_FRAME_BYTES
            if size > allowance or size + stamp_bytes > room:
                break
            if stamp_bytes:
                taken.append(clock_frame(arrived))
                stamped = arrived
            taken.append(frame)
            frames.popleft()
            allowance -= size + stamp_bytes
            room -= size + stamp_bytes
            self._bytes -= size
        return stamped, room
