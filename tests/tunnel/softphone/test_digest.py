"""Digest against the examples of the RFCs, and both sides against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import BadPacket
from tunnel.softphone.digest import (
    Challenge,
    Credentials,
    answer_challenge,
    is_answer_right,
    parse_digest_untrusted,
    pick_challenge,
)

MUFASA = Credentials("Mufasa", "Circle of Life")


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (b"MD5", b"8ca523f5e9506fed4657c9700eebdbec"),
        (b"SHA-256", b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_examples_of_rfc_7616(algorithm: bytes, response: bytes) -> None:
    challenge = Challenge(
        realm=b"http-auth@example.org",
        nonce=b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        algorithm=algorithm,
        opaque=b"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    )
    client_nonce = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    answer = parse_digest_untrusted(answer_challenge(challenge, MUFASA, "GET", b"/dir/index.html", client_nonce))
    assert answer[b"response"] == response
    assert answer[b"nc"] == b"00000001"
    assert is_answer_right(answer, challenge, MUFASA, "GET")


def test_example_of_rfc_2617_without_qop_is_the_older_form() -> None:
    challenge = pick_challenge([b'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])
    assert challenge is not None
    of_2617 = Credentials("Mufasa", "Circle Of Life")
    answer = parse_digest_untrusted(answer_challenge(challenge, of_2617, "GET", b"/dir/index.html", b"unused"))
    assert answer[b"response"] == b"670fd8c2df070c60b045671b8b24ff02"
    assert b"qop" not in answer


@given(
    user=st.text(min_size=1, max_size=20).filter(str.isprintable),
    password=st.text(max_size=20),
    realm=st.binary(max_size=20).filter(lambda text: text.isascii() and text.decode().isprintable()),
    algorithm=st.sampled_from([b"MD5", b"SHA-256"]),
    qop=st.sampled_from([b"", b"auth"]),
)
def test_whatever_one_side_asks_the_other_can_answer(
    user: str, password: str, realm: bytes, algorithm: bytes, qop: bytes
) -> None:
    asked = Challenge(realm=realm, nonce=b"n1", algorithm=algorithm, qop=qop)
    challenge = pick_challenge([bytes(asked)])
    assert challenge == asked
    value = answer_challenge(challenge, Credentials(user, password), "INVITE", b"sip:bob@example", b"c1")
    answer = parse_digest_untrusted(value)
    assert is_answer_right(answer, asked, Credentials(user, password), "INVITE")
    assert not is_answer_right(answer, asked, Credentials(user, password + "x"), "INVITE")
    assert not is_answer_right(answer, asked, Credentials(user, password), "REGISTER")


def test_answer_to_another_nonce_is_wrong() -> None:
    old, new = Challenge(b"r", b"old"), Challenge(b"r", b"new")
    answer = parse_digest_untrusted(answer_challenge(old, MUFASA, "REGISTER", b"sip:x", b"c"))
    assert not is_answer_right(answer, new, MUFASA, "REGISTER")


def test_first_challenge_that_can_be_answered_is_taken() -> None:
    challenge = pick_challenge(
        [
            b"Bearer realm=x",
            b'Digest realm="r", nonce="1", algorithm=SHA-512-256, qop="auth"',
            b'Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth-int"',
            b'Digest realm="r", nonce="3", algorithm=SHA-256, qop="auth,auth-int", stale=TRUE',
            b'Digest realm="r", nonce="4"',
        ]
    )
    assert challenge is not None
    assert (challenge.nonce, challenge.qop, challenge.stale) == (b"3", b"auth", True)
    assert pick_challenge([b"Bearer x"]) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_parameters_or_a_bad_packet(text: bytes) -> None:
    for value in (text, b"Digest " + text):
        try:
            parse_digest_untrusted(value)
        except BadPacket:
            continue
