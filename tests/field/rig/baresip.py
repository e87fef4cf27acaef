"""A phone: baresip with one account, a tone for a voice, and a recorder for an ear, told what to do over its console."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from field.rig.audio import is_finished, read_wav, tone, write_wav
from field.rig.host import Host
from field.rig.program import Program, ProgramFailed, eventually
from field.rig.voices import LEVEL_DBFS, VOICES_HZ

__all__ = ["Phone"]

_CONSOLE = ("127.0.0.1", 4444)
_VOICE_S = 60.0
_CONFIG = """
sip_listen {address}:5060
call_local_timeout 30
call_max_calls 4
audio_source aufile,{folder}/voice.wav
audio_srate 8000
audio_channels 1
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 20-160
rtp_tos 184
rtp_ports 16000-17000
rtp_timeout 0
snd_path {folder}
statmode_default off
ctrl_tcp_listen 127.0.0.1:4444
module_path /usr/lib/baresip/modules
{modules}module g711.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""
# baresip asks for no audio device: without a player it still decodes, and the recorder hears it.
_ACCOUNT = (
    "<sip:{user}@{domain}>;auth_user={user};auth_pass={password};answermode={answers};audio_codecs=PCMU/8000/1;{rest}\n"
)


class Phone(Program):
    """A running baresip. `registered()` waits for its registration; `events` is all it has told, in order."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        user: str,
        domain: str,
        outbound: str = "",
        registers: bool = True,
        answers: str = "auto",
        account: str = "",
        modules: Sequence[str] = (),
        settings: str = "",
    ) -> None:
        """`user` is its voice too; `outbound` the address of its outbound proxy, if any.

        `answers`: "auto", or "manual" for one that waits to be told by `accept()`. `account`: further parameters of its
        account; `modules`: what those need; `settings`: lines of its configuration.
        Its password is the one that the rig's registrars expect of that user.
        """
        self.user = user
        self.folder = folder / f"phone-{user}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_recordings()
        write_wav(self.folder / "voice.wav", tone(VOICES_HZ[user], _VOICE_S, LEVEL_DBFS))
        (self.folder / "config").write_text(
            _CONFIG.format(
                address=host.address,
                folder=self.folder,
                modules="".join(f"module {module}.so\n" for module in modules) + settings,
            )
        )
        rest = f"regint={60 if registers else 0}"
        if outbound:
            rest += f';outbound="sip:{outbound}"'
        rest += f";{account}" if account else ""
        words = {"user": user, "domain": domain, "password": f"secret-of-{user}", "answers": answers, "rest": rest}
        (self.folder / "accounts").write_text(_ACCOUNT.format(**words))
        (self.folder / "contacts").write_text("")
        super().__init__(host, f"baresip-{user}", ["baresip", "-4", "-f", str(self.folder)], folder)
        self.events: list[dict[str, object]] = []
        self._received = b""
        self._console: socket.socket | None = None

    def __enter__(self) -> Phone:
        try:
            self.await_output("baresip is ready")
            self._console = self.host.open_socket(socket.SOCK_STREAM)
            self._console.connect(_CONSOLE)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console:
            self._console.close()
        self.stop()

    def registered(self, within_s: float = 10.0) -> None:
        """Wait for it in the log: it may be done before anybody listens on the console."""
        self.await_output(rf"{self.user}@\S+ .*200 OK.*\[\d+ binding", within_s)

    def dial(self, uri: str) -> None:
        self.command("dial", uri)

    def accept(self) -> None:
        self.command("accept")

    def hang_up(self) -> None:
        self.command("hangup")

    def await_event(self, kind: str, within_s: float = 10.0) -> dict[str, object]:
        """The first event of that type that was not awaited before. Raises `ProgramFailed` if none comes in time."""
        deadline = time.monotonic() + within_s
        while True:
            for place, event in enumerate(self.events):
                if event.get("type") == kind:
                    del self.events[: place + 1]
                    return event
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name}: no {kind} within {within_s} s, only {self.events}\n{self.tail()}")
            self._read(0.05)

    def command(self, name: str, parameters: str = "") -> None:
        if self._console is None:
            raise ProgramFailed(f"{self.name}: not started")
        self._read(0.001)
        message = json.dumps({"command": name, "params": parameters}).encode()
        self._console.sendall(b"%d:%s," % (len(message), message))

    def forget(self) -> None:
        """Forget events and recordings of earlier calls."""
        self._read(0.001)
        self.events.clear()
        self._remove_recordings()

    def heard(self) -> array[int]:
        """The recording of the one call since `forget()`, which is over."""
        recordings = sorted(self.folder.glob("dump-*-dec.wav"))
        if len(recordings) != 1:
            raise ProgramFailed(f"{self.name}: {len(recordings)} recordings\n{self.tail()}")
        eventually(lambda: is_finished(recordings[0]), 2.0, f"{self.name} closed its recording")
        return read_wav(recordings[0])

    def _remove_recordings(self) -> None:
        for recording in self.folder.glob("dump-*.wav"):
            recording.unlink()

    def _read(self, within_s: float) -> None:
        """Take in what the console has sent: netstrings of JSON."""
        if self._console is None:
            raise ProgramFailed(f"{self.name}: not started")
        self._console.settimeout(within_s)
        with contextlib.suppress(TimeoutError):
            self._received += self._console.recv(65536)
        while b":" in self._received:
            length, _, rest = self._received.partition(b":")
            if len(rest) < int(length) + 1:
                return
            event = json.loads(rest[: int(length)])
            self._received = rest[int(length) + 1 :]
            if event.get("event"):
                self.events.append(event)
