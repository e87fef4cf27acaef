"""The provider's side of a phone: it registers others behind digest and knows where they are (RFC 3261 section 10.3).

In the demo the outside phone has one. It is then what a hosted PBX is to the phones inside: it challenges their
REGISTER and INVITE, answers calls, and calls the contact that was registered. A registrar and proxy of its own between the
server and the outside phone would show nothing more of the pair, only more of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunnel.errors import BadPacket
from tunnel.sip.grammar import number
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.softphone.digest import Challenge, Credentials, is_answer_right, parse_digest_untrusted
from tunnel.softphone.messages import build_reply

__all__ = ["Registrar"]

# Ours: an hour is what most registrars give; a nonce is good for as long as a hundred more have not been given out.
LONGEST_S = 3600
MOST_NONCES = 100


class Registrar:
    """Accounts by user name with their passwords; one contact each, the newest."""

    def __init__(self, realm: str, passwords: Mapping[str, str], entropy: Callable[[int], bytes]) -> None:
        self._realm = realm.encode()
        self._passwords = dict(passwords)
        self._entropy = entropy
        self._nonces: dict[bytes, Challenge] = {}
        self._contacts: dict[str, tuple[bytes, float]] = {}

    def contact(self, user: str, now: float) -> bytes | None:
        """Where ``user`` is reached now: the registered Contact URI, byte for byte."""
        contact, expires_at = self._contacts.get(user, (None, now))
        return contact if expires_at > now else None

    def challenge(self, request: Message) -> tuple[bytes, int] | None:
        """The response for a request that proves nothing, and its status; None when it proves who it is from."""
        status = 401 if request.method == "REGISTER" else 407
        answers = request.all("authorization" if status == 401 else "proxy-authorization")
        if any(self._is_right(header.value, request) for header in answers):
            return None
        challenge = Challenge(realm=self._realm, nonce=self._entropy(12).hex().encode(), algorithm=b"MD5")
        self._nonces[challenge.nonce] = challenge
        if len(self._nonces) > MOST_NONCES:
            del self._nonces[next(iter(self._nonces))]
        name = b"WWW-Authenticate: " if status == 401 else b"Proxy-Authenticate: "
        tag = self._entropy(4).hex().encode()
        return build_reply(request, status, to_tag=tag, lines=[name + bytes(challenge)]), status

    def register_untrusted(self, request: Message, now: float) -> tuple[bytes, int]:
        """The response to a REGISTER and its status. Raises BadPacket when it cannot be read."""
        challenged = self.challenge(request)
        if challenged is not None:
            return challenged
        user = user_untrusted(request.all("to")[0].value)
        for value in request.values("contact"):
            address = NameAddr.parse_untrusted(value.text)
            lifetime_s = expires_untrusted(request, address)
            if address.is_wildcard or lifetime_s == 0:
                self._contacts.pop(user, None)
            else:
                self._contacts[user] = (address.uri_text, now + lifetime_s)
        known, expires_at = self._contacts.get(user, (b"", now))
        contacts = [b"Contact: <%b>;expires=%d" % (known, round(expires_at - now))] if expires_at > now else []
        return build_reply(request, 200, to_tag=self._entropy(4).hex().encode(), lines=contacts), 200

    def _is_right(self, value: bytes, request: Message) -> bool:
        try:
            answer = parse_digest_untrusted(value)
            user = user_untrusted(request.all("from")[0].value)
        except BadPacket:
            return False
        challenge = self._nonces.get(answer.get(b"nonce", b""))
        password = self._passwords.get(user)
        if challenge is None or password is None:
            return False
        return is_answer_right(answer, challenge, Credentials(user, password), request.method)


def expires_untrusted(request: Message, contact: NameAddr) -> int:
    """Seconds that a binding is asked for (section 10.2.1.1), cut to what we give. Raises BadPacket."""
    header = request.header("expires")
    asked = contact.param("expires") or (header.value if header else b"%d" % LONGEST_S)
    seconds = number(asked)
    if seconds is None:
        raise BadPacket(f"{asked[:20]!r} is no number of seconds")
    return min(seconds, LONGEST_S)


def user_untrusted(value: bytes) -> str:
    """The user part of a From or To value. Raises BadPacket."""
    uri = NameAddr.parse_untrusted(value).uri
    if isinstance(uri, bytes) or uri.user is None:
        raise BadPacket("the address names no user")
    return uri.user.decode("utf-8", "replace")
