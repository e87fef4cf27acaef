"""The systems that are measured: each is a context manager that gives call paths and the processes to watch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from load import CallPath
from sip_calls import Calls, SetUp

__all__ = ["SYSTEMS", "Rig"]

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

PHONES, AGENT, SERVER, ROBOTS = "127.0.1.1", "127.0.1.2", "127.0.2.1", "127.0.2.2"
PHONE_RTP, ROBOT_RTP = 10000, 14000  # first ports; two for each call, below the kernel's own
READY_S = 15.0
JOIN_OVER = "127.0.2.1:18443"


@dataclass(frozen=True, slots=True)
class Rig:
    """What to load, and whom to watch: name and process id."""

    paths: list[CallPath]
    processes: tuple[tuple[str, int], ...]
    set_up_ms: tuple[float, ...] = ()


def parties(calls: int) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Where the RTP of phone and robot of each call is."""
    for n in range(calls):
        yield (PHONES, PHONE_RTP + 2 * n), (ROBOTS, ROBOT_RTP + 2 * n)


@contextlib.contextmanager
def direct(calls: int) -> Iterator[Rig]:
    """Nothing in between: what the kernel and the meter cost."""
    yield Rig([CallPath(_text(phone), _text(robot), _text(robot), _text(phone)) for phone, robot in parties(calls)], ())


@contextlib.contextmanager
def bare_relay(calls: int) -> Iterator[Rig]:
    """One UDP relay, one awaiting task a socket, no tunnel."""
    wanted = [[*phone, *robot] for phone, robot in parties(calls)]
    with _child([str(HERE / "bare_relay.py")], wanted) as (process, ports):
        paths = [
            CallPath(_text(phone), for_phone, _text(robot), for_robot)
            for (phone, robot), (for_phone, for_robot) in zip(parties(calls), ports, strict=True)
        ]
        yield Rig(paths, (("relay", process.pid),))


@contextlib.contextmanager
def pump_only(calls: int) -> Iterator[Rig]:
    """Both ends' media path with session, TLS and TCP between, without SIP."""
    sys.path.insert(0, str(HERE.parent))
    from support.tls import Authority

    with tempfile.TemporaryDirectory() as folder_name, contextlib.ExitStack() as stack:
        folder = Path(folder_name)
        authority = Authority(folder)
        (folder / "authority.pem").write_text(authority.pem)
        tunnel = f"{SERVER}:{_free_port(SERVER)}"
        ends = {}
        for role, face, side in (("server", SERVER, 1), ("agent", AGENT, 0)):
            certificate, key = authority.issue(role, role)
            argv = [
                str(HERE / "pump_end.py"),
                role,
                tunnel,
                face,
                str(certificate),
                str(key),
                f"{folder}/authority.pem",
            ]
            wanted = [list(each[side]) for each in parties(calls)]
            ends[role] = stack.enter_context(_started(argv, wanted))
            if role == "server":
                _answer(ends[role], role)  # it listens: now the agent may connect
        (agent, phone_targets), (server, robot_targets) = (
            (ends[role], _answer(ends[role], role)) for role in ("agent", "server")
        )
        paths = [
            CallPath(_text(phone), phone_target, _text(robot), robot_target)
            for (phone, robot), phone_target, robot_target in zip(
                parties(calls), phone_targets, robot_targets, strict=True
            )
        ]
        yield Rig(paths, (("agent", agent.pid), ("server", server.pid)))


@contextlib.contextmanager
def pair(calls: int) -> Iterator[Rig]:
    """The product: `wallpass server` and `wallpass agent`, calls set up by SIP."""
    with tempfile.TemporaryDirectory() as folder_name, contextlib.ExitStack() as stack:
        folder = Path(folder_name)
        agent_sip = (AGENT, 5060)
        server_config, agent_config = folder / "server.toml", folder / "agent.toml"
        server_config.write_text(
            f'data_dir = "{folder}/server"\n[tunnel]\nlisten = "{JOIN_OVER}"\n'
            f'[public]\naddress = "{SERVER}"\nsip = ["udp:5060", "tcp:5060"]\nmedia_ports = "20000-23999"\n'
        )
        agent_config.write_text(
            f'data_dir = "{folder}/agent"\n[tunnel]\nserver = "{JOIN_OVER}"\ntransport = "tls"\n'
            f'[lan]\naddress = "{AGENT}"\nsip = ["udp:5060"]\nmedia_ports = "24000-27999"\nallow = ["{PHONES}/32"]\n'
        )
        server = stack.enter_context(_wallpass(folder, "server", "--config", str(server_config)))
        _wallpass_once("tenant", "add", "bench", "--config", str(server_config))
        token = _wallpass_once("tenant", "invite", "bench", "--config", str(server_config)).split()[-1]
        _wallpass_once("join", token, "--config", str(agent_config))
        agent = stack.enter_context(_wallpass(folder, "agent", "--config", str(agent_config)))
        script = Calls(agent_sip, PHONES, ROBOTS)
        up = script.set_up(SetUp(n, phone, robot) for n, (phone, robot) in enumerate(parties(calls)))
        paths = [
            CallPath(_text(call.phone_rtp), call.phone_target, _text(call.robot_rtp), call.robot_target) for call in up
        ]
        took = tuple(sorted(call.seconds * 1000 for call in up))
        yield Rig(paths, (("agent", agent.pid), ("server", server.pid)), took)
        script.hang_up()


SYSTEMS: dict[str, Callable[[int], contextlib.AbstractContextManager[Rig]]] = {
    "direct": direct,
    "bare relay": bare_relay,
    "pumps": pump_only,
    "pair": pair,
}


# --- processes -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _started(argv: list[str], request: object) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        yield process
        process.stdin.close()
        process.wait(10)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _child(argv: list[str], request: object) -> Iterator[tuple[subprocess.Popen[str], list[list[str]]]]:
    with _started(argv, request) as process:
        yield process, _answer(process, argv[0])


def _answer(process: subprocess.Popen[str], name: str) -> list[list[str]]:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_S)
    line = process.stdout.readline() if ready else ""
    if not line:
        raise SystemExit(f"{name} did not start")
    return json.loads(line)  # type: ignore[no-any-return]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from tunnel.launcher import main; main()", *arguments]


@contextlib.contextmanager
def _wallpass(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running end, from its `ready` on; its log is shown when it fails."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            _command(*arguments), stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        _await_ready(process, arguments[0])
        yield process
        process.terminate()
        process.wait(10)
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        process.kill()
        process.wait()


def _await_ready(process: subprocess.Popen[bytes], name: str) -> None:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    said = b""
    deadline = time.monotonic() + READY_S
    while not re.search(rb"(?m)^ready", said):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(descriptor, 65536) if ready else b""
        if not more:
            raise SystemExit(f"wallpass {name} was not ready within {READY_S:g} s")
        said += more


def _wallpass_once(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(_command(*arguments), capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"wallpass {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
