"""[io] ``wallpass demo``: both ends and two phones on this host, a call in each direction, and what was heard.

The inside phone has the agent as its outbound proxy and registers, through the pair, with the outside phone, which plays
the hosted provider: it asks for the password, answers calls, and calls the contact that it was given. In each call the
callee hangs up: the caller's ACK and the callee's BYE then have both followed the route through the pair, so that every way a
request can take within a dialog has been taken from each side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = ["demo_command"]
