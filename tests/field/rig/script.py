"""A sipp scenario written as a ladder: what one party sends and expects, step by step, over one or more dialogs.

A `Script` is one party for one call; `start(name)` gives it a `Dialog` that it opens itself, `take(name)` one that
somebody opens towards it. Each step adds to the XML that `Script.xml()` returns. sipp fails when anything else arrives
than the next step, so a party that ends well has seen exactly the messages of its script.

What belongs to a dialog or a transaction is kept in variables of sipp's that bear the dialog's name, because sipp
itself remembers one dialog and one message. To sipp everything is one call whose Call-IDs are equal behind "///".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from xml.sax.saxutils import quoteattr

__all__ = ["AUDIO_PORT", "IMAGE_PORT", "VIDEO_PORT", "Dialog", "Script", "audio", "sdp"]

AUDIO_PORT, VIDEO_PORT, IMAGE_PORT = "[rtpstream_audio_port]", "[rtpstream_video_port]", "[media_port]"
SDP = "application/sdp"
_ME = "[local_ip]:[local_port]"
_CODECS = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "18": "G729/8000", "101": "telephone-event/8000"}
_ALL, _URI, _BARE_URI = "[^ ].*", "sips?:[^&gt;]+", "sips?:[^?&gt;]+"
_REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    404: "Not Found",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    422: "Session Interval Too Small",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    503: "Service Unavailable",
    600: "Busy Everywhere",
    603: "Decline",
}


def sdp(*media: str, version: int = 1, address: str = "[local_ip]", session: str = "") -> str:
    """An SDP of these m-lines with all that belongs to each. `session`: attributes above the first."""
    return f"v=0\no=- 1 {version} IN IP4 [local_ip]\ns=-\nc=IN IP4 {address}\nt=0 0\n{session}" + "".join(media)


def audio(
    formats: str = "0", direction: str = "sendrecv", port: str = AUDIO_PORT, proto: str = "RTP/AVP", more: str = ""
) -> str:
    """One audio m-line. `more`: further attribute lines."""
    maps = "".join(f"a=rtpmap:{number} {_CODECS[number]}\n" for number in formats.split())
    return f"m=audio {port} {proto} {formats}\n{maps}a={direction}\n{more}"


class Script:
    """What one party, called `user` at `domain`, does in one call. It calls `callee`, a URI, unless told otherwise."""

    def __init__(self, user: str, domain: str = "itsp.example", callee: str = "") -> None:
        self.user = user
        self.domain = domain
        self.callee = callee
        self.contact = f"<sip:{user}@{_ME}>"
        self._steps: list[str] = []
        self._variables: set[str] = set()

    def xml(self) -> str:
        names = ",".join(sorted(self._variables))
        reference = f'<Reference variables="{names}"/>\n' if names else ""
        steps = "".join(self._steps)
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{self.user}">\n{steps}{reference}</scenario>\n'

    def start(self, name: str = "call", prefix: bool = False, routed: bool = True) -> Dialog:
        """`prefix`: its Call-ID differs from that of other dialogs of this call. `routed`: it goes through a proxy."""
        return Dialog(self, name, opens=True, prefix=prefix, routed=routed)

    def take(self, name: str = "call", routed: bool = True, behind_proxy: bool = False) -> Dialog:
        """`behind_proxy`: there is another Via below the first, except in CANCEL."""
        return Dialog(self, name, opens=False, routed=routed, behind_proxy=behind_proxy)

    def pause(self, seconds: float) -> None:
        self._steps.append(f'<pause milliseconds="{int(seconds * 1000)}"/>\n')

    def play(self, what: str) -> None:
        """An action of sipp's: `rtp_stream="file,-1,0"`, `play_dtmf="12"`, `play_pcap_image="file"`."""
        self._steps.append(f"<nop><action><exec {what}/></action></nop>\n")

    def turn_to(self, address: str, port: int = 5060) -> None:
        """Send to that address from now on; sipp would go on to whomever it heard first."""
        where = f'<setdest host="{address}" port="{port}" protocol="UDP"/>'
        self._steps.append(f"<nop><action>{where}</action></nop>\n")

    def speak(self) -> None:
        """Let the party's voice sound from now on, to where the latest SDP says."""
        self.play('rtp_stream="VOICE,-1,0"')

    def send(self, head: str, body: str, kind: str, attributes: str) -> None:
        """A message: start line and headers, and what else its body needs."""
        typed = f"Content-Type: {kind}\n" if body else ""
        message = f"{head}{typed}Content-Length: [len]\n\n{body}"
        self._steps.append(f"<send {attributes}>\n<![CDATA[\n{message}]]></send>\n")

    def expect(self, attributes: str, keep: dict[str, tuple[str, str]], has: str = "", within_s: float = 8.0) -> None:
        """Await a message. `keep`: variable to (header, regular expression); `has` must be found in the message.

        "Via 2" is the second header of that name.
        """
        actions = ""
        for variable, (header, pattern) in keep.items():
            name, _, place = header.partition(" ")
            which = f'header="{name}:" occurrence="{place or 1}"'
            actions += f'<ereg regexp="{pattern}" search_in="hdr" {which} assign_to="{variable}"/>\n'
        self._variables |= set(keep)
        if has:
            self._variables.add("has")
            actions += f'<ereg regexp={quoteattr(has)} search_in="msg" check_it="true" assign_to="has"/>\n'
        within = "" if "optional" in attributes else f' timeout="{int(within_s * 1000)}"'
        action = f"<action>\n{actions}</action>" if actions else ""
        self._steps.append(f"<recv {attributes}{within}>{action}</recv>\n")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request of ours: what its ACK or CANCEL repeats, and the transaction by which sipp knows its answers."""

    uri: str
    route: str
    to: str
    number: int
    txn: str


class Dialog:
    """One dialog of a script, or one transaction outside any. Names are unique within the script.

    `local_tag` may be changed before a request: a fork speaks under another tag.
    """

    def __init__(
        self,
        script: Script,
        name: str,
        opens: bool,
        prefix: bool = False,
        routed: bool = True,
        behind_proxy: bool = False,
    ) -> None:
        self.script = script
        self.name = name
        self.opens = opens
        self.local_tag = f"{script.user.lstrip('+')}-{name}"
        self._call_id = (f"{name}///[call_id]" if prefix else "[call_id]") if opens else f"[${name}_id]"
        self._number = 0
        self._route = f"[${name}_route]" if routed else ""
        self._behind_proxy = behind_proxy
        self._is_formed = False
        self._fresh: set[str] = set()
        self._sent: dict[str, _Sent] = {}

    def sibling(self, name: str) -> Dialog:
        """Another dialog that the same INVITE of ours forms: a fork."""
        other = Dialog(self.script, name, opens=True)
        other.local_tag, other._call_id, other._number = self.local_tag, self._call_id, self._number
        other._sent = dict(self._sent)
        return other

    @property
    def moved_to(self) -> str:
        """The first Contact of the 3xx that came."""
        return f"[${self.name}_moved]"

    @property
    def referred_to(self) -> str:
        """The URI in the Refer-To that came, without its headers."""
        return f"[${self.name}_refer]"

    # What it sends.

    def open(self, method: str, body: str = "", headers: str = "", uri: str = "", kind: str = SDP) -> None:
        """A request outside any dialog. `uri`: for whom; if "", for the script's callee."""
        uri = uri or self.script.callee
        self._send(method, uri, "", f"<{uri.partition('?')[0]}>", body, headers, kind)

    def request(self, method: str, body: str = "", headers: str = "", kind: str = SDP, repeats: bool = True) -> None:
        """A request within the dialog. sipp sends nothing else while it `repeats` one that has no answer yet."""
        to, route = f"[${self.name}_remote]", self._route
        self._send(method, self._target, route, to, body, headers, kind, repeats)

    def ack(self, body: str = "") -> None:
        """For a 2xx to the latest INVITE."""
        to, txn = f"[${self.name}_remote]", self._sent["INVITE"].txn
        sent = _Sent(self._target, self._route, to, self._sent["INVITE"].number, txn)
        self._emit("ACK", sent, f"{txn}ack{self.name}", f'ack_txn="{txn}"', body)

    def ack_refusal(self) -> None:
        """For any other final answer to the latest INVITE."""
        sent = replace(self._sent["INVITE"], to=f"[${self.name}_refused]")
        self._emit("ACK", sent, sent.txn, f'ack_txn="{sent.txn}"')

    def cancel(self) -> None:
        sent = self._sent["INVITE"]
        self._sent["CANCEL"] = replace(sent, txn=f"{sent.txn}cancel")
        self._emit("CANCEL", sent, sent.txn, f'retrans="500" start_txn="{sent.txn}cancel"')

    def bye(self) -> None:
        """End the dialog and await the answer to that."""
        self.request("BYE")
        self.answered(200, "BYE")

    def answer(
        self, status: int, method: str = "INVITE", body: str = "", headers: str = "", tag: str = "", kind: str = SDP
    ) -> None:
        """To the latest request of that method. `tag`: another local tag than the dialog's, as of a fork."""
        at = f"{self.name}_{method.lower()}"
        to = f"[${at}_to]" + (f";tag={tag or self.local_tag}" if method in self._fresh else "")
        text = f"SIP/2.0 {status} {_REASONS[status]}\nVia: [${at}_via]\n"
        text += f"Via: [${at}_via2]\n" if self._behind_proxy and method != "CANCEL" else ""
        text += f"Record-Route: {self._route}\n" if self._route and method in self._fresh and self._is_formed else ""
        text += f"From: [${at}_from]\nTo: {to}\nCall-ID: [${at}_id]\nCSeq: [${at}_cseq]\n"
        text += "" if "Contact:" in headers or status >= 300 else f"Contact: {self.script.contact}\n"
        self.script.send(text + headers, body, kind, 'retrans="500"' if method == "INVITE" and status >= 200 else "")

    # What it awaits.

    def asked(self, method: str, has: str = "", within_s: float = 8.0, forms: bool = False) -> None:
        """A request. `forms`: it opens the dialog; an INVITE does when there is none. A REFER's target is kept."""
        at = f"{self.name}_{method.lower()}"
        kept = {"via": "Via", "from": "From", "to": "To", "id": "Call-ID", "cseq": "CSeq"}
        kept |= {"via2": "Via 2"} if self._behind_proxy else {}
        keep = {f"{at}_{name}": (header, _ALL) for name, header in kept.items()} if method != "ACK" else {}
        is_within = self.opens or self._is_formed or method == "CANCEL"
        if (forms or method == "INVITE") and not is_within:
            keep |= self._remembered("From")
            keep |= {f"{self.name}_local": ("To", _ALL), f"{self.name}_id": ("Call-ID", _ALL)}
        if method == "REFER":
            keep[f"{self.name}_refer"] = ("Refer-To", _BARE_URI)
        if is_within:
            self._fresh.discard(method)
        else:
            self._fresh.add(method)
        self.script.expect(f'request="{method}"', keep, has, within_s)

    def answered(
        self,
        status: int,
        method: str = "INVITE",
        has: str = "",
        forms: bool = False,
        optional: bool = False,
        within_s: float = 8.0,
    ) -> None:
        """An answer to our latest request of that method. `forms`: it opens the dialog; a 2xx to an INVITE always does."""
        keep: dict[str, tuple[str, str]] = {}
        if forms or (method == "INVITE" and 200 <= status < 300):
            keep = self._remembered("To")
        elif method == "INVITE" and status >= 300:
            keep = {f"{self.name}_refused": ("To", _ALL)}
            keep |= {f"{self.name}_moved": ("Contact", _URI)} if status < 400 else {}
        attributes = f'response="{status}" response_txn="{self._sent[method].txn}"'
        self.script.expect(attributes + (' optional="true"' if optional else ""), keep, has, within_s)

    # Both.

    def invite(self, body: str = "", headers: str = "", uri: str = "", kind: str = SDP) -> None:
        """Call somebody, or, within the dialog, offer anew."""
        if self._is_formed:
            self.request("INVITE", body, headers, kind)
        else:
            self.open("INVITE", body, headers, uri, kind)
        self.answered(100, optional=True)

    def accept(self, body: str = "") -> None:
        """Answer the INVITE with 200 and await the acknowledgement."""
        self.answer(200, body=body)
        self.asked("ACK")

    def accepted(self, ack: str = "", has: str = "") -> None:
        """200 comes to the INVITE and is acknowledged, with the body `ack`."""
        self.answered(200, has=has)
        self.ack(ack)

    def ended(self) -> None:
        """The other one says good-bye."""
        self.asked("BYE")
        self.answer(200, "BYE")

    # How.

    @property
    def _target(self) -> str:
        return f"[${self.name}_target]"

    def _remembered(self, remote_header: str) -> dict[str, tuple[str, str]]:
        self._is_formed = True
        return {
            f"{self.name}_remote": (remote_header, _ALL),
            f"{self.name}_target": ("Contact", _URI),
            f"{self.name}_route": ("Record-Route", _ALL),
        }

    def _send(
        self, method: str, uri: str, route: str, to: str, body: str, headers: str, kind: str, repeats: bool = True
    ) -> None:
        self._number += 1
        txn = f"{self.name}{method.lower()}{self._number}"
        self._sent[method] = sent = _Sent(uri, route, to, self._number, txn)
        attributes = f'start_txn="{txn}"' + (' retrans="500"' if repeats else "")
        self._emit(method, sent, txn, attributes, body, headers, kind)

    def _emit(
        self, method: str, sent: _Sent, branch: str, attributes: str, body: str = "", headers: str = "", kind: str = SDP
    ) -> None:
        local = f"<sip:{self.script.user}@{self.script.domain}>" if self.opens else f"[${self.name}_local]"
        head = f"{method} {sent.uri} SIP/2.0\n"
        head += f"Via: SIP/2.0/[transport] {_ME};branch=z9hG4bK-{branch}-[pid];rport\n"
        head += f"Route: {sent.route}\n" if sent.route else ""
        head += f"From: {local};tag={self.local_tag}\nTo: {sent.to}\nCall-ID: {self._call_id}\n"
        head += f"CSeq: {sent.number} {method}\nContact: {self.script.contact}\nMax-Forwards: 70\n"
        self.script.send(head + headers, body, kind, attributes)
