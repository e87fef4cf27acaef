"""What a server makes of a configuration that is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.both_ends import open_ends, server_toml

import outside_server
from tunnel.errors import BadConfig


async def test_what_waits_for_a_restart_is_said(tmp_path: Path) -> None:
    config = server_toml(tmp_path / "server")
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(config)
        text = config.read_text().replace("[public]", '[public]\nhide = "basic"')
        config.write_text(f"drain_seconds = 3\n{text}")
        with capture_logs() as logs:
            server.reload(outside_server.load(config))
        assert [entry["keys"] for entry in logs if entry["event"] == "config.needs_restart"] == [["public.hide"]]


async def test_a_certificate_that_cannot_be_used_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    config = server_toml(tmp_path / "server", sip='["tls:0"]')
    async with open_ends(tmp_path) as ends:
        server = await ends.start_server(config)
        (tmp_path / "server" / "sip.pem").write_text("nonsense")
        (tmp_path / "server" / "sip.key").write_text("nonsense")
        named = '[public]\ncertificate = "sip.pem"\nprivate_key = "sip.key"'
        config.write_text(config.read_text().replace("[public]", named))
        with pytest.raises(BadConfig) as failure:
            server.reload(outside_server.load(config))
        assert failure.value.key == "public.certificate"
        assert server.is_healthy


async def test_a_certificate_that_cannot_be_used_keeps_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "sip.pem").write_text("nonsense")
    (tmp_path / "sip.key").write_text("nonsense")
    named = 'certificate = "sip.pem"\nprivate_key = "sip.key"'
    config = server_toml(tmp_path, sip='["tls:0"]', public=named)
    with pytest.raises(BadConfig) as failure:
        await outside_server.serve(outside_server.load(config))
    assert failure.value.key == "public.certificate"
