"""What is agreed anew while a call is up, and what is said in it: way B, from either side, sipp at both ends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from field.rig.audio import to_ulaw
from field.rig.capture import Packet
from field.rig.datagrams import rtp, write_pcap
from field.rig.digits import digits_in, digits_out
from field.rig.ear import play, rtp_streams
from field.rig.line import Line, Session, assert_both_heard, sessions
from field.rig.script import AUDIO_PORT, IMAGE_PORT, Dialog, Script, audio, sdp
from field.rig.verdicts import Watch
from field.rig.voices import assert_heard

pytestmark = [pytest.mark.field, pytest.mark.real("sipp")]

VIDEO = "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id=42e01f\na=sendrecv\n"
FAX = "m=image {port} udptl t38\na=T38FaxVersion:0\na=T38MaxBitRate:14400\na=T38FaxUdpEC:t38UDPRedundancy\n"


def up(line: Line, offer: str, answer: str) -> tuple[Script, Script, Dialog, Dialog]:
    """A call that has been answered."""
    caller, callee = line.caller, line.callee
    call, ring = caller.start(), callee.take()
    call.invite(offer)
    ring.asked("INVITE")
    ring.accept(answer)
    call.accepted()
    return caller, callee, call, ring


def renegotiate(call: Dialog, ring: Dialog, offer: str, answer: str) -> None:
    call.invite(offer)
    ring.asked("INVITE")
    ring.accept(answer)
    call.accepted()


def hang_up(call: Dialog, ring: Dialog, after_s: float) -> None:
    call.script.pause(after_s)
    call.bye()
    ring.ended()


def assert_ports_stay(line: Line, watch: Watch) -> None:
    """I3, DEC3: the port that we show to each side never changes within the dialog, nor the address but for a hold."""
    for packets in (line.at_the_caller(watch), line.at_the_callee(watch)):
        seen = sessions(packets)
        assert len({session.ports()[0] for session in seen}) == 1
        assert len({session.media_at[0] for session in seen} - {"0.0.0.0"}) == 1


@pytest.mark.real("hold-sendonly", "hold-inactive", "hold-zero")
@pytest.mark.parametrize(
    ("how", "answer", "address"),
    [
        ("sendonly", "recvonly", "[local_ip]"),
        ("inactive", "inactive", "[local_ip]"),
        ("sendrecv", "sendrecv", "0.0.0.0"),
    ],
    ids=["sendonly", "inactive", "0.0.0.0"],
)
@pytest.mark.parametrize("who_holds", ["caller", "callee"])
def test_hold_and_resume(line: Line, how: str, answer: str, address: str, who_holds: str) -> None:
    """T16: they talk, one holds, both are silent, and they talk again."""
    caller, callee, call, ring = up(line, sdp(audio()), sdp(audio()))
    holds, is_held = (call, ring) if who_holds == "caller" else (ring, call)
    caller.speak()
    callee.speak()
    holds.script.pause(0.4)
    renegotiate(
        holds, is_held, sdp(audio(direction=how), version=2, address=address), sdp(audio(direction=answer), version=2)
    )
    caller.play('rtp_stream="pause"')
    callee.play('rtp_stream="pause"')
    holds.script.pause(0.3)
    renegotiate(holds, is_held, sdp(audio(), version=3), sdp(audio(), version=3))
    caller.play('rtp_stream="resume"')
    callee.play('rtp_stream="resume"')
    hang_up(call, ring, 0.4)
    watch = line.calls(caller, callee)
    for stream, speaker in zip(line.ears(watch), (line.callee_voice, line.caller_voice), strict=True):
        assert_heard(stream, speaker, 0.6, longest_gap_ms=600)
    assert_ports_stay(line, watch)
    direction, where = f"a={how}", f"c=IN IP4 {address}"
    held = sessions(line.at_the_callee(watch) if who_holds == "caller" else line.at_the_caller(watch))
    assert any(direction in session.lines and (address != "0.0.0.0" or where in session.lines) for session in held)


@pytest.mark.real("renegotiate")
@pytest.mark.parametrize("who_asks", ["caller", "callee"])
def test_codec_changes_in_the_middle(line: Line, who_asks: str) -> None:
    """I3: PCMA at first, PCMU after a re-INVITE; each is heard, at the same ports."""
    caller, callee, call, ring = up(line, sdp(audio("8")), sdp(audio("8")))
    for script in (caller, callee):
        script.play('rtp_stream="VOICE,-1,8"')
    asks, is_asked = (call, ring) if who_asks == "caller" else (ring, call)
    asks.script.pause(0.2)
    renegotiate(asks, is_asked, sdp(audio("0 8"), version=2), sdp(audio("0"), version=2))
    caller.speak()
    callee.speak()
    hang_up(call, ring, 0.6)
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.4)
    assert_ports_stay(line, watch)
    for packets in (line.at_the_caller(watch), line.at_the_callee(watch)):
        assert (
            len([packet for packet in packets if packet.payload[:1] == b"\x80" and packet.payload[1] & 0x7F == 8]) > 3
        )


@pytest.mark.real("dtmf-4733")
def test_digits_as_events(line: Line) -> None:
    """RFC 4733 events of sipp's own making arrive with the payload type that was agreed, each with its end."""
    caller, callee, call, ring = up(line, sdp(audio("0 101")), sdp(audio("0 101")))
    caller.play('play_dtmf="58"')
    hang_up(call, ring, 1.5)
    watch = line.calls(caller, callee)
    events = [p.payload for p in line.at_the_callee(watch) if p.payload[:1] == b"\x80" and len(p.payload) == 16]
    sent = [p.payload for p in line.from_the_caller(watch) if p.payload[:1] == b"\x80" and len(p.payload) == 16]
    assert events == sent, "L2: each as it was sent, in its order"
    ended = [event[12] for event in events if event[13] & 0x80]
    assert list(dict.fromkeys(ended)) == [5, 8]


