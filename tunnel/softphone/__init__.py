"""A small scripted SIP phone; the demo, ``wallpass check`` and the tests use it.

| word | meaning |
| --- | --- |
| **phone** | a SIP socket with an account; makes and takes calls |
| **call** | what a script holds in its hands: ring, answer, talk, hold, hang up |
| **leg** | the phone's side of a call: its dialog, its SDP, its state |
| **tune** | what a mouth speaks: five notes that spell a number, so that content is heard and not only packets |
| **mouth, ear** | one RTP stream out, and whatever comes in; ``compare`` lays one's log beside the other's |

How a message travels: ``wire -> engine -> user_agent -> responder -> callee -> leg`` for what peers ask, and
``call -> user_agent -> caller -> requester -> engine -> wire`` for what we ask. How audio travels:
``mouth -> audio ==network==> audio -> ear``.
"""

from tunnel.softphone.account import Account
from tunnel.softphone.call import Call, CallFailed
from tunnel.softphone.measure import OneWay, compare
from tunnel.softphone.passage import Passage
from tunnel.softphone.phone import Phone, open_phone
from tunnel.softphone.registrar import Registrar
from tunnel.softphone.tune import Tune
from tunnel.softphone.voice import Ear, Heard, Mouth

__all__ = [
    "Account",
    "Call",
    "CallFailed",
    "Ear",
    "Heard",
    "Mouth",
    "OneWay",
    "Passage",
    "Phone",
    "Registrar",
    "Tune",
    "compare",
    "open_phone",
]
