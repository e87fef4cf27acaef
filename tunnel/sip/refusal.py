"""What stands in the answers that we give ourselves: why, and when to try again (SIP-RULES K, RFC 3261 section 20.43)."""

from __future__ import annotations

import re

from tunnel.sip.policy import Answer

__all__ = ["explanation", "warning_line"]

_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")


def explanation(answer: Answer) -> list[bytes]:
    """The header lines, without CRLF, that tell a sender what ``answer`` means; none for one that refuses nothing."""
    lines = [warning_line(answer.warning or answer.reason)] if answer.status >= 300 else []
    if answer.retry_after_s:
        lines.append(b"Retry-After: %d" % answer.retry_after_s)
    return lines


def warning_line(text: str) -> bytes:
    """A Warning in our name; what ``text`` quotes of a message cannot end the line or its quotes."""
    quoted = text.replace("\\", " ").replace('"', "'").encode("utf-8", "replace")
    return b'Warning: 399 wallpass "%s"' % _CONTROLS.sub(b" ", quoted)
