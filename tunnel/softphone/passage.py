"""One message that a phone sent or received, as a line of a ladder needs it."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.sip.message import parse_untrusted

__all__ = ["Passage", "read_passage_untrusted"]


@dataclass(frozen=True, slots=True)
class Passage:
    """``at`` in seconds of the phone's clock; ``status`` 0 for a request, ``method`` that of the CSeq."""

    at: float
    sent: bool
    method: str
    status: int
    reason: str
    call_id: bytes
    cseq: int

    @property
    def title(self) -> str:
        """``INVITE``, or ``180 Ringing``."""
        return f"{self.status} {self.reason}".rstrip() if self.status else self.method


def read_passage_untrusted(data: bytes, *, sent: bool, at: float) -> Passage:
    """What a message is. Raises BadPacket."""
    message = parse_untrusted(data)
    reason = message.reason.decode("utf-8", "replace")
    cseq, method = message.cseq
    return Passage(at, sent, method, message.status, reason, message.call_id, cseq)
