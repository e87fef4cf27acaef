"""What stands in headers: names in any spelling, lists, parameters."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.sip.grammar import (
    canonical_name_untrusted,
    host_text_untrusted,
    params_untrusted,
    same_host,
    split_list_untrusted,
    unfolded,
)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"Via", "via"),
        (b"V", "via"),
        (b"mAx-FoRwArDs", "max-forwards"),
        (b"i", "call-id"),
        (b"x", "session-expires"),
        (b"r", "refer-to"),
        (b"X-Odd_1", "x-odd_1"),
    ],
)
def test_a_header_name_has_one_canonical_form(raw: bytes, name: str) -> None:
    assert canonical_name_untrusted(raw) == name


@pytest.mark.parametrize("raw", [b"", b"Via ", b"V ia", b"V\xc3\xad", b"(x)"])
def test_what_is_no_token_is_no_header_name(raw: bytes) -> None:
    with pytest.raises(BadPacket):
        canonical_name_untrusted(raw)


def test_a_fold_becomes_blanks_and_offsets_stay_true() -> None:
    assert unfolded(b"a\r\n b\r\n\tc") == b"a   b  \tc"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"a", [b"a"]),
        (b"a,b", [b"a", b"b"]),
        (b" a \t, b ", [b"a", b"b"]),
        (b'"x,y" <sip:a,b@c>,<sip:d>', [b'"x,y" <sip:a,b@c>', b"<sip:d>"]),
        (rb'"x\",y" <sip:a>,b', [rb'"x\",y" <sip:a>', b"b"]),
        (rb'"x\\" <sip:a>,b', [rb'"x\\" <sip:a>', b"b"]),
        (b'<sip:a">,b', [b'<sip:a">', b"b"]),
        (b",a,,b,", [b"a", b"b"]),
        (b"", []),
        (b" , ", []),
    ],
)
def test_commas_part_values_outside_quotes_and_brackets(text: bytes, values: list[bytes]) -> None:
    assert [text[start:end] for start, end in split_list_untrusted(text)] == values


@pytest.mark.parametrize("text", [b'"a', b'a, "b\\"', b"<a", b"a, <b"])
def test_an_open_quote_or_bracket_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        split_list_untrusted(text)


def test_parameters_keep_order_and_bytes() -> None:
    text = b' ; Tag = x ;+sip.instance="<urn:a;b=\\"c>" ;lr; b64=ab==;host=[::1];empty='
    params = params_untrusted(text, 0)
    assert [(param.name, param.value) for param in params] == [
        ("tag", b"x"),
        ("+sip.instance", b'"<urn:a;b=\\"c>"'),
        ("lr", None),
        ("b64", b"ab=="),
        ("host", b"[::1]"),
        ("empty", b""),
    ]
    assert text[params[0].start : params[0].end] == b"; Tag = x"
    assert text[params[2].start : params[2].end] == b";lr"


@pytest.mark.parametrize("text", [b";;a", b";a;;b", b";;", b"a", b';a="b', b";a=b c", b";a,b"])
def test_what_is_no_parameter_is_refused(text: bytes) -> None:
    with pytest.raises(BadPacket):
        params_untrusted(text, 0)


def test_one_semicolon_too_many_at_the_end_is_borne_with() -> None:
    assert len(params_untrusted(b";a=1; ", 0)) == 1
    assert params_untrusted(b" ;", 0) == ()


def test_hosts_are_compared_as_addresses_where_they_are() -> None:
    assert same_host("2001:db8::1", "2001:DB8:0::1")
    assert same_host("PBX.example", "pbx.Example")
    assert not same_host("10.1.0.1", "10.1.0.11")
    assert host_text_untrusted(b"[2001:DB8::1]") == "2001:db8::1"


@given(st.binary(max_size=200) | st.text('"\\<>,; =a', max_size=60).map(str.encode))
def test_any_bytes_are_split_or_refused(text: bytes) -> None:
    for split in (split_list_untrusted, lambda text: params_untrusted(text, 0), canonical_name_untrusted):
        try:
            split(text)
        except BadPacket:
            continue


@pytest.mark.parametrize("piece", [b'"', b"<", b'"\\', b";a=", b'\\"', b", ", b'"" ', b" "])
def test_hostile_values_cost_linear_time(piece: bytes) -> None:
    began = time.perf_counter()
    for text in (piece * (60_000 // len(piece)), b";a=" + piece * (60_000 // len(piece))):
        for split in (split_list_untrusted, lambda text: params_untrusted(text, 0)):
            try:
                split(text)
            except BadPacket:
                continue
    assert time.perf_counter() - began < 1.0


def test_a_value_has_a_hundred_parameters_at_most() -> None:
    """A6"""
    assert len(params_untrusted(b";a=b" * 100, 0)) == 100
    with pytest.raises(BadPacket, match="parameters"):
        params_untrusted(b";a=b" * 101, 0)


@pytest.mark.parametrize("letter", "imelcfsktvrbouajdxyn")
def test_each_compact_form_of_the_rules_has_a_long_one(letter: str) -> None:
    """A2"""
    assert len(canonical_name_untrusted(letter.encode())) > 1
    assert canonical_name_untrusted(letter.encode()) == canonical_name_untrusted(letter.upper().encode())
