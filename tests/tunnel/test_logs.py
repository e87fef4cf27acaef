from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from tunnel.logs import redact, setup_logs


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sip:alice@acme.example", "sip:al***@acme.example"),
        ("sip:alice:hunter2@acme.example;lr", "sip:al***@acme.example;lr"),
        (b"<sips:+4930123@203.0.113.10>", "<sips:+4***@203.0.113.10>"),
        ("tel:+4930123;phone-context=x", "tel:+4***;phone-context=x"),
        ("sip:acme.example:5060", "sip:acme.example:5060"),
        (
            b"INVITE sip:bob@acme.example SIP/2.0\r\nAuthorization: Digest x\r\n\r\nbody",
            "INVITE sip:bo***@acme.example SIP/2.0",
        ),
        (b"\r\nSIP/2.0 200 OK\r\nTo: <sip:alice@acme.example>\r\n", "SIP/2.0 200 OK"),
        (b"\x1b[2J\xff", "\\x1b[2J\ufffd"),
    ],
)
def test_nothing_secret_and_no_whole_subscriber_is_shown(text: bytes | str, shown: str) -> None:
    assert redact(text) == shown


def test_a_line_is_short_whatever_was_sent() -> None:
    assert len(redact(b"x" * 70000)) == 200


def test_an_event_is_one_line_of_fields(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs()
    structlog.get_logger().info("call.answered", call_id="a b", from_="x\r\nlevel=error\x1b[2J", data=b"\xff\n")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert 'level=info event=call.answered call_id="a b"' in err
    assert "\x1b" not in err


def test_events_below_the_level_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert "quiet" not in (err := capsys.readouterr().err)
    assert "loud" in err


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("debug", "json")
    structlog.get_logger().debug("call.answered", calls=3)
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["level"], event["calls"]) == ("call.answered", "debug", 3)
    assert event["timestamp"].endswith("Z")
