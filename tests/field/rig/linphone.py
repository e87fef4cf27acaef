"""Another phone: linphone's daemon with one account, told what to do over its socket; its voice is a file that it plays."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from field.rig.audio import tone, write_wav
from field.rig.host import Host
from field.rig.program import Program, ProgramFailed, eventually
from field.rig.voices import LEVEL_DBFS, VOICES_HZ

__all__ = ["Linphone"]

_VOICE_S = 30.0
# It registers by the outbound proxy alone. No codec but PCMU, no TLS, no IPv6, nothing it would fetch or look up.
_CONFIG = """
[sip]
sip_port=5060
sip_tcp_port=0
sip_tls_port=0
use_ipv6=0
guess_hostname=1
default_proxy=0
media_encryption={encryption}
inc_timeout=30
use_rfc2833=1

[net]
firewall_policy={firewall}
dns_srv_enabled=0
stun_server={stun}

[rtp]
audio_rtp_port=7078

[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1

[sound]
echocancellation=0
agc=0

[auth_info_0]
username={user}
userid={user}
passwd=secret-of-{user}
realm={domain}
domain={domain}

[proxy_0]
reg_proxy=<sip:{outbound}>
reg_route=<sip:{outbound};lr>
reg_identity=sip:{user}@{domain}
reg_expires=60
reg_sendregister=1
publish=0
dial_escape_plus=0
quality_reporting_enabled=0
"""


class Linphone(Program):
    """A running linphone-daemon. `encryption`: none or srtp; `ice`: it offers candidates."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        user: str,
        domain: str,
        outbound: str,
        encryption: str = "none",
        ice: bool = False,
    ) -> None:
        self.user = user
        self.folder = folder / f"linphone-{user}"
        # Without these it starts, and does nothing.
        for kept in (".local/share/linphone", ".config/linphone"):
            (self.folder / kept).mkdir(parents=True, exist_ok=True)
        self._voice = self.folder / "voice.wav"
        write_wav(self._voice, tone(VOICES_HZ[user], _VOICE_S, LEVEL_DBFS))
        words = {"user": user, "domain": domain, "outbound": outbound, "encryption": encryption, "stun": ""}
        words["firewall"] = "3" if ice else "0"
        config = self.folder / "linphonerc"
        config.write_text(_CONFIG.format(**words))
        self._socket = Path("/tmp") / f"wallpass-{os.getpid()}-{user}"
        argv = ["linphone-daemon", "--config", str(config), "--pipe", self._socket.name, "--auto-answer"]
        argv += ["--log", str(self.folder / "log"), "--disable-stats-events"]
        super().__init__(host, f"linphone-{user}", argv, folder, {"HOME": str(self.folder)})
        self._console: socket.socket | None = None

    def __enter__(self) -> Linphone:
        try:
            eventually(self._socket.exists, 10.0, f"{self.name} listens to commands")
            self._console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._console.settimeout(5.0)
            self._console.connect(str(self._socket))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console:
            self._console.close()
        self.stop()
        self._socket.unlink(missing_ok=True)

    def tail(self) -> str:
        log = self.folder / "log"
        told = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join([super().tail(), *told[-60:]])

    def registered(self, within_s: float = 10.0) -> None:
        """It does so by itself; from then on it speaks PCMU alone."""
        eventually(lambda: "RegistrationOk" in self.command("register-status 1"), within_s, f"{self.name} registered")
        self.command("audio-codec-disable ALL")
        self.command("audio-codec-enable PCMU/8000/1")

    def dial(self, uri: str) -> int:
        """The call's number, by which it is told from others."""
        return int(self.command(f"call {uri}").partition("Id: ")[2].split()[0])

    def await_call(self, state: str, number: int | None = None, within_s: float = 10.0) -> None:
        """`state`: as linphone calls it, "StreamsRunning" for one that is up, "Paused". `number`: its only call if None."""
        status = "call-status" if number is None else f"call-status {number}"
        wanted = f"State: LinphoneCall{state}"
        eventually(lambda: wanted in self._answer(status), within_s, f"{self.name} {state}")

    def has_calls(self) -> bool:
        return "LinphoneCall" in self._answer("call-status")

    def speak(self, number: int | None = None) -> None:
        """Play its voice into that call, or into the one that is up."""
        order = f"incall-player-start {self._voice} {number or ''}".strip()
        eventually(lambda: self._answer(order).startswith("Status: Ok"), 5.0, f"{self.name} speaks")

    def command(self, text: str) -> str:
        """What it answers, without the status. Raises `ProgramFailed` if that is not Ok."""
        answer = self._answer(text)
        if not answer.startswith("Status: Ok"):
            raise ProgramFailed(f"{self.name}: {text} -> {answer}\n{self.tail()}")
        return answer.partition("\n")[2].strip()

    def _answer(self, text: str) -> str:
        if self._console is None:
            raise ProgramFailed(f"{self.name}: not started")
        self._console.sendall(text.encode() + b"\n")
        return self._console.recv(65536).decode()