@pytest.mark.real("dtmf-info")
def test_digits_in_info(line: Line) -> None:
    """F4: INFO within the dialog, its body untouched."""
    caller, callee, call, ring = up(line, sdp(audio()), sdp(audio()))
    for asks, is_asked, digit in ((call, ring, "5"), (ring, call, "#")):
        asks.request("INFO", f"Signal={digit}\nDuration=160\n", kind="application/dtmf-relay")
        is_asked.asked("INFO", has=f"Signal={digit}.*Duration=160")
        is_asked.answer(200, "INFO")
        asks.answered(200, "INFO")
    hang_up(call, ring, 0.0)
    line.calls(caller, callee)


@pytest.mark.real("dtmf-inband")
def test_digits_in_the_audio(line: Line, folder: Path) -> None:
    """The two tones of each digit, in G.711."""
    (folder / "digits.ulaw").write_bytes(to_ulaw(digits_out("159#")))
    caller, callee, call, ring = up(line, sdp(audio()), sdp(audio()))
    caller.play(f'rtp_stream="{folder / "digits.ulaw"},1,0"')
    hang_up(call, ring, 1.0)
    watch = line.calls(caller, callee)
    (stream,) = rtp_streams(line.at_the_callee(watch))
    assert digits_in(play(stream)) == "159#"


@pytest.mark.real("t38")
@pytest.mark.parametrize("who_faxes", ["caller", "callee"])
def test_fax_takes_over_the_call(line: Line, folder: Path, who_faxes: str) -> None:
    """T15: audio becomes image/udptl; every datagram arrives, the first included, and proto and attributes stay; after the
    last page they talk again."""
    datagrams = [b"\x00" + bytes([number]) + b"\x06udptl" + bytes(range(number, number + 20)) for number in range(20)]
    write_pcap(folder / "fax.pcap", datagrams)
    caller, callee, call, ring = up(line, sdp(audio()), sdp(audio()))
    caller.speak()
    callee.speak()
    asks, is_asked = (call, ring) if who_faxes == "caller" else (ring, call)
    asks.script.pause(0.3)
    for script in (caller, callee):
        script.play('rtp_stream="pause"')
    fax = sdp(FAX.format(port=IMAGE_PORT), version=2)
    renegotiate(asks, is_asked, fax, fax)
    for script in (caller, callee):
        script.play(f'play_pcap_image="{folder / "fax.pcap"}"')
    asks.script.pause(0.6)
    renegotiate(asks, is_asked, sdp(audio(), version=3), sdp(audio(), version=3))
    caller.play('rtp_stream="resume"')
    callee.play('rtp_stream="resume"')
    hang_up(call, ring, 0.5)
    watch = line.calls(caller, callee)
    for stream, speaker in zip(line.ears(watch), (line.callee_voice, line.caller_voice), strict=True):
        assert_heard(stream, speaker, 0.5, longest_gap_ms=1000)
    for packets in (line.at_the_caller(watch), line.at_the_callee(watch)):
        faxed = [packet for packet in packets if b"\x06udptl" in packet.payload]
        assert [packet.payload for packet in faxed] == datagrams
        (session,) = [session for session in sessions(packets) if session.media_is("image")]
        assert session.lines[-4:-1] == tuple(FAX.splitlines()[1:])
        assert {packet.source_port for packet in faxed} == {int(session.ports()[0])}
    assert_ports_stay(line, watch)


