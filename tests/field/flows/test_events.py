"""What passes beside calls: messages, events, publications, and whether we are well. Way B, sipp at both ends."""

from __future__ import annotations

import pytest
from field.rig.line import AGENT, Line
from field.rig.party import Party, finished
from field.rig.program import eventually
from field.rig.script import Script, audio, sdp
from field.rig.wallpass import Pair

pytestmark = [pytest.mark.field, pytest.mark.real("sipp")]

PIDF = (
    '<?xml version="1.0"?>\n<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:{who}@acme.example">\n'
    '<tuple id="t1"><status><basic>open</basic></status></tuple>\n</presence>\n'
)


@pytest.mark.real("message")
def test_message(line: Line) -> None:
    """F4: text both ways is not touched; a refusal comes back."""
    caller, callee = line.caller, line.callee
    for name, text, status in (("one", "How are you? 1.2.3.4", 200), ("two", "c=IN IP4 192.0.2.1", 486)):
        sends, receives = caller.start(name), callee.take(name)
        sends.open("MESSAGE", text, kind="text/plain")
        receives.asked("MESSAGE", has=f"text/plain.*{text.replace('?', '[?]')}")
        receives.answer(status, "MESSAGE")
        sends.answered(status, "MESSAGE")
    line.calls(caller, callee)


@pytest.mark.real("subscribe-notify")
def test_subscription(line: Line) -> None:
    """F4: SUBSCRIBE, NOTIFY with a document, refresh, end: one dialog, routed both ways."""
    caller, callee = line.caller, line.callee
    watcher, watched = caller.start("event"), callee.take("event")
    headers = "Event: presence\nAccept: application/pidf+xml\nExpires: {}\n"

    def notified(state: str, body: str = "") -> None:
        watched.request("NOTIFY", body, f"Event: presence\nSubscription-State: {state}\n", "application/pidf+xml")
        watcher.asked("NOTIFY", has=f"Subscription-State: {state}.*{'<tuple.*</presence>' if body else ''}")
        watcher.answer(200, "NOTIFY")
        watched.answered(200, "NOTIFY")

    watcher.open("SUBSCRIBE", headers=headers.format(600))
    watched.asked("SUBSCRIBE", has="Expires: 600", forms=True)
    watched.answer(200, "SUBSCRIBE", headers="Expires: 600\n")
    watcher.answered(200, "SUBSCRIBE", has="Expires: 600", forms=True)
    notified("active;expires=600", PIDF.format(who="alice"))
    watcher.request("SUBSCRIBE", headers=headers.format(300))
    watched.asked("SUBSCRIBE", has="Expires: 300")
    watched.answer(200, "SUBSCRIBE", headers="Expires: 300\n")
    watcher.answered(200, "SUBSCRIBE")
    notified("active;expires=300", PIDF.format(who="alice"))
    watcher.request("SUBSCRIBE", headers=headers.format(0))
    watched.asked("SUBSCRIBE", has="Expires: 0")
    watched.answer(200, "SUBSCRIBE", headers="Expires: 0\n")
    watcher.answered(200, "SUBSCRIBE")
    notified("terminated;reason=timeout")
    line.calls(caller, callee)


@pytest.mark.real("publish")
def test_publication(line: Line) -> None:
    """F4: PUBLISH and its refresh by the entity tag that came back."""
    caller, callee = line.caller, line.callee
    first, server = caller.start("first"), callee.take("first")
    first.open("PUBLISH", PIDF.format(who="alice"), "Event: presence\nExpires: 60\n", kind="application/pidf+xml")
    server.asked("PUBLISH", has='entity="sip:alice@acme.example".*</presence>')
    server.answer(200, "PUBLISH", headers="SIP-ETag: dx200xyz\nExpires: 60\n")
    first.answered(200, "PUBLISH", has="SIP-ETag: dx200xyz.*Expires: 60")
    again, server = caller.start("again"), callee.take("again")
    again.open("PUBLISH", headers="Event: presence\nSIP-If-Match: dx200xyz\nExpires: 60\n")
    server.asked("PUBLISH", has="SIP-If-Match: dx200xyz")
    server.answer(200, "PUBLISH", headers="SIP-ETag: dx200xyz\nExpires: 60\n")
    again.answered(200, "PUBLISH")
    line.calls(caller, callee)


@pytest.mark.real("info", "options")
def test_info_and_options_within_a_call(line: Line) -> None:
    """F3, F4: from either side, answered by the other party and not by us."""
    caller, callee = line.caller, line.callee
    call, ring = caller.start(), callee.take()
    call.invite(sdp(audio()))
    ring.asked("INVITE")
    ring.accept(sdp(audio()))
    call.accepted()
    for asks, is_asked in ((call, ring), (ring, call)):
        asks.request("INFO", "<media_control/>\n", "Info-Package: nil\n", "application/media_control+xml")
        is_asked.asked("INFO", has="Info-Package: nil.*<media_control/>")
        is_asked.answer(200, "INFO")
        asks.answered(200, "INFO")
        asks.request("OPTIONS", headers="Accept: application/sdp\n")
        is_asked.asked("OPTIONS")
        is_asked.answer(200, "OPTIONS", sdp(audio()), "Allow: INVITE, ACK, BYE, X-MINE\n")
        asks.answered(200, "OPTIONS", has="X-MINE")
    call.bye()
    ring.ended()
    line.calls(caller, callee)


@pytest.mark.real("options")
@pytest.mark.parametrize("line", ["out"], indirect=True)
def test_options_to_us_tells_the_truth_about_the_tunnel(trunk: Pair, line: Line) -> None:
    """F3: 200 while calls can pass, 503 while they cannot, and 200 again."""

    def ask(status: int) -> None:
        asks = Script("monitor", "acme.example", callee=f"sip:{AGENT}")
        asked = asks.start("options")
        asked.open("OPTIONS")
        asked.answered(status, "OPTIONS")
        with Party(trunk.network.pbx, line.folder, asks, AGENT) as party:
            finished(party)

    ask(200)
    port = trunk.tunnel_port()
    with trunk.network.firewall.closed():
        trunk.reset_tunnel()
        eventually(lambda: not trunk.tunnel_ports(), 5.0, "the tunnel is gone")
        ask(503)
    trunk.await_new_tunnel(port)
    eventually(lambda: trunk.status("agent") == 0, 5.0, "the tunnel is back")
    ask(200)
