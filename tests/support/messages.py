"""SIP messages for tests: one plain INVITE, files of tests/data/sip, and strategies that spell messages oddly."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

__all__ = ["INVITE", "OFFER", "REGISTER", "accepted", "compose", "mutations", "odd_messages", "refused", "torture"]

_DATA = Path(__file__).parent.parent / "data" / "sip"


def compose(*lines: str | bytes, body: bytes = b"") -> bytes:
    """A message of those lines, each ended with CRLF, with ``body``; Content-Length is the caller's affair."""
    encoded = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"\r\n".join([*encoded, b"", body])


OFFER = (
    b"v=0\r\no=alice 2890844526 2890844526 IN IP4 10.1.0.7\r\ns=-\r\nc=IN IP4 10.1.0.7\r\nt=0 0\r\n"
    b"m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n"
)

INVITE = compose(
    "INVITE sip:bob@example.com SIP/2.0",
    "Via: SIP/2.0/UDP 10.1.0.7:5062;rport;branch=z9hG4bKnashds8",
    "Max-Forwards: 70",
    "To: Bob <sip:bob@example.com>",
    'From: "Alice" <sip:alice@example.com>;tag=1928301774',
    "Call-ID: a84b4c76e66710@10.1.0.7",
    "CSeq: 314159 INVITE",
    "Contact: <sip:alice@10.1.0.7:5062;transport=udp;ob>",
    "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE",
    "Content-Type: application/sdp",
    f"Content-Length: {len(OFFER)}",
    body=OFFER,
)

REGISTER = compose(
    "REGISTER sip:example.com SIP/2.0",
    "v: SIP/2.0/TCP 10.1.0.7;branch=z9hG4bKreg1;alias",
    "f: <sip:alice@example.com>;tag=a1",
    "t: <sip:alice@example.com>",
    "i: reg-1@10.1.0.7",
    "CSeq: 1 REGISTER",
    "k: path , outbound,gruu",
    'm: "A, B" <sip:alice@10.1.0.7;ob>;reg-id=1;+sip.instance="<urn:uuid:0-1>";expires=9 , <sip:alice@10.1.0.8>;q=0.5',
    "l: 0",
)


def torture(kind: str) -> dict[str, bytes]:
    """The messages of RFC 4475 and RFC 5118 that a proxy must be able to read (``accepted``), or must not."""
    return {path.stem: path.read_bytes() for path in sorted((_DATA / kind).glob("*.sip"))}


accepted = torture("accepted")
refused = torture("refused")


@st.composite
def odd_messages(draw: st.DrawFn) -> bytes:
    """Valid requests with compact forms, mixed case, folds, blanks, commas, quotes and odd bytes."""

    def spelled(long: str, compact: str) -> str:
        name = draw(st.sampled_from([long, long.lower(), long.upper(), compact, compact.upper()]))
        return name + draw(st.sampled_from([":", ": ", " : ", "\t:\r\n ", ":\r\n\t "]))

    def via(number: int) -> str:
        slash = draw(st.sampled_from(["/", " / ", " /\r\n "]))
        host = draw(st.sampled_from(["10.1.0.7", "pbx.example", "[2001:db8::7]", "10.1.0.7 : 5066"]))
        rport = draw(st.sampled_from(["", ";rport", " ; rport", ";rport=1;received=10.1.0.9"]))
        return (
            f"SIP{slash}2.0{slash}{draw(st.sampled_from(['UDP', 'TCP', 'tls']))} {host}{rport};branch=z9hG4bK{number}"
        )

    comma = st.sampled_from([",", ", ", " ,\r\n "])
    vias = [via(number) for number in range(draw(st.integers(1, 5)))]
    cut = draw(st.integers(0, len(vias) - 1))
    contacts = st.sampled_from(
        ["<sip:a@10.1.0.7>", "sip:a@10.1.0.7;expires=5", '"a, \\"<b" <sip:a@h?x=%2C>;q=1', "<tel:+1;x=y,z>", "*"]
    )
    text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
    lines = [
        spelled("Via", "v") + vias[0],
        *(spelled("Via", "v") + value for value in vias[1:cut]),
        spelled("From", "f") + draw(st.sampled_from(["<sip:a@b>;tag=1", '"x;tag=2,<" <sip:a@b> ; tag = 1'])),
        spelled("To", "t") + draw(st.sampled_from(["sip:b@c", "<sip:b@c;tag=no>", "B C <tel:+1>;tag=5"])),
        spelled("Call-ID", "i") + "call 1",
        "CSeq: 7 INVITE",
        *(spelled("Contact", "m") + draw(comma).join(draw(st.lists(contacts, min_size=1, max_size=4))) for _ in "12"),
        *(spelled("Via", "v") + draw(comma).join(vias[max(cut, 1) :]) for _ in vias[max(cut, 1) : max(cut, 1) + 1]),
        *("X-Odd: " + value for value in draw(st.lists(text, max_size=3))),
    ]
    body = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        lines.append(spelled("Content-Length", "l") + f"{len(body)}")
    return compose("INVITE sip:b@c SIP/2.0", *lines, body=body)


@st.composite
def mutations(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the messages with a few bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        width = draw(st.integers(0, 12))
        pieces = [b"", b"\r\n", b"\r\n ", b'"', b"<", b">", b";", b",", b":", b"\\", b"\x00", b"@", b"[", b"=", b"tag="]
        new = draw(st.sampled_from([*pieces, bytes(data[at : at + width]) * 2]) | st.binary(max_size=6))
        data[at : at + width] = new
    return bytes(data)
