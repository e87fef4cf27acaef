"""What a REFER may say beside whom to call: no subscription, a method, headers, a GRUU, who referred."""

from __future__ import annotations

import pytest
from support.flow_table import flow
from support.ladder import uri_in
from support.stage import Stage
from support.transfers import Cast, Referral


def refer(stage: Stage, refer_to: str, *headers: str) -> Referral:
    """The caller refers the callee within a call."""
    talk = stage.talk()
    sent = talk.caller.send("REFER", headers=[f"Refer-To: {refer_to}", *headers])
    return Referral(talk.caller, talk.callee, sent, stage.callee.got("REFER"))


def end(stage: Stage) -> None:
    stage.talks[-1].hang_up()
    stage.assert_empty()


@flow("blind-transfer")
def test_without_a_subscription(stage: Stage) -> None:
    """T8: Refer-Sub: false and norefersub pass both ways; no NOTIFY comes and the call is forgotten as soon as any."""
    headers = ("Refer-Sub: false", "Require: norefersub")
    referral = refer(stage, "<sip:carol@203.0.113.77>", *headers)
    for header in headers:
        assert header.encode() in [referral.arrived.line(each) for each in referral.arrived.headers]
    stage.callee.answer(referral.arrived, 202, headers=["Refer-Sub: false", "Supported: norefersub"])
    assert stage.caller.got(202).lines("refer-sub") == [b"Refer-Sub: false"]
    end(stage)


@flow("blind-transfer")
@pytest.mark.parametrize(
    "refer_to",
    [
        "<sip:carol@203.0.113.77>;method=INVITE",
        "<sip:carol@203.0.113.77;method=BYE>",
        "<sip:carol@203.0.113.77;method=SUBSCRIBE?Event=presence&Accept=application%2Fpidf%2Bxml&Expires=60>",
        "<sip:carol@203.0.113.77?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only&Require=replaces>",
        "<sip:carol@203.0.113.77?X-Account=7&body=hello%0D%0Aworld&Call-Info=%3Chttp%3A%2F%2Fx%3E>",
        '"Carol, \\"C\\"" <sip:carol@vendor.example:5080;transport=tcp;user=phone?Subject=a%20b>;x=1',
        "sip:carol@203.0.113.77",
        "<sips:carol@vendor.example;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>",
        "<sip:carol@vendor.example;gr=kjh29x97us97d?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        "<tel:+49-30-5550101;phone-context=+49>",
        "<http://vendor.example/page?x=1>",
    ],
)
def test_who_is_to_be_called_arrives_to_the_letter(stage: Stage, refer_to: str) -> None:
    """E, T7, D7: a public place in Refer-To is nobody's business but the two parties', whatever stands in it."""
    referral = refer(stage, refer_to, 'Referred-By: <sip:boss@vendor.example>;cid="20398823.2UWQFN309shb3@x"')
    assert referral.arrived.lines("refer-to") == [f"Refer-To: {refer_to}".encode()]
    assert referral.arrived.lines("referred-by") == referral.sent.lines("referred-by")
    stage.callee.answer(referral.arrived, 603)
    stage.caller.got(603)
    end(stage)


@flow("blind-transfer", callers=["inside"])
def test_an_inside_place_is_hidden_with_its_method_and_headers_kept(stage: Stage) -> None:
    """E, T7: what is masked goes back to the letter; who calls it has taken out the method, and reaches that very place."""
    carol = stage.inside_phone("carol", "10.1.0.77:5066", port=6300)
    refer_to = "<sip:carol@10.1.0.77:5066;line=x;method=INVITE?Subject=a%20b&X-Y=10.9.9.9>;z=1"
    referral = refer(stage, refer_to)
    shown = referral.arrived.values("refer-to")[0].text
    assert b"10.1.0.77" not in shown
    assert shown.endswith(b"?Subject=a%20b&X-Y=10.9.9.9>;z=1")
    referral.accept()
    invite = stage.callee.invite(referral.uri, headers=referral.headers)
    arrived = carol.got("INVITE")
    assert arrived.request_uri == b"sip:carol@10.1.0.77:5066;line=x"
    assert arrived.lines("subject") == [b"Subject: a b"]
    carol.answer(arrived, 486)
    stage.callee.ack_failure(invite, stage.callee.got(486))
    carol.got("ACK")
    referral.notify("486 Busy Here", ends=True)
    end(stage)


@flow("blind-transfer", callers=["inside"])
def test_who_is_referred_to_an_inside_place_calls_nobody_else(stage: Stage) -> None:
    """3-#8: the mask of a place that was mentioned is good for that place alone, whoever is dialled with it."""
    carol = stage.inside_phone("carol", "10.1.0.77:5066", port=6300)
    referral = refer(stage, "<sip:carol@10.1.0.77:5066>")
    referral.accept()
    stage.callee.invite(referral.uri.replace(b"carol", b"00900123456"))
    assert carol.got("INVITE").request_uri == b"sip:carol@10.1.0.77:5066"


@flow("blind-transfer")
def test_two_referrals_in_one_call(stage: Stage) -> None:
    """T8: each REFER of a dialog has its subscription, told apart by id; both are told to their ends after the BYE."""
    talk = stage.talk()
    referrals = []
    for _ in range(2):
        sent = talk.caller.send("REFER", headers=["Refer-To: <sip:carol@203.0.113.77>"])
        arrived = stage.callee.got("REFER")
        stage.callee.answer(arrived, 202)
        stage.caller.got(202)
        referrals.append(sent.cseq[0])
    talk.hang_up()
    for wait_s, state in ((0, "active;expires=60"), (100, "terminated;reason=noresource")):
        stage.world.wait(wait_s)
        for number in referrals:
            event = [f"Event: refer;id={number}", f"Subscription-State: {state}"]
            talk.callee.send("NOTIFY", headers=event)
            told = stage.caller.got("NOTIFY")
            assert told.lines("event") == [event[0].encode()]
            stage.caller.answer(told, 200)
            stage.callee.got(200)
    stage.assert_empty()


@flow("attended-transfer", ways="C", callers=["outside"])
def test_a_workers_contact_is_good_for_other_workers(stage: Stage) -> None:
    """S3-7, T7: a worker behind a NAT is shown to another by a mask, since no other address leads to it."""
    cast = Cast(stage, transferor="outside", transferee="outside", target="outside")
    talk = stage.call(cast.transferor, cast.target)
    target = talk.caller.target
    assert target.startswith(b"sip:bob@203.0.113.10:5060;wp=")
    assert uri_in(talk.arrived.values("contact")[0].text).startswith(b"sip:dan@203.0.113.10:5060;wp=")
    third = cast.transferee
    third.invite(target)
    assert cast.target.got("INVITE").request_uri == cast.target.contact[1:-1].encode()
    assert any(b"<sip:dora@" in each.lines("from")[0] for each in stage.registrar.seen), "not through the PBX"
