"""Targets of the small phone of the demo and the tests."""

from __future__ import annotations

from fuzz.seeds import (
    header_values,
    rtp_packets,
    sdp_bodies,
    sip_messages,
    uris,
)
from fuzz.target import add, with_message

from tunnel.address import Address
from tunnel.link.identity import (
    new_key,
)
from tunnel.sip.message import Message
from tunnel.sip.name_addr import NameAddr
from tunnel.softphone import dialogue, digest, messages, offer, passage, registrar
from tunnel.softphone.account import Account
from tunnel.softphone.leg import Leg
from tunnel.softphone.requester import Requester
from tunnel.softphone.responder import Responder
from tunnel.softphone.user_agent import UserAgent
from tunnel.softphone.voice import Ear

PEER = Address("203.0.113.66", 5060)
LOCAL = Address("203.0.113.10", 5060)
KEY = new_key()

# --- the softphone ---

PHONE = "tunnel.softphone."


def _leg(message: Message) -> None:
    Leg(True, b"c", b"sip:a@b", 0.0, 1).read_untrusted(message)


def _dialogue(message: Message) -> None:
    dialogue.Dialogue.of_caller_untrusted(message, b"<sip:a@b>").refresh_untrusted(message)


def _next_hop(data: bytes) -> None:
    routes = tuple(data.split(b"\n")[1:])
    messages.Draft("BYE", data.split(b"\n")[0], b"a", b"b", b"c", 1, routes=routes).next_hop_untrusted()


def _register(message: Message) -> None:
    registrar.Registrar("demo", {"a": "b"}, bytes).register_untrusted(message, 1.0)


def _expires(message: Message) -> None:
    for value in message.values("contact"):
        registrar.expires_untrusted(message, NameAddr.parse_untrusted(value.text))


def _phone(data: bytes) -> None:
    phone = UserAgent(Account("alice", "example.com", "secret"), LOCAL, "udp", bytes)
    phone.call(b"sip:bob@203.0.113.9", Address("203.0.113.1", 4000), 0.0)
    phone.receive_untrusted(data, PEER, 1.0)
    for leg in [event.leg for event in phone.events() if hasattr(event, "leg")]:
        phone.hang_up(leg, 2.0)
    phone.tick(3.0)
    phone.outgoing()


def _requester(message: Message) -> None:
    requester = Requester("udp", LOCAL, digest.Credentials("a", "b"), bytes)
    requester.receive_untrusted(message, 1.0)


add(PHONE + "leg:Leg.read_untrusted", with_message(_leg), sip_messages)
add(PHONE + "dialogue:Dialogue.of_caller_untrusted", with_message(_dialogue), sip_messages)
add(PHONE + "dialogue:Dialogue.refresh_untrusted", with_message(_dialogue), sip_messages)
add(
    PHONE + "dialogue:Dialogue.of_callee_untrusted",
    with_message(lambda message: dialogue.Dialogue.of_callee_untrusted(message, b"t", b"<sip:a@b>")),
    sip_messages,
)
add(PHONE + "dialogue:only_contact_untrusted", with_message(dialogue.only_contact_untrusted), sip_messages)
add(
    PHONE + "digest:parse_digest_untrusted",
    digest.parse_digest_untrusted,
    lambda: [b'Digest realm="a", nonce=b, qop="auth,auth-int"', b"digest a=b"],
)
add(PHONE + "messages:Draft.next_hop_untrusted", _next_hop, lambda: [b"sip:a@b:5060", b"sip:a@b\n<sip:1.2.3.4;lr>"])
add(PHONE + "messages:contact_uris_untrusted", with_message(messages.contact_uris_untrusted), sip_messages)
add(PHONE + "messages:address_of_uri_untrusted", messages.address_of_uri_untrusted, uris)
add(PHONE + "offer:read_sdp_untrusted", offer.read_sdp_untrusted, sdp_bodies)
add(
    PHONE + "passage:read_passage_untrusted",
    lambda data: passage.read_passage_untrusted(data, sent=True, at=1.0).title,
    sip_messages,
)
add(PHONE + "registrar:Registrar.register_untrusted", with_message(_register), sip_messages)
add(PHONE + "registrar:expires_untrusted", with_message(_expires), sip_messages)
add(PHONE + "registrar:user_untrusted", registrar.user_untrusted, header_values)
add(PHONE + "requester:Requester.receive_untrusted", with_message(_requester), sip_messages)
add(
    PHONE + "responder:Responder.receive_untrusted",
    with_message(lambda message: Responder("udp").receive_untrusted(message, PEER, 1.0)),
    sip_messages,
)
add(PHONE + "user_agent:UserAgent.receive_untrusted", _phone, sip_messages)
add(PHONE + "voice:Ear.hear_untrusted", lambda data: Ear().hear_untrusted(data, 1.0), rtp_packets)
