"""The subscriptions that live in the dialogs of a call (RFC 6665, RFC 3515).

They have lives of their own: several may share a dialog, each fork has its own, and one that a REFER made within a call
goes on when the call has ended (RFC 5057 section 4.1), for a transferor hangs up long before the target has answered.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from tunnel.sip.grammar import number
from tunnel.sip.message import Message

__all__ = ["SUBSCRIBING", "Subscriptions"]

# Requests that make, refresh or end a subscription.
SUBSCRIBING = frozenset({"SUBSCRIBE", "REFER", "NOTIFY"})

# Our numbers. A subscription that does not say how long it lasts (most event packages default to an hour or less).
DEFAULT_S = 3600
# The longest that is believed: those for registration state are asked for by the week.
LONGEST_S = 30 * 86_400
# How much longer one of a REFER lives than it says: phones say 60 s and then let the target ring as long as it likes.
REFER_GRACE_S = 300
# No honest subscription forks wider, nor has a dialog more of them.
MOST = 64

_STATE_EXPIRES = re.compile(rb"(?i);[ \t]*expires[ \t]*=[ \t]*([0-9]{1,10})")
_EVENT_ID = re.compile(rb"(?i);[ \t]*id[ \t]*=[ \t]*([^;, \t]+)")

_Key: TypeAlias = tuple[bytes, bytes, bytes, bytes]  # tags of subscriber and notifier, event package, id


class Subscriptions:
    """Those of one call; ``until`` is when the last of them ends, None while there has been none."""

    def __init__(self) -> None:
        self._until: dict[_Key, float] = {}
        self._over: set[_Key] = set()

    @property
    def until(self) -> float | None:
        return max(self._until.values(), default=None)

    def asked(self, request: Message, now: float) -> None:
        """A SUBSCRIBE or REFER passes; until its answer nobody knows who will notify."""
        key = request.from_tag, request.to_tag, *_event(request)
        self._over.discard(key)
        self._set(key, now + _grace(request) + _asked_s(request, DEFAULT_S), now)

    def accepted(self, request: Message, answer: Message, now: float) -> None:
        """The 2xx to it passes: it may shorten the time, or say that there is no subscription (RFC 4488 section 4)."""
        asked = request.from_tag, request.to_tag, *_event(request)
        key = request.from_tag, answer.to_tag, *_event(request)
        self._until.pop(asked, None)
        if key in self._over:
            return
        refer_sub = answer.header("refer-sub")
        none = refer_sub is not None and refer_sub.value.lower().startswith(b"false")
        lasts_s = 0.0 if none else _grace(request) + _asked_s(answer, _asked_s(request, DEFAULT_S))
        self._set(key, now + lasts_s, now)

    def refused(self, request: Message, now: float) -> None:
        """A failure to it passes: what was asked for is not there, nor what was to be refreshed."""
        key = request.from_tag, request.to_tag, *_event(request)
        if key in self._until:
            self._until[key] = now

    def notified(self, request: Message, now: float) -> None:
        """A NOTIFY passes: it says how long its subscription lasts yet (RFC 6665 section 4.1.3)."""
        key = self._notified_key(request)
        self._until.pop((key[0], b"", *key[2:]), None)
        state = request.header("subscription-state")
        value = state.value if state is not None else b""
        if value.lower().startswith(b"terminated"):
            self._set(key, now, now)
            if len(self._over) < MOST:
                self._over.add(key)
            return
        lasts = _STATE_EXPIRES.search(value)
        if lasts is not None:
            self._set(key, now + _grace(request) + min(int(lasts[1]), LONGEST_S), now)
        elif key not in self._until:
            self._set(key, now + _grace(request) + DEFAULT_S, now)

    def _notified_key(self, request: Message) -> _Key:
        """The subscription that a NOTIFY is about; the first REFER of a dialog need not be named (RFC 3515 2.4.6)."""
        subscriber, notifier = request.to_tag, request.from_tag
        package, event_id = _event(request)
        if package == b"refer" and not event_id:
            for known in self._until:
                if known[0] == subscriber and known[1] in (notifier, b"") and known[2] == package:
                    return subscriber, notifier, package, known[3]
        return subscriber, notifier, package, event_id

    def _set(self, key: _Key, until: float, now: float) -> None:
        if len(self._until) >= MOST:  # those of a long call that are over make room
            self._until = {each: at for each, at in self._until.items() if at > now}
        if key in self._until or len(self._until) < MOST:
            self._until[key] = until


def _event(request: Message) -> tuple[bytes, bytes]:
    """Package and id of the subscription that ``request`` is about; that of a REFER is its CSeq number."""
    if request.method == "REFER":
        return b"refer", b"%d" % request.cseq[0]
    header = request.header("event")
    value = header.value if header is not None else b""
    found = _EVENT_ID.search(value)
    return value.split(b";")[0].strip().lower(), found[1] if found else b""


def _asked_s(message: Message, default: float) -> float:
    header = message.header("expires")
    seconds = number(header.value) if header is not None else None
    return default if seconds is None else min(seconds, LONGEST_S)


def _grace(request: Message) -> float:
    return REFER_GRACE_S if _event(request)[0] == b"refer" else 0.0
