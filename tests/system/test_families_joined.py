"""IPv4 and IPv6 joined: an inside of one family and an outside of the other, on real sockets with real audio."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.joined_site import INSIDE, OUTSIDE, site
from support.sip_ends import call_through

V6 = "::1"
FAMILIES = {
    "6 inside, 4 outside": {"lan_address": V6, "phone_host": V6},
    "4 inside, 6 outside": {"public_address": V6, "peer_host": V6},
    "6 inside, 6 outside": {"lan_address": V6, "phone_host": V6, "public_address": V6, "peer_host": V6},
    "4 inside, both outside, 6 trunk": {"public_address": f"{INSIDE} {V6}", "peer_host": V6},
    "both inside, 6 phone, 4 trunk": {"lan_address": f"{INSIDE} {V6}", "phone_host": V6, "peer_host": OUTSIDE},
    "both everywhere, 4 phone, 6 trunk": {
        "lan_address": f"{V6} {INSIDE}",
        "public_address": f"{INSIDE} {V6}",
        "phone_host": INSIDE,
        "peer_host": V6,
    },
}


@pytest.mark.parametrize("transports", [("udp", "udp"), ("tls", "udp"), ("udp", "tcp"), ("tcp", "tls")])
@pytest.mark.parametrize("hosts", FAMILIES.values(), ids=FAMILIES)
async def test_each_side_sees_its_own_family(
    tmp_path: Path, hosts: dict[str, str], transports: tuple[str, str]
) -> None:
    """S3-12, C7: calls in both directions with audio; literals are in brackets, and no zone is ever named."""
    async with site(tmp_path, *transports, **hosts) as at:  # type: ignore[arg-type]
        seen, ok = await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
        assert (at.peer.host == V6) is (seen.top_via.host == V6)
        assert (b"[::1]" in ok.values("contact")[0].text + ok.values("record-route")[0].text) or at.phone.host != V6
        host = f"[{V6}]" if at.peer.host == V6 else INSIDE
        seen, _ = await call_through(at.peer, at.phone, f"sip:100@{host}:{at.server_at.port}", at.server_at)
        assert (at.phone.host == V6) is (seen.top_via.host == V6)
