"""A small DNS server on loopback that answers from a zone and can be told to stay silent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

__all__ = ["DnsServer"]


@dataclass
class DnsServer:
    """``zone`` holds lines as in a zone file, ``name. ttl IN TYPE data``; ``mute`` the record types it never answers."""

    zone: list[str]
    mute: frozenset[str] = frozenset()
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def run(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve; starts with the port."""
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.1", 0))
            task_status.started(sock.getsockname()[1])
            while True:
                data, source = await sock.recvfrom(4096)
                query = dns.message.from_wire(data)
                kind = dns.rdatatype.to_text(query.question[0].rdtype)
                self.asked[query.question[0].name.to_text(), kind] += 1
                if kind not in self.mute:
                    await sock.sendto(self._answer(query).to_wire(), source)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        known, records, ttl_s = False, [], 0
        for line in self.zone:
            name, ttl, _, kind, data = line.split(maxsplit=4)
            if dns.name.from_text(name) == question.name:
                known = True
                if dns.rdatatype.from_text(kind) == question.rdtype:
                    records.append(data)
                    ttl_s = int(ttl)
        if records:
            response.answer.append(dns.rrset.from_text(question.name, ttl_s, "IN", question.rdtype, *records))
        if not known:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response
