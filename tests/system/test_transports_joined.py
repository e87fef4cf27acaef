"""UDP, TCP and TLS inside joined with UDP, TCP and TLS outside, each way, on real sockets with real audio."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.both_ends import counted
from support.joined_site import site
from support.sip_ends import call_through

ALL = ("udp", "tcp", "tls")


@pytest.mark.parametrize("outside", ALL)
@pytest.mark.parametrize("inside", ALL)
async def test_every_pair_of_transports(tmp_path: Path, inside: str, outside: str) -> None:
    """M4, M5, C2: a call in each direction; what each side sees names its own transport and no other."""
    async with site(tmp_path, inside, outside) as at:
        seen, ok = await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
        assert seen.top_via.transport == outside.upper()
        assert at.server_at == seen.top_via.sent_by
        other = b";transport=" + inside.encode()
        for value in (*seen.values("contact"), *seen.values("record-route")):
            assert inside == outside or other not in value.text
            assert (outside == "udp") is (b";transport=" not in value.text)
        assert at.agent_at.port in {uri_port(value.text) for value in ok.values("record-route")}
        seen, _ = await call_through(at.peer, at.phone, f"sip:100@{at.server_at}", at.server_at)
        assert seen.top_via.transport == inside.upper()
        assert at.agent_at == seen.top_via.sent_by


def uri_port(value: bytes) -> int:
    return int(value.partition(b":")[2].partition(b":")[2].partition(b";")[0].strip(b">"))


async def test_sips_is_sips_all_the_way(tmp_path: Path) -> None:
    """C2, M4: sips: stays what it is in Request-URI and Contact, and our Record-Route becomes one (RFC 3261 16.6)."""
    async with site(tmp_path, "tls", "tls", scheme="sips") as at:
        seen, ok = await call_through(at.phone, at.peer, at.peer.uri, at.agent_at)
        for message in (seen, ok):
            for name in ("contact", "record-route"):
                assert all(value.text.startswith(b"<sips:") for value in message.values(name)), name
        assert seen.request_uri.startswith(b"sips:")


async def test_a_trunk_that_nobody_vouches_for_is_not_called(tmp_path: Path) -> None:
    """M4: 503 with a Warning that says why, a counter, and one line in the log that says what to do."""
    async with site(tmp_path, "udp", "tls", trunk_ca=False) as at:
        for cseq in (1, 2):
            await at.phone.ask("INVITE", at.peer.uri, at.agent_at, body=at.phone.sdp(), cseq=cseq)
            refused = (await at.phone.hears(503)).message
            warning = refused.header("warning")
            assert warning is not None
            assert b"the certificate of the next hop does not verify" in warning.value
        assert counted(at.server, "sip.tls.not_verified") == 2
        assert await at.peer.hears_nothing(0.1)


async def test_a_certificate_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    """M4: whoever vouches for the trunk, it has to be the trunk."""
    async with site(tmp_path, "udp", "tls", peer_name="other.example") as at:
        await at.phone.ask("INVITE", at.peer.uri, at.agent_at, body=at.phone.sdp())
        await at.phone.hears(503)
        assert await at.peer.hears_nothing(0.1)
