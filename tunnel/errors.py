"""Every error of the product, split by who is to blame.

The docstring of an error is the sentence an operator reads; numbers and addresses are attributes as well as text.
"""

from __future__ import annotations

__all__ = [
    "BadConfig",
    "BadPacket",
    "CarrierLost",
    "LocalMisuse",
    "PeerMisbehaved",
    "Refused",
    "WallpassError",
]


class WallpassError(Exception):
    """Something that wallpass itself reports went wrong."""


class LocalMisuse(WallpassError):
    """The program or its operator asked for something that cannot be done."""


class BadConfig(LocalMisuse):
    """A setting is wrong: says the file, the key, the value, and what would be right."""

    def __init__(self, file: str, key: str, value: object, mend: str) -> None:
        super().__init__(f"{file}: {key} = {value!r}: {mend}")
        self.file = file
        self.key = key
        self.value = value
        self.mend = mend


class PeerMisbehaved(WallpassError):
    """The other side broke a rule of the protocol; the network or the peer is to blame."""


class BadPacket(PeerMisbehaved):
    """Bytes from a network that are not what they should be.

    ``status`` is the SIP response that tells a sender so (400, 413, 493 ...), where one can be sent at all.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class CarrierLost(WallpassError):
    """The connection that carries the session is gone; the session itself may live on."""


class Refused(WallpassError):
    """The other end understood and said no; trying again without a change is of no use."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
