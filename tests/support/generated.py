"""Messages that real parties might send, in every spelling the grammar allows: composed by chance, valid by construction.

``rng`` is a ``random.Random``, or what hypothesis gives in its place: then a message that breaks something shrinks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from support.messages import compose

__all__ = ["Generated", "generated_answer", "generated_request"]

METHODS = (
    ["INVITE"] * 4 + ["REGISTER"] * 3 + ["OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "INFO", "!odd-Method.1"]
)
COMPACT = {
    "Via": "v",
    "From": "f",
    "To": "t",
    "Call-ID": "i",
    "Contact": "m",
    "Content-Type": "c",
    "Content-Length": "l",
    "Subject": "s",
    "Supported": "k",
    "Event": "o",
    "Refer-To": "r",
    "Referred-By": "b",
    "Session-Expires": "x",
    "Allow-Events": "u",
    "Accept-Contact": "a",
}
WORDS = ["alice", "+4930123456;x=y", "%41%2Fb", "a.b-c_d!~*'()", "a&=+$,;?/", "1", "user:secret"]
DISPLAYS = ["", "Alice ", '"A, \\"B\\" <c@d>" ', '"\u00fc\u4eba" ', "two words ", '"\\\\"', '"" ']
URI_PARAMS = [
    ";ob",
    ";transport=UDP",
    ";user=phone",
    ";X-a=b",
    ";line=abc%20",
    ";a",
    ";gr=urn:uuid:1",
    ";method=INVITE",
    ";isub=1;lr",
]
HEADER_PARAMS = [
    ";q=0.5",
    " ; expires = 60",
    ';+sip.instance="<urn:uuid:0-1>"',
    ";audio",
    ';x="a;b,<c>"',
    ";isfocus",
    "\r\n ;y=z",
]
OTHERS = [
    ("Subject", ["", "a, b; c", "odd \u00ff <"]),
    ("Allow", ["INVITE,ACK , BYE", "INVITE"]),
    ("User-Agent", ["Phone/1.0 (x; y)"]),
    ("Accept", ["application/sdp", "text/plain;q=0.1, */*"]),
    ("Session-Expires", ["1800;refresher=uac"]),
    ("Date", ["Sat, 13 Nov 2010 23:29:00 GMT"]),
    ("X-Odd", [";;,,;;,;", "\x01\x7f\u00e9", '"', "<", "a\r\n b\r\n\tc", "%%%"]),
    ("Reason", ['Q.850;cause=16;text="x"']),
    ("Timestamp", ["54"]),
    ("Alert-Info", ["<http://a.example/x,y>;z, <http://b.example>"]),
    ("User-to-User", ["56a390f3d2b7310023;encoding=hex"]),
    ("Organization", [""]),
    ("History-Info", ["<sip:a@b.example?Reason=SIP%3Bcause%3D302>;index=1,\r\n <sip:c@d.example>;index=1.1"]),
    ("Accept-Contact", ["*;audio"]),
    ("Diversion", ['"x" <tel:+1>;reason=unknown;privacy=off']),
    ("P-Early-Media", ["supported"]),
    ("Geolocation", ["<cid:a@b>;routing-allowed=yes"]),
    ("Allow-Events", ["refer,dialog"]),
    ("Priority", ["urgent"]),
    ("In-Reply-To", ["a@b,c@d"]),
    ("Min-SE", ["90"]),
    ("Authorization", ["Odd x=y"]),
]
MEDIA = [
    "m=audio 4000 RTP/AVP 0 8 101",
    "m=audio 4000/1 RTP/SAVPF 0",
    "m=audio 0 RTP/AVP 0",
    "m=video 4002 RTP/AVP 31 32",
    "m=image 4004 udptl t38",
    "m=application 4006 UDP/BFCP *",
    "m=message 4008 TCP/MSRP *",
]
ATTRIBUTES = [
    "a=rtpmap:0 PCMU/8000",
    "a=sendrecv",
    "a=sendonly",
    "a=inactive",
    "a=fmtp:101 0-16",
    "a=rtcp:4001",
    "a=rtcp:4010 IN IP4 {ip}",
    "a=ptime:20",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20",
    "a=fingerprint:sha-256 AA:BB",
    "a=setup:actpass",
    "a=X-odd: \u00ff",
    "b=AS:64",
    "i=title",
    "a=candidate:1 1 UDP 1 {ip} 4000 typ host",
    "a=ice-ufrag:8hhY",
    "k=clear:x",
    "a=ssrc:1 cname:a@b",
    "a=source-filter: incl IN IP4 * {ip}",
    "a=acap:1 candidate:1 1 UDP 1 {ip} 1 typ host",
]


@dataclass(frozen=True, slots=True)
class Generated:
    """``data`` as it is sent; ``method`` of its transaction."""

    data: bytes
    method: str


def generated_request(rng: random.Random, number: int, host: str, uri: str) -> Generated:
    """A request for ``uri`` from a user agent at ``host``; ``number`` keeps it apart from others."""
    method = rng.choice(METHODS)
    vias = [f"SIP/2.0/UDP {host}:5060;branch=z9hG4bKg{number}{rng.choice(['', ';rport', ';rport;x=y'])}"]
    vias += [_via(rng, number, below) for below in range(rng.choice([0, 0, 1, 3]))]
    lines = [
        *_spread(rng, "Via", vias),
        _line(rng, "From", f"{_name_addr(rng, 'from.example')};tag=f{number}"),
        _line(rng, "To", _name_addr(rng, "to.example")),
        _line(rng, "Call-ID", f"{number}{rng.choice(['@10.9.0.1', '-word%ZK!.*', ''])}"),
        _line(
            rng,
            "CSeq",
            f"{rng.choice(['1', '0001', '2147483647'])}{rng.choice([' ', '  ', chr(13) + chr(10) + ' '])}{method}",
        ),
        *_contacts(rng, method, host),
    ]
    if rng.random() < 0.7:
        lines.append(_line(rng, "Max-Forwards", rng.choice(["70", "0070", "5", "255"])))
    if rng.random() < 0.3:
        routes = [f"<sip:proxy{n}.example;lr{rng.choice(['', ';x=y'])}>" for n in range(rng.randint(1, 3))]
        lines += _spread(rng, "Record-Route", routes)
    if method == "REFER" or rng.random() < 0.1:
        lines.append(_line(rng, "Refer-To", f"<{_uri(rng, rng.choice([host, 'c.example']))}?Replaces=1%3Bto-tag%3D2>"))
    if rng.random() < 0.1:
        lines.append(_line(rng, "Referred-By", f'"R" <{_uri(rng, host)}>;ref=1'))
    if method in ("SUBSCRIBE", "PUBLISH"):
        lines += [_line(rng, "Event", "dialog;id=1"), _line(rng, "Expires", "60")]
    lines.append(_line(rng, "Supported", rng.choice(["path", "100rel , timer", "gruu,\r\n path", "replaces"])))
    return Generated(_finished(rng, f"{method} {uri} SIP/2.0", lines, host, method in ("INVITE", "OPTIONS")), method)


def generated_answer(rng: random.Random, request_lines: Sequence[bytes], status: int, host: str, method: str) -> bytes:
    """An answer that begins with the Via, Record-Route, From, To (with tag), Call-ID and CSeq lines given."""
    reason = rng.choice(["OK", "", "odd \u00ff <\u4eba>", "= 2**3"])
    lines: list[str | bytes] = list(request_lines)
    if method in ("INVITE", "REGISTER", "SUBSCRIBE") and status < 400:
        lines += _contacts(rng, "", host)
    return _finished(rng, f"SIP/2.0 {status} {reason}", lines, host, method == "INVITE" and 100 < status < 300)


def _finished(rng: random.Random, start: str, lines: Sequence[str | bytes], host: str, may_bear_media: bool) -> bytes:
    """The message with further headers anywhere below the first line, and with a body."""
    kind, body = _body(rng, host, may_bear_media)
    more = [_line(rng, name, rng.choice(values)) for name, values in rng.sample(OTHERS, rng.randint(0, 5))]
    if kind:
        more.append(_line(rng, "Content-Type", kind))
    if rng.random() < 0.7:
        more.append(_line(rng, "Content-Length", rng.choice(["{}", "{:05}"]).format(len(body))))
    whole = list(lines)
    for line in more:
        whole.insert(rng.randint(1, len(whole)), line)
    return compose(start, *whole, body=body)


def _line(rng: random.Random, name: str, value: str) -> str:
    spelled = rng.choice(
        [name, name, name, COMPACT.get(name, name), name.upper(), COMPACT.get(name, name).upper(), name.lower()]
    )
    return spelled + rng.choice([": ", ": ", ":", " : ", "\t:\r\n ", ":\t"]) + value + rng.choice(["", "", " ", "\t "])


def _spread(rng: random.Random, name: str, values: Sequence[str]) -> list[str]:
    """The values over one or more lines of that name."""
    lines, rest = [], list(values)
    while rest:
        count = rng.randint(1, len(rest))
        lines.append(_line(rng, name, rng.choice([",", ", ", " , ", ",\r\n\t"]).join(rest[:count])))
        del rest[:count]
    return lines


def _via(rng: random.Random, number: int, below: int) -> str:
    slash = rng.choice(["/", " / ", " /\r\n "])
    host = rng.choice(["198.51.100.7", "pbx.example", "[2001:db8::7]", "198.51.100.7 : 5066"])
    end = rng.choice(["", ";received=198.51.100.9", " ; rport = 1", ";received=2001:db8::9:255"])
    return (
        f"SIP{slash}2.0{slash}{rng.choice(['UDP', 'TCP', 'tls', 'SCTP'])} {host};branch=z9hG4bKb{number}x{below}{end}"
    )


def _uri(rng: random.Random, host: str) -> str:
    user = rng.choice(["", *(word + "@" for word in WORDS)])
    port = rng.choice(["", "", ":5060", ":5062"])
    return (
        rng.choice(["sip:", "sip:", "SIP:"])
        + user
        + host
        + port
        + "".join(rng.sample(URI_PARAMS, rng.choice([0, 0, 1, 3])))
    )


def _name_addr(rng: random.Random, host: str) -> str:
    return rng.choice([f"{rng.choice(DISPLAYS)}<{_uri(rng, host)}>", f"sip:a@{host}", "<tel:+49-30;phone-context=x>"])


def _contacts(rng: random.Random, method: str, host: str) -> list[str]:
    if method in ("OPTIONS", "MESSAGE", "PUBLISH", "INFO") and rng.random() < 0.7:
        return []
    several = method == "REGISTER" and rng.random() < 0.4
    values = []
    for _ in range(rng.randint(2, 3) if several else 1):
        address = f"{rng.choice(DISPLAYS)}<{_uri(rng, host)}{rng.choice(['', '', '?a=b%3Bc'])}>"
        params = "".join(rng.sample(HEADER_PARAMS, rng.choice([0, 1, 2])))
        plain = f"sip:a@{host}"
        values.append(rng.choice([address + params, address + params, plain + params.replace("<c>", "c")]))
    if method == "REGISTER" and rng.random() < 0.2:
        values.append("<tel:+1;x=y,z>")
    return _spread(rng, "Contact", values)


def _body(rng: random.Random, host: str, may_bear_media: bool) -> tuple[str, bytes]:
    """Content-Type and content."""
    if may_bear_media:
        sdp = _sdp(rng, host)
        choice = rng.random()
        if choice < 0.6:
            return rng.choice(["application/sdp", "Application/SDP;charset=utf-8", "application / sdp"]), sdp
        if choice < 0.8:
            return _multipart(rng, sdp)
    return rng.choice(
        [
            ("", b""),
            ("", b""),
            ("text/plain", b"c=IN IP4 x\r\nm=\xff\x00"),
            ("application/pidf+xml", b"<a>\r\n</a>"),
            ("message/sipfrag", b"SIP/2.0 100 Trying\r\n"),
            ("application/isup;version=itu", bytes(range(256))),
        ]
    )


def _sdp(rng: random.Random, host: str) -> bytes:
    ip = host.strip("[]")
    family = "IP6" if ":" in ip else "IP4"
    lines = ["v=0", f"o={rng.choice(['-', 'a b'])} 1 2 IN {family} {ip}", "s=a=b c", f"c=IN {family} {ip}", "t=0 0"]
    lines += rng.sample(ATTRIBUTES[-8:], rng.choice([0, 0, 1]))
    for medium in rng.sample(MEDIA, rng.randint(1, 3)):
        lines += [medium, *rng.sample(ATTRIBUTES, rng.randint(0, 4))]
        if rng.random() < 0.3:
            lines.insert(
                len(lines) - 1 if lines[-1] != medium else len(lines),
                f"c=IN {family} {rng.choice([ip, ip, '0.0.0.0'])}",
            )
    end = rng.choice(["\r\n", "\r\n", "\n"])
    text = end.join(line.replace("{ip}", ip if family == "IP4" else "10.1.0.50") for line in lines)
    return (text + rng.choice([end, end, "", end + end])).encode()


def _multipart(rng: random.Random, sdp: bytes) -> tuple[str, bytes]:
    boundary = rng.choice(["b", "a b", "--x", "=_1'"])
    length = rng.choice([b"", b"\r\nContent-Length: %d" % len(sdp), b"\r\nl : %d" % len(sdp)])
    parts = [
        rng.choice([b"Content-Type", b"c", b"CONTENT-TYPE"]) + b": application/sdp" + length + b"\r\n\r\n" + sdp,
        b"Content-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\n"
        + bytes(range(1, 256)),
        b"Content-Type: application/pidf+xml\r\nContent-ID: <a@b>\r\n\r\n<presence/>",
    ]
    chosen = [parts[0], *rng.sample(parts[1:], rng.randint(0, 2))]
    rng.shuffle(chosen)
    mark = boundary.encode()
    body = rng.choice([b"", b"preamble\r\n"]) + b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in chosen)
    kind = f'multipart/{rng.choice(["mixed", "Related", "alternative"])}{rng.choice([";", " ; "])}boundary="{boundary}"'
    return kind, body + b"--" + mark + b"--" + rng.choice([b"\r\n", b"", b"\r\nepilogue"])
