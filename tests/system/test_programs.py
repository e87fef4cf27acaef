"""Both programs as an operator runs them: commands, files, signals, exit codes, and calls that outlive all of it."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.programs import AGENT_TOML, SERVER_TOML, Pair, Program, Site, eventually, run_wallpass, running_pair
from support.raw_sip import Call, RawPhone

# One pair serves all tests of this file; what a test stops is started again before the next.


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("pair")) as running:
        yield running


@pytest.fixture
def pair(module_pair: Pair) -> Pair:
    module_pair.restore()
    return module_pair


class Cast:
    """Phones of the site by name, and the two SIP addresses they know."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self.agent = (site["agent"], 5060)
        self.server = (site["server"], 5060)
        self.phone, self.pbx, self.stranger, self.peer, self.trunk = (
            stack.enter_context(RawPhone(site[name])) for name in ("phone", "pbx", "stranger", "peer", "trunk")
        )

    def live_call(self) -> Call:
        """A call from the phone inside to the peer outside, answered and acknowledged."""
        call = self.phone.invite(f"sip:bob@{self.peer.host}:5060", self.agent)
        self.peer.answer(self.peer.receive("INVITE"), 200, "OK")
        self.phone.acknowledge(call, self.phone.receive(200))
        self.peer.receive("ACK")
        return call

    def hang_up(self, call: Call) -> None:
        self.phone.bye(call)
        self.peer.answer(self.peer.receive("BYE"), 200, "OK")
        assert self.phone.receive(200).cseq_method == "BYE"

    def options(self, phone: RawPhone, *statuses: int) -> int:
        """What the agent answers to OPTIONS of ``phone``."""
        phone.request("OPTIONS", f"sip:{self.agent[0]}", self.agent)
        return phone.receive(*statuses).status


@pytest.fixture
def cast(pair: Pair) -> Iterator[Cast]:
    with ExitStack() as stack:
        yield Cast(pair.site, stack)


