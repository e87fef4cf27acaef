"""T18 on real sockets: an INVITE of 2.5 KB to peers with and without SIP over TCP."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs
from support.both_ends import counted
from support.joined_site import OUTSIDE, Site, site
from support.sip_ends import Heard, SipEnd, open_end

BIG = [f"User-to-User: {'5a' * 1200}"]


async def invited(at: Site, callee: SipEnd, lines: list[str]) -> Heard:
    """The INVITE that the callee got; it is refused at once."""
    await at.phone.ask("INVITE", at.peer.uri, at.agent_at, body=at.phone.sdp(), lines=lines)
    came = await callee.hears("INVITE")
    callee.answer(came, 486, "Busy Here")
    await callee.hears("ACK")
    await at.phone.hears(486)
    return came


async def test_a_peer_with_tcp_gets_it_whole_and_the_next_one_by_udp(tmp_path: Path) -> None:
    """T18, M2: by TCP to the port of UDP; a small one in between and after goes by UDP, each with its own Via."""
    async with site(tmp_path, "udp", "udp") as at, open_end("tcp", OUTSIDE, port=at.peer.address.port) as stream:
        for _ in range(2):
            big = (await invited(at, stream, BIG)).message
            assert len(big.raw) > 2_400
            assert big.top_via.transport == "TCP"
            small = (await invited(at, at.peer, [])).message
            assert small.top_via.transport == "UDP"
        assert stream.connections == 1
        assert counted(at.server, "sip.sent_in_fragments") == 0


async def test_a_peer_without_tcp_gets_it_in_fragments_and_the_log_says_so_once(tmp_path: Path) -> None:
    """T18, M2: refused TCP costs nothing that a caller would notice."""
    with capture_logs() as lines:
        async with site(tmp_path, "udp", "udp") as at:
            for _ in range(3):
                big = (await invited(at, at.peer, BIG)).message
                assert len(big.raw) > 2_400
                assert big.top_via.transport == "UDP"
            assert counted(at.server, "sip.sent_in_fragments") == 1
    assert [line["peer"] for line in lines if line["event"] == "sip.sent_in_fragments"] == [str(at.peer.address)]