@pytest.mark.real("video")
def test_video_beside_audio(line: Line, folder: Path) -> None:
    """Two m-lines, two ports; the audio is heard and every video packet arrives, as it was sent."""
    pictures = [rtp(96, number, b"picture" + bytes(900)) for number in range(25)]
    write_pcap(folder / "video.pcap", pictures)
    both = sdp(audio(), VIDEO.format(port="[media_port+20]"))
    caller, callee, call, ring = up(line, both, both)
    for script in (caller, callee):
        script.speak()
        script.play(f'play_pcap_video="{folder / "video.pcap"}"')
    hang_up(call, ring, 0.8)
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.6)
    for packets in (line.at_the_caller(watch), line.at_the_callee(watch)):
        (session,) = sessions(packets)
        assert len(set(session.ports())) == 2
        assert pictures_in(packets, session) == pictures


@pytest.mark.real("bundle")
def test_bundle_shares_one_port(line: Line, folder: Path) -> None:
    """RFC 9143: audio and video with one port between them keep one port, and both arrive there."""
    pictures = [rtp(96, number, b"picture" + bytes(300)) for number in range(25)]
    write_pcap(folder / "bundle.pcap", pictures)
    group = "a=group:BUNDLE 0 1\n"
    both = sdp(audio(more="a=mid:0\n"), VIDEO.format(port="[media_port]") + "a=mid:1\n", session=group)
    caller, callee, call, ring = up(line, both, both)
    for script in (caller, callee):
        script.speak()
        script.play(f'play_pcap_video="{folder / "bundle.pcap"}"')
    hang_up(call, ring, 0.8)
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.6)
    for packets in (line.at_the_caller(watch), line.at_the_callee(watch)):
        (session,) = sessions(packets)
        assert len(set(session.ports())) == 1
        assert {"a=group:BUNDLE 0 1", "a=mid:0", "a=mid:1"} <= set(session.lines)
        assert pictures_in(packets, session) == pictures


@pytest.mark.real("ice-stripped")
def test_candidates_stay_behind(line: Line) -> None:
    """S4-20: neither side sees what the other offers of ICE, and they hear each other."""
    ice = (
        "a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuv\n"
        f"a=candidate:1 1 UDP 2130706431 [local_ip] {AUDIO_PORT} typ host\n"
        "a=candidate:2 1 UDP 1694498815 192.0.2.9 45664 typ srflx raddr 10.9.9.9 rport 8998\n"
    )
    offer = sdp(audio(more=ice), session="a=ice-options:trickle\n")
    caller, callee, call, ring = up(line, offer, offer)
    caller.speak()
    callee.speak()
    hang_up(call, ring, 0.6)
    watch = line.calls(caller, callee)
    assert_both_heard(watch, 0.4)
    for packets in (line.at_the_caller(watch), line.at_the_callee(watch)):
        (session,) = sessions(packets)
        assert not [text for text in session.lines if text.startswith(("a=ice", "a=candidate", "a=remote"))]


def pictures_in(packets: Iterable[Packet], session: Session) -> list[bytes]:
    """The video packets that came from the last m-line's port of that SDP."""
    port = int(session.ports()[-1])
    return [p.payload for p in packets if p.source_port == port and p.payload[12:19] == b"picture"]