def page(host: str, port: int, path: str) -> tuple[int, str]:
    """Status and text of a page of an end's admin address."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}{path}", timeout=5) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def health(host: str, port: int) -> int:
    return page(host, port, "/healthz")[0]


# --- running ----------------------------------------------------------------------------------------------------------


def test_stdout_is_one_ready_line_and_logs_go_to_stderr(pair: Pair) -> None:
    for program, sip in ((pair.server, pair.site["server"]), (pair.agent, pair.site["agent"])):
        (line,) = program.stdout.splitlines()
        assert line.startswith(f"ready sip=udp:{sip}:5060,tcp:{sip}:5060 tunnel=")
        assert "event=" in program.stderr


def test_status_of_a_pair_that_works(pair: Pair) -> None:
    for end in ("server", "agent"):
        done = pair.status(end)
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["up"] is True
    assert health(pair.site["server"], 9080) == 200
    assert health(pair.site["agent"], 9081) == 200


def test_a_call_shows_in_the_status_of_both_ends(pair: Pair, cast: Cast) -> None:
    call = cast.live_call()
    assert pair.asked("agent")["calls_active"] == {"outbound": 1}
    assert pair.asked("server")["calls_active"] == 1
    cast.hang_up(call)
    eventually(lambda: pair.asked("server")["calls_active"] == 0, "no call")


def test_what_an_end_shows_holds_no_secret_and_no_subscriber(pair: Pair, cast: Cast) -> None:
    call = cast.live_call()
    doors = {"server": 9080, "agent": 9081}
    shown = [json.dumps(pair.asked(end)) for end in doors] + [pair.server.stderr, pair.agent.stderr]
    shown += [
        page(pair.site[end], port, path)[1] for end, port in doors.items() for path in ("/api/status", "/metrics")
    ]
    cast.hang_up(call)
    secrets = [(pair.folder / "server-data" / "masks.key").read_bytes()]
    spelt = [form for key in secrets for form in (key.hex(), base64.b64encode(key).decode()[:-2])]
    for pem in pair.folder.glob("*-data/*.pem"):
        spelt += [line for line in pem.read_text().splitlines() if len(line) >= 40]
    assert len(spelt) > 10
    for text in shown:
        assert not [secret for secret in (*spelt, "PRIVATE KEY", "alice", "bob@") if secret in text]


def test_status_of_an_agent_whose_server_is_gone(pair: Pair) -> None:
    pair.server.send(signal.SIGKILL)
    pair.server.exit_code()
    pair.agent.logs("event=tunnel.down")
    done = pair.status("agent")
    assert done.returncode == 1
    assert json.loads(done.stdout)["tunnel"]["connected"] is False
    assert pair.status("server").returncode == 1
    assert health(pair.site["agent"], 9081) == 503


def test_an_agent_without_a_server_is_not_ready_and_can_be_stopped(pair: Pair) -> None:
    for end in ("agent", "server"):
        pair.programs[end].send(signal.SIGTERM)
        assert pair.programs[end].exit_code() == 0
    agent = pair.start("agent")
    eventually(lambda: "tunnel" in pair.asked("agent"), "the agent's status")
    assert pair.status("agent").returncode == 1
    assert agent.stdout == ""
    agent.send(signal.SIGTERM)
    assert agent.exit_code() == 0


# --- SIGTERM ----------------------------------------------------------------------------------------------------------


def test_sigterm_lets_the_agents_calls_finish_and_takes_no_new_ones(pair: Pair, cast: Cast) -> None:
    call = cast.live_call()
    assert cast.options(cast.phone, 200) == 200
    pair.agent.send(signal.SIGTERM)
    pair.agent.logs("event=drain.begun")
    assert cast.options(cast.phone, 200, 503) == 503
    cast.phone.invite(f"sip:carol@{cast.peer.host}:5060", cast.agent)
    assert cast.phone.receive(200, 404, 503).status == 503
    assert health(pair.site["agent"], 9081) == 503
    assert pair.agent.process.poll() is None
    cast.hang_up(call)
    assert pair.agent.exit_code() == 0


def test_a_call_refused_for_draining_says_when_to_try_again(pair: Pair, cast: Cast) -> None:
    cast.live_call()
    pair.agent.send(signal.SIGTERM)
    pair.agent.logs("event=drain.begun")
    cast.phone.invite(f"sip:carol@{cast.peer.host}:5060", cast.agent)
    retry = cast.phone.receive(503).header("retry-after")
    assert retry is not None
    assert int(retry.value) > 0
    pair.agent.send(signal.SIGTERM)  # a second one, with the call still up
    assert pair.agent.exit_code(within_s=3) == 0


def test_sigterm_lets_the_servers_calls_finish_and_takes_no_new_ones(pair: Pair, cast: Cast) -> None:
    call = cast.live_call()
    pair.server.send(signal.SIGTERM)
    pair.server.logs("event=drain.begun")
    cast.trunk.invite(f"sip:1000@{cast.server[0]}", cast.server)
    refusal = cast.trunk.receive(200, 404, 480, 503)
    assert refusal.status == 503
    assert refusal.header("retry-after") is not None
    cast.phone.invite(f"sip:carol@{cast.peer.host}:5060", cast.agent)
    assert cast.phone.receive(200, 404, 480, 503).status == 503
    cast.hang_up(call)
    assert pair.server.exit_code() == 0


def test_draining_ends_after_drain_seconds(pair: Pair, cast: Cast) -> None:
    assert "config.reloaded" in pair.configure("agent", AGENT_TOML.replace("drain_seconds = 20", "drain_seconds = 0.5"))
    cast.live_call()
    began = time.monotonic()
    pair.agent.send(signal.SIGTERM)
    assert pair.agent.exit_code() == 0
    assert 0.5 <= time.monotonic() - began < 4


# --- SIGHUP -----------------------------------------------------------------------------------------------------------


def test_sighup_applies_allow_pbx_and_outside_and_keeps_the_call(pair: Pair, cast: Cast) -> None:
    call = cast.live_call()
    cast.stranger.request("OPTIONS", f"sip:{cast.agent[0]}", cast.agent)
    cast.phone.invite(f"sip:1000@{cast.agent[0]}", cast.agent)
    assert cast.phone.receive(404, 503).status == 404
    cast.trunk.invite(f"sip:2000@{cast.server[0]}", cast.server)
    assert cast.trunk.receive(404, 503).status == 404
    assert cast.stranger.hears_nothing(0.1)

    allow = AGENT_TOML.replace('"{phone}/32"', '"{phone}/32", "{stranger}/32"')
    both = 'pbx = "sip:{pbx}"\noutside = "sip:{peer}"\n[admin]'
    assert "config.reloaded" in pair.configure("agent", allow.replace("[admin]", both))

    assert cast.options(cast.stranger, 200) == 200
    cast.phone.invite(f"sip:1000@{cast.agent[0]}", cast.agent)
    outside = cast.peer.receive("INVITE")
    assert outside.request_uri.startswith(b"sip:1000@" + cast.peer.host.encode())
    cast.peer.answer(outside, 486, "Busy Here")
    cast.trunk.invite(f"sip:2000@{cast.server[0]}", cast.server)
    inside = cast.pbx.receive("INVITE")
    assert inside.request_uri.startswith(b"sip:2000@" + cast.pbx.host.encode())
    cast.pbx.answer(inside, 486, "Busy Here")
    assert cast.trunk.receive(486).status == 486
    cast.hang_up(call)


@pytest.mark.parametrize("text", ["drain_seconds = 'soon'\n" + AGENT_TOML.replace("drain_seconds = 20\n", ""), "[lan"])
def test_sighup_with_a_bad_file_changes_nothing(pair: Pair, cast: Cast, text: str) -> None:
    call = cast.live_call()
    logged = pair.configure("agent", text)
    assert "event=config.kept" in logged
    assert "agent.toml" in logged
    assert cast.options(cast.phone, 200) == 200
    cast.hang_up(call)


def test_sighup_of_the_server_keeps_the_call(pair: Pair, cast: Cast) -> None:
    call = cast.live_call()
    assert "config.reloaded" in pair.configure("server", SERVER_TOML.replace("= 20\n", "= 10\n"))
    assert "config.kept" in pair.configure("server", "[public]\naddres = 1")
    cast.hang_up(call)


# --- bad configurations -----------------------------------------------------------------------------------------------


class Desk:
    """Where an operator writes a configuration that cannot work; the agent has joined."""

    def __init__(self, folder: Path, joined: Path, stack: ExitStack) -> None:
        self.site = Site()
        self.folder = folder
        self._stack = stack
        ignored = shutil.ignore_patterns("*.sock")
        shutil.copytree(joined, folder / "agent-data", ignore=ignored)

    def taken(self, name: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
        """Another program has that address."""
        other = self._stack.enter_context(socket.socket(socket.AF_INET, kind))
        other.bind((self.site[name], port))
        if kind is socket.SOCK_STREAM:
            other.listen()

    def refuses(self, end: str, text: str, *said: str) -> None:
        """Starting ``end`` by ``text`` is one message with all of ``said``, and exit 2."""
        (self.folder / f"{end}.toml").write_text(self.site.fill(text))
        done = run_wallpass(self.folder, end, "--config", f"{end}.toml")
        assert done.returncode == 2, done
        assert done.stdout == ""
        (message,) = (line for line in done.stderr.splitlines() if "event=config.questionable" not in line)
        assert message.startswith(f"wallpass: {end}.toml: ")
        for part in said:
            assert self.site.fill(part) in message


@pytest.fixture
def desk(tmp_path: Path, module_pair: Pair) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, module_pair.folder / "agent-data", stack)


def test_a_data_dir_that_is_a_file(desk: Desk) -> None:
    (desk.folder / "plain").write_text("")
    for end, text in (("server", SERVER_TOML), ("agent", AGENT_TOML)):
        desk.refuses(end, text.replace(f"{end}-data", "plain"), "data_dir = 'plain'", "a file in the way", "directory")


def test_a_data_dir_that_cannot_be_written(desk: Desk) -> None:
    text = SERVER_TOML.replace("server-data", "/proc/wallpass")
    desk.refuses("server", text, "data_dir = '/proc/wallpass'", "name a directory")


def test_an_agent_that_never_joined(desk: Desk) -> None:
    desk.refuses("agent", AGENT_TOML.replace("agent-data", "empty"), "data_dir = 'empty'", "wallpass join TOKEN")


@pytest.mark.parametrize(("end", "table", "text"), [("server", "public", SERVER_TOML), ("agent", "lan", AGENT_TOML)])
def test_a_taken_sip_port(desk: Desk, end: str, table: str, text: str) -> None:
    desk.taken(end, 5060, socket.SOCK_DGRAM)
    desk.refuses(end, text, f"{table}.sip = 'udp:{{{end}}}:5060'", "taken by another program")


def test_a_taken_sip_port_of_tcp(desk: Desk) -> None:
    desk.taken("server", 5060)
    desk.refuses("server", SERVER_TOML, "public.sip = 'tcp:{server}:5060'", "taken by another program")


def test_a_taken_tunnel_port(desk: Desk) -> None:
    desk.taken("server", 4443)
    desk.refuses("server", SERVER_TOML, "tunnel.listen = '{server}:4443'", "taken by another program")


@pytest.mark.parametrize(("end", "port", "text"), [("server", 9080, SERVER_TOML), ("agent", 9081, AGENT_TOML)])
def test_a_taken_admin_port(desk: Desk, end: str, port: int, text: str) -> None:
    desk.taken(end, port)
    desk.refuses(end, text, f"admin.listen = '{{{end}}}:{port}'", "taken by another program")


@pytest.mark.parametrize(
    ("end", "text", "old", "key"),
    [
        ("server", SERVER_TOML, 'address = "{server}"', "public."),
        ("server", SERVER_TOML, 'listen = "{server}:4443"', "tunnel.listen"),
        ("server", SERVER_TOML, 'listen = "{server}:9080"', "admin.listen"),
        ("agent", AGENT_TOML, 'address = "{agent}"', "lan."),
    ],
)
def test_an_address_that_is_not_of_this_host(desk: Desk, end: str, text: str, old: str, key: str) -> None:
    new = old.replace(f"{{{end}}}", "192.0.2.1")
    desk.refuses(end, text.replace(old, new), f"{key}", "192.0.2.1", "not an address of this host")


def test_an_unknown_key(desk: Desk) -> None:
    desk.refuses("agent", AGENT_TOML.replace("allow", "alow"), "lan.alow", 'did you mean "allow"')


def test_no_toml(desk: Desk) -> None:
    desk.refuses("server", SERVER_TOML.replace("[public]", "[public"), "line 6 = '[public'", "not TOML")


def test_no_file(tmp_path: Path) -> None:
    done = run_wallpass(tmp_path, "agent", "--config", "nowhere.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wallpass: nowhere.toml: --config = 'nowhere.toml': No such file")


def test_a_second_server_with_the_same_data_dir(pair: Pair, desk: Desk) -> None:
    with Program(pair.folder, "server", "--config", "server.toml") as second:
        assert second.exit_code() == 2
        assert second.stdout == ""
    assert pair.status("server").returncode == 0
