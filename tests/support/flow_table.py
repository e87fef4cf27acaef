"""The call flows that are promised, and the decorator that makes a test one cell of each way and caller.

    @flow("hold-sendonly")
    def test_hold(stage: Stage) -> None: ...

runs in ways A, B and C with the caller inside and outside; ``basic=True`` adds the same cells with ``hide = "basic"``.
docs/FLOWS.md is made from these decorators (``python tests/flows/matrix.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

__all__ = ["CALLERS", "CLIENTS", "FLOWS", "NO_SENSE", "WAYS", "flow"]

_Test = TypeVar("_Test", bound=Callable[..., object])

WAYS = ("A", "B", "C")
CALLERS = ("inside", "outside")
CLIENTS = ("baresip", "kamailio", "linphone", "sipp")

FLOWS = {
    "call-basic": "A call, hang-up from either side",
    "hold-sendonly": "Hold and resume: sendonly",
    "hold-inactive": "Hold and resume: inactive",
    "hold-zero": "Hold and resume: 0.0.0.0",
    "early-media": "Early media: 183 with SDP before the answer",
    "prack": "Reliable provisional responses: PRACK",
    "update": "UPDATE, early and confirmed",
    "session-timer": "Session timers: refresh by re-INVITE and UPDATE, 422",
    "offerless-invite": "INVITE without an offer",
    "offerless-reinvite": "re-INVITE without an offer",
    "cancel": "CANCEL",
    "cancel-race": "CANCEL that crosses the 200",
    "failure": "Failure answers of every class",
    "redirect-302": "302 redirect",
    "fork-early": "Forking: several early dialogs, one answers",
    "fork-two-answers": "Forking: two phones answer",
    "late-2xx": "2xx that comes again, and late",
    "blind-transfer": "Blind transfer: REFER",
    "semi-attended-transfer": "Semi-attended transfer: REFER while it rings",
    "attended-transfer": "Attended transfer: REFER with Replaces",
    "refer-out-of-dialog": "REFER outside the dialog",
    "notify-before-202": "NOTIFY that overtakes the 202",
    "pickup": "Call pickup: dialog event, INVITE with Replaces",
    "message": "MESSAGE",
    "subscribe-notify": "SUBSCRIBE and NOTIFY",
    "publish": "PUBLISH",
    "info": "INFO",
    "options": "OPTIONS",
    "dtmf-4733": "DTMF by RFC 4733",
    "dtmf-info": "DTMF by INFO",
    "dtmf-inband": "DTMF in the audio",
    "t38": "T.38 switch-over and back",
    "video": "Video and several m-lines",
    "bundle": "BUNDLE",
    "srtp-sdes": "SRTP, keys by SDES",
    "srtp-dtls": "SRTP, keys by DTLS",
    "ice-stripped": "ICE offered, taken out both ways",
    "renegotiate": "Several codecs, re-negotiation, changed address",
    "hairpin": "Two inside phones through the outside registrar",
}

# Cells that cannot be, and why.
NO_SENSE = {
    ("hairpin", "A", "outside"): "both phones are inside",
    ("hairpin", "B", "outside"): "both phones are inside",
    ("hairpin", "C", "inside"): "both phones are remote workers",
}


def flow(
    name: str, *, ways: str = "ABC", callers: Sequence[str] = CALLERS, basic: bool = False
) -> Callable[[_Test], _Test]:
    """Run the test on a ``stage`` of each of ``ways`` with each of ``callers``, with ``basic`` at both levels of hiding."""
    assert name in FLOWS, f"{name} is no flow of support/flow_table.py"
    cells = [
        pytest.param((way, caller, hide_full), id=f"{way}-{caller}{'' if hide_full else '-basic'}")
        for hide_full in ([True, False] if basic else [True])
        for way in ways
        for caller in callers
    ]
    return pytest.mark.parametrize("stage", cells, indirect=True)
