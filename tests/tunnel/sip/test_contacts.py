"""Contacts of one side as they look on the other, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.address import Address
from tunnel.errors import BadPacket
from tunnel.sip.bindings import Binding, Bindings
from tunnel.sip.contacts import ContactMasks, is_unreachable
from tunnel.sip.mask import MAX_TOKEN, MaskKey, TenantHint
from tunnel.sip.uri import SipUri

SERVER = Address("203.0.113.10", 5060)
AGENT = Address("10.1.0.2", 5060)
OWNER = b"8 bytes."
NOW = 5.0


class Pair:
    """The masks of both ends of one agent."""

    def __init__(self, tenant: int = 7, agent: int = 3) -> None:
        hint = TenantHint(b"h" * 32)
        self.inside_bindings, self.outside_bindings = Bindings(), Bindings()
        self.inside = ContactMasks(outside=False, epoch_s=1_700_000_000.0, bindings=self.inside_bindings)
        self.outside = ContactMasks(outside=True, epoch_s=1_700_000_000.0, bindings=self.outside_bindings)
        self.inside.use(MaskKey(b"k" * 32, tenant), agent)
        self.outside.use(MaskKey(b"k" * 32, tenant, hint), agent)

    def shown_outside(self, uri: bytes, transport: str = "udp", now: float = NOW) -> bytes:
        return self.outside.mask(SipUri.parse_untrusted(uri), OWNER, SERVER, transport, now)

    def shown_inside(self, uri: bytes) -> bytes:
        return self.inside.mask(SipUri.parse_untrusted(uri), OWNER, AGENT, "udp", NOW)

    def opened_inside(self, shown: bytes, now: float = NOW) -> bytes | None:
        opened = self.inside.open_own(SipUri.parse_untrusted(shown), now)
        return None if opened is None else opened.uri

    def opened_outside(self, shown: bytes) -> bytes | None:
        opened = self.outside.open_own(SipUri.parse_untrusted(shown), NOW)
        return None if opened is None else opened.uri

    def remember(self, uri: bytes) -> None:
        """A message with that Contact came from inside."""
        self.inside_bindings.note(Binding(OWNER, uri, None, False, 3600.0))


@pytest.mark.parametrize(
    ("uri", "transport", "head"),
    [
        (b"sip:bob@10.1.0.50", "udp", b"sip:bob@203.0.113.10:5060;wp="),
        (b"sip:10.1.0.50:5080", "udp", b"sip:203.0.113.10:5060;wp="),
        (b"sip:bob@10.1.0.50;ob;rinstance=a%20b", "udp", b"sip:bob@203.0.113.10:5060;ob;rinstance=a%20b;wp="),
        (b"sip:bob@10.1.0.50;transport=tcp;ob", "udp", b"sip:bob@203.0.113.10:5060;ob;wp="),
        (b"sip:bob@10.1.0.50;transport=UDP", "tcp", b"sip:bob@203.0.113.10:5060;transport=tcp;wp="),
        (b"sips:bob@10.1.0.50", "tls", b"sips:bob@203.0.113.10:5060;wp="),
        (b"sip:bob@a.example;maddr=10.1.0.9", "udp", b"sip:bob@203.0.113.10:5060;wp="),
        (b"sip:bob@10.1.0.50;alias=10.1.0.50~5060~1;x", "udp", b"sip:bob@203.0.113.10:5060;x;wp="),
        (b"sip:bob@[fd00::5]:5070;received=[fd00::6]", "udp", b"sip:bob@203.0.113.10:5060;wp="),
        (b"sip:bob@10.1.0.50;received=fd00:1::6;a=b:c", "udp", b"sip:bob@203.0.113.10:5060;a=b:c;wp="),
        (b"sip:bob@10.1.0.50;bob@10.1.0.50:5062;\xc0=10.1.0.50", "udp", b"sip:bob@203.0.113.10:5060;wp="),
    ],
)
def test_a_contact_keeps_all_but_its_address(uri: bytes, transport: str, head: bytes) -> None:
    pair = Pair()
    shown = pair.shown_outside(uri, transport)
    assert shown.startswith(head)
    assert len(shown) - len(head) <= MAX_TOKEN
    assert pair.opened_inside(shown) == uri


@pytest.mark.parametrize(
    ("dialled", "reached"),
    [
        (b"+4930", b"sip:+4930@10.1.0.50;ob"),
        (b"s", b"sip:s@10.1.0.50;ob"),
        (b"%73", b"sip:s@10.1.0.50;ob"),
        (b"a%20b", b"sip:a%20b@10.1.0.50;ob"),
    ],
)
def test_a_dialled_number_stands_in_for_the_user(dialled: bytes, reached: bytes) -> None:
    pair = Pair()
    shown = SipUri.parse_untrusted(pair.shown_outside(b"sip:s@10.1.0.50;ob")).with_user(dialled)
    opened = pair.inside.open_own(SipUri.parse_untrusted(shown), NOW)
    assert opened is not None
    assert (opened.request_uri, opened.uri) == (reached, b"sip:s@10.1.0.50;ob")


def test_a_mask_opens_on_its_own_side_only() -> None:
    pair = Pair()
    outside, inside = pair.shown_outside(b"sip:bob@10.1.0.50"), pair.shown_inside(b"sip:carol@192.168.1.20")
    assert pair.opened_outside(outside) is None
    assert pair.opened_inside(inside) is None
    assert pair.opened_outside(inside) == b"sip:carol@192.168.1.20"
    for shown in (outside, inside):
        assert pair.inside.is_live(SipUri.parse_untrusted(shown), NOW)
        assert pair.outside.is_live(SipUri.parse_untrusted(shown), NOW)


def test_another_tenant_and_another_agent_cannot_open_it() -> None:
    shown = Pair().shown_outside(b"sip:bob@10.1.0.50")
    assert Pair(tenant=8).opened_inside(shown) is None
    assert Pair(agent=4).opened_inside(shown) is None
    assert not Pair(agent=4).outside.is_live(SipUri.parse_untrusted(shown), NOW)


def test_a_mask_stays_the_same_for_weeks_and_then_ends() -> None:
    pair = Pair()
    day = 86_400.0
    shown = {pair.shown_outside(b"sip:bob@10.1.0.50", now=n * day) for n in range(60)}
    assert len(shown) == 3
    first = pair.shown_outside(b"sip:bob@10.1.0.50")
    assert pair.opened_inside(first, 30 * day) is not None
    assert pair.opened_inside(first, 60 * day) is None


def test_a_contact_too_long_for_a_mask_is_found_while_it_is_remembered() -> None:
    pair = Pair()
    uri = b"sip:bob@10.1.0.50;rinstance=" + b"x" * 200
    shown = pair.shown_outside(uri)
    assert len(SipUri.parse_untrusted(shown).param("wp") or b"") <= MAX_TOKEN
    assert pair.opened_inside(shown) is None
    pair.remember(uri)
    assert pair.opened_inside(shown) == uri
    assert pair.opened_inside(shown, 3601.0) is None


def test_headers_of_a_uri_stay_visible_and_never_come_back_as_part_of_the_target() -> None:
    pair = Pair()
    shown = pair.shown_outside(b"sip:carol@10.1.0.51;x?Replaces=c%40y%3Bto-tag%3D1")
    assert shown.endswith(b"?Replaces=c%40y%3Bto-tag%3D1")
    assert pair.opened_inside(shown) == b"sip:carol@10.1.0.51;x"


def test_nothing_is_masked_before_the_first_session() -> None:
    masks = ContactMasks(outside=False, epoch_s=0.0, bindings=Bindings())
    with pytest.raises(BadPacket):
        masks.mask(SipUri.parse_untrusted(b"sip:a@b"), OWNER, AGENT, "udp", NOW)
    assert masks.open_own(SipUri.parse_untrusted(b"sip:a@b;wp=abc"), NOW) is None


_users = st.one_of(st.none(), st.from_regex(rb"[a-z0-9+%;=]{1,12}", fullmatch=True))
_params = st.lists(st.from_regex(rb"[a-vx-z]{2,6}(=[a-z0-9.%~-]{1,10})?", fullmatch=True), max_size=4)


@given(_users, _params, st.integers(1, 65535))
def test_every_contact_comes_back_to_the_byte(user: bytes | None, params: list[bytes], port: int) -> None:
    uri = b"sip:" + (b"" if user is None else user + b"@") + b"10.1.0.50:%d" % port + b"".join(b";" + p for p in params)
    pair = Pair()
    pair.remember(uri)
    shown = pair.shown_outside(uri)
    assert b"10.1.0.50" not in shown
    assert pair.opened_inside(shown) == uri


@given(st.binary(max_size=130))
def test_junk_in_a_mask_opens_nothing(token: bytes) -> None:
    uri = SipUri.parse_untrusted(b"sip:bob@203.0.113.10;wp=" + token.hex().encode())
    assert Pair().inside.open_own(uri, NOW) is None


@pytest.mark.parametrize(
    ("host", "hidden"),
    [("10.1.0.5", True), ("192.168.1.1", True), ("100.64.0.1", True), ("fd00::1", True), ("127.0.0.1", True),
     ("203.0.113.5", False), ("2001:db8::1", False), ("pbx.example", False), ("10.1.0", False)],
)  # fmt: skip
def test_which_hosts_mean_nothing_elsewhere(host: str, hidden: bool) -> None:
    assert is_unreachable(host) is hidden
