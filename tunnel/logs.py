"""Logs: events with fields, on stderr, without secrets.

One line an event: ``key=value`` (default) or JSON (``WALLPASS_LOG=json``). Whatever came from a network is printed
through `redact`, and control characters never reach the terminal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["LEVELS", "redact", "setup_logs"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FIRST_FIELDS = ["timestamp", "level", "event"]
SHOWN_USER_CHARACTERS = 2
MAX_SHOWN_CHARACTERS = 200

USER_PART = re.compile(r"(?P<scheme>\b(?:sips?|tel|im|pres):)(?P<user>[^\s@;?<>\"]+)", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def setup_logs(level: str = "info", form: str = "text") -> None:
    """Send structlog's events of ``level`` and above to stderr, as "text" or "json"."""
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.processors.LogfmtRenderer(key_order=FIRST_FIELDS, drop_missing=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def redact(text: bytes | str) -> str:
    """SIP as a log may show it: of a message its first line, of a URI's user part the first two characters.

    ``sip:alice:secret@acme.example`` becomes ``sip:al***@acme.example``, ``tel:+4930123`` becomes ``tel:+4***``.
    """
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    line = shown.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    return USER_PART.sub(_shortened, _escaped(line))[:MAX_SHOWN_CHARACTERS]


def _shortened(match: re.Match[str]) -> str:
    """A host without a user (``sip:acme.example``) is no subscriber and stays."""
    has_user = match.string[match.end() : match.end() + 1] == "@"
    if not has_user and match["scheme"].lower() != "tel:":
        return match[0]
    return f"{match['scheme']}{match['user'].partition(':')[0][:SHOWN_USER_CHARACTERS]}***"


def _printable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nothing in a log line can move the cursor or begin another line."""
    for key, value in event.items():
        if isinstance(value, bytes):
            value = value.decode(errors="backslashreplace")
        if isinstance(value, str):
            event[key] = _escaped(value) if key != "exception" else value
    return event


def _escaped(text: str) -> str:
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
