"""What an end counts, as Prometheus reads it: gathered at scrape time from plain integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["DIRECTIONS", "AgentFigures", "CallFigures", "EndFigures", "exposition"]

DIRECTIONS = ("inbound", "outbound")
"""``outbound`` calls come from inside."""


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """One tunnel of an end: an agent has one, a server one for each agent that is or was just connected."""

    tenant: str
    agent: str
    connected: bool
    rtt_s: float | None
    registrations: int


@dataclass(frozen=True, slots=True)
class CallFigures:
    """The calls of one tenant by direction (``DIRECTIONS``), whichever agents carry or carried them."""

    tenant: str
    active: Mapping[str, int]
    total: Mapping[str, int]

    def plus(self, active: Mapping[str, int], total: Mapping[str, int]) -> CallFigures:
        """These calls and those."""
        return CallFigures(self.tenant, Counter(self.active) + Counter(active), Counter(self.total) + Counter(total))


@dataclass(frozen=True, slots=True)
class EndFigures:
    """All figures of one end; ``ports`` is (held, resting, size) of the media ports, in pairs."""

    agents: tuple[AgentFigures, ...]
    calls: tuple[CallFigures, ...]
    ports: tuple[int, int, int]
    events: Mapping[str, int] = field(default_factory=dict)


def exposition(figures: EndFigures) -> bytes:
    """The text that a scrape gets."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(lambda: figures))
    text: bytes = generate_latest(registry)
    return text


class _Figures(Collector):
    def __init__(self, read: Callable[[], EndFigures]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        figures = self._read()
        yield from _of_agents(figures.agents)
        yield from _of_calls(figures.calls)
        yield from _of_ports(figures.ports)
        events = CounterMetricFamily("wallpass_events", "What happened how often, by name.", labels=["event"])
        for name, value in sorted(figures.events.items()):
            events.add_metric([name], value)
        yield events


def _of_agents(agents: Iterable[AgentFigures]) -> Iterable[Metric]:
    who = ["tenant", "agent"]
    up = GaugeMetricFamily("wallpass_tunnel_up", "1 while the tunnel is connected.", labels=who)
    rtt = GaugeMetricFamily("wallpass_tunnel_rtt_seconds", "Smoothed round trip of the tunnel.", labels=who)
    users = GaugeMetricFamily("wallpass_registrations", "User agents registered through this face.", labels=who)
    for agent in agents:
        labels = [agent.tenant, agent.agent]
        up.add_metric(labels, int(agent.connected))
        if agent.rtt_s is not None:
            rtt.add_metric(labels, agent.rtt_s)
        users.add_metric(labels, agent.registrations)
    return [up, rtt, users]


def _of_calls(calls: Iterable[CallFigures]) -> Iterable[Metric]:
    what = ["tenant", "direction"]
    active = GaugeMetricFamily("wallpass_calls_active", "Calls that are up or ringing.", labels=what)
    total = CounterMetricFamily("wallpass_calls", "Calls since the start.", labels=what)
    for tenant in calls:
        for direction in DIRECTIONS:
            active.add_metric([tenant.tenant, direction], tenant.active.get(direction, 0))
            total.add_metric([tenant.tenant, direction], tenant.total.get(direction, 0))
    return [active, total]


def _of_ports(ports: tuple[int, int, int]) -> Iterable[Metric]:
    metric = GaugeMetricFamily("wallpass_media_port_pairs", "Media port pairs of the face, by state.", labels=["state"])
    held, resting, size = ports
    for state, value in (("held", held), ("resting", resting), ("free", size - held - resting)):
        metric.add_metric([state], value)
    yield metric
