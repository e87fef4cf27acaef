"""Who sounds how, and what an ear must have heard of whom."""

from __future__ import annotations

from collections.abc import Sequence

from field.rig.audio import Hearing, listen
from field.rig.capture import Packet
from field.rig.ear import RtpStream, play, rtp_streams

__all__ = ["LEVEL_DBFS", "VOICES_HZ", "assert_heard", "only_stream"]

# Over two Goertzel bins apart, and none a multiple of another: nobody is mistaken for anybody.
VOICES_HZ = {"alice": 440.0, "dave": 560.0, "carol": 680.0, "bob": 800.0, "gateway": 1000.0}
LEVEL_DBFS = -12.0
_LEVEL_TOLERANCE_DB = 1.0
_WHOLE_MS = 200.0  # a machine that is busy delays packets beyond a phone's buffer; a relay that works does not by more


def assert_heard(
    recording: Sequence[int] | RtpStream, speaker: str, at_least_s: float, longest_gap_ms: float = _WHOLE_MS
) -> Hearing:
    """The ear that made `recording` heard `speaker`, at the level it spoke, long enough, whole, and nobody else."""
    samples = play(recording) if isinstance(recording, RtpStream) else recording
    others = [frequency for name, frequency in VOICES_HZ.items() if name != speaker]
    hearing = listen(samples, VOICES_HZ[speaker], others)
    assert hearing.right_s >= at_least_s, f"{speaker} was heard too little: {hearing}"
    assert hearing.wrong_s == 0, f"somebody else than {speaker} was heard: {hearing}"
    assert abs(hearing.level_dbfs - LEVEL_DBFS) <= _LEVEL_TOLERANCE_DB, f"{speaker} was too loud or too soft: {hearing}"
    assert hearing.longest_gap_ms <= longest_gap_ms, f"{speaker} was interrupted: {hearing}"
    return hearing


def only_stream(packets: Sequence[Packet], listener: str) -> RtpStream:
    """The one audio stream that arrived at that address: from one address and port, to one port, with one SSRC."""
    streams = rtp_streams(packets, target=listener)
    assert len(streams) == 1, f"not one stream to {listener}: {[(s.source, s.target, len(s.packets)) for s in streams]}"
    return streams[0]
