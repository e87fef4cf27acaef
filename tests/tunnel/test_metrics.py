from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tunnel.metrics import AgentFigures, CallFigures, EndFigures, exposition

PBX_HOST = AgentFigures("acme", "pbx-host", connected=True, rtt_s=0.012, registrations=3)
NEVER_UP = AgentFigures("globex", "gate", connected=False, rtt_s=None, registrations=0)
ACME = CallFigures("acme", active={"outbound": 2}, total={"outbound": 40, "inbound": 2})
GLOBEX = CallFigures("globex", {}, {})


def text_of(events: dict[str, int]) -> str:
    return exposition(EndFigures((PBX_HOST, NEVER_UP), (ACME, GLOBEX), (4, 6, 50), events)).decode()


def scraped(events: dict[str, int] | None = None) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, by the order of their names."""
    families = text_string_to_metric_families(text_of(events or {}))
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


def test_calls_by_tenant_and_direction() -> None:
    samples = scraped()
    assert samples["wallpass_calls_active", "outbound", "acme"] == 2
    assert samples["wallpass_calls_active", "inbound", "acme"] == 0
    assert samples["wallpass_calls_total", "outbound", "acme"] == 40
    assert samples["wallpass_calls_total", "inbound", "acme"] == 2
    assert samples["wallpass_calls_total", "inbound", "globex"] == 0


def test_the_labels_have_names() -> None:
    assert 'wallpass_calls_active{direction="outbound",tenant="acme"} 2.0' in text_of({})


def test_calls_of_several_agents_add_up() -> None:
    both = ACME.plus({"outbound": 1, "inbound": 1}, {"outbound": 1, "inbound": 1})
    assert both == CallFigures("acme", {"outbound": 3, "inbound": 1}, {"outbound": 41, "inbound": 3})


def test_the_tunnel() -> None:
    samples = scraped()
    assert samples["wallpass_tunnel_up", "pbx-host", "acme"] == 1
    assert samples["wallpass_tunnel_up", "gate", "globex"] == 0
    assert samples["wallpass_tunnel_rtt_seconds", "pbx-host", "acme"] == 0.012
    assert ("wallpass_tunnel_rtt_seconds", "gate", "globex") not in samples
    assert samples["wallpass_registrations", "pbx-host", "acme"] == 3


def test_an_end_nobody_connected_to_yet_shows_its_metrics_all_the_same() -> None:
    text = exposition(EndFigures((), (), (0, 0, 0))).decode()
    assert "# TYPE wallpass_calls_active gauge" in text
    assert "# TYPE wallpass_calls_total counter" in text


def test_media_ports_and_events() -> None:
    samples = scraped({"sip.dropped.unknown_source": 7})
    assert samples["wallpass_media_port_pairs", "held"] == 4
    assert samples["wallpass_media_port_pairs", "resting"] == 6
    assert samples["wallpass_media_port_pairs", "free"] == 40
    assert samples["wallpass_events_total", "sip.dropped.unknown_source"] == 7


def test_every_metric_is_ours_and_has_help() -> None:
    for family in text_string_to_metric_families(text_of({"x": 1})):
        assert family.name.startswith("wallpass_")
        assert family.documentation
