"""Kamailio on a host: the registrar outside, or the PBX inside. Their configurations stand in `tests/field/kamailio`."""

from __future__ import annotations

from pathlib import Path

from field.rig.host import Host
from field.rig.program import Program, ProgramFailed, eventually

__all__ = ["Kamailio"]

_CONFIGURATIONS = Path(__file__).parent.parent / "kamailio"
_TABLE_VERSION = 5  # the version that Kamailio 5.6 asks of the table `uacreg`

# The columns of `uacreg` as `uac` reads them, and the PBX's one account at the carrier.
_ACCOUNT_COLUMNS = (
    "id(int,auto) l_uuid(string) l_username(string) l_domain(string) r_username(string) r_domain(string) realm(string) "
    "auth_username(string) auth_password(string) auth_ha1(string,null) auth_proxy(string) expires(int) flags(int) "
    "reg_delay(int) contact_addr(string) socket(string,null)"
)
_ACCOUNT = (
    "1:line1:acme:acme.example:acme:itsp.example:itsp.example:"
    "acme:secret-of-acme::sip\\:10.1.0.2:60:0:0:10.1.0.5\\:5060:"
)


class Kamailio(Program):
    """`configuration`: "registrar" or "pbx". `trunk_registration`: the PBX also registers at itsp.example."""

    def __init__(self, host: Host, folder: Path, configuration: str, trunk_registration: bool = False) -> None:
        runtime = folder / f"kamailio-{configuration}"
        runtime.mkdir(parents=True, exist_ok=True)
        (runtime / "version").write_text(
            f"id(int,auto) table_name(string) table_version(int)\n1:uacreg:{_TABLE_VERSION}\n"
        )
        (runtime / "uacreg").write_text(f"{_ACCOUNT_COLUMNS}\n{_ACCOUNT}\n")
        text = (_CONFIGURATIONS / f"{configuration}.cfg").read_text().replace("TABLES", str(runtime))
        (runtime / "kamailio.cfg").write_text(text)
        argv = ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-w", str(runtime), "-Y", str(runtime)]
        argv += ["-P", str(runtime / "kamailio.pid"), "-f", str(runtime / "kamailio.cfg")]
        argv += ["-A", "TRUNK_REGISTRATION"] if trunk_registration else []
        super().__init__(host, f"kamailio-{configuration}", argv, folder)

    def __enter__(self) -> Kamailio:
        try:
            eventually(self._is_bound, 10.0, f"{self.name} bound")
        except BaseException:
            self.stop()
            raise
        return self

    def _is_bound(self) -> bool:
        if self.process.poll() is not None:
            raise ProgramFailed(f"{self.name}: ended with {self.process.returncode}\n{self.tail()}")
        return f"{self.host.address}:5060" in self.host.run("ss", "-Huln")
