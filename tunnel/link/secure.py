"""TLS 1.3 over any byte pipe: bytes in, bytes out, no socket.

Imports ``ssl`` for MemoryBIO and contexts; it is the one core file that may. Identity is a certificate of the server's
own authority: the agent trusts that authority and nobody else, names and addresses do not matter. What is spoken is
negotiated by ALPN: ``wallpass/1`` demands a certificate of the agent, ``wallpass-join/1`` is for one that has none yet.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from types import TracebackType

from tunnel.errors import CarrierLost, PeerMisbehaved, Refused, WallpassError

__all__ = ["ALPN_JOIN", "ALPN_LINK", "SecureChannel", "agent_context", "server_context"]

ALPN_LINK = "wallpass/1"
ALPN_JOIN = "wallpass-join/1"

_READ_BYTES = 16384  # one record


def server_context(certificate: Path, private_key: Path, authority_pem: str) -> ssl.SSLContext:
    """For the server's end: ``certificate`` is the chain it shows, ``authority_pem`` vouches for agents."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, authority_pem)
    context.verify_mode = ssl.CERT_OPTIONAL  # who must have one is known after ALPN; SecureChannel sees to it
    context.num_tickets = 0  # a session is resumed by the link's own ticket
    context.load_cert_chain(certificate, private_key)
    context.set_alpn_protocols([ALPN_LINK, ALPN_JOIN])
    return context


def agent_context(
    authority_pem: str, certificate: Path | None = None, private_key: Path | None = None
) -> ssl.SSLContext:
    """For the agent's end: with a ``certificate`` it speaks ``wallpass/1``, without one it can only join.

    OpenSSL checks that the server's certificate is one for servers, so that another agent's does not pass.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, authority_pem)
    if certificate is None:
        context.set_alpn_protocols([ALPN_JOIN])
    else:
        context.load_cert_chain(certificate, private_key)
        context.set_alpn_protocols([ALPN_LINK])
    return context


def _context(protocol: int, authority_pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=authority_pem)
    return context


class SecureChannel:
    """One end of one TLS connection.

    After each ``feed`` look at ``drain_ciphertext`` (handshake, alerts) and, once ``established``, at ``read``. Raises
    PeerMisbehaved when the peer is not who or what it should be, Refused when the peer says so of us, and CarrierLost
    when it closed; ``drain_ciphertext`` then still holds the alert for the peer.
    """

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._failure: WallpassError | None = None
        self.established = False
        if not server_side:
            self._shake()

    @property
    def alpn(self) -> str | None:
        """The protocol agreed on: ALPN_LINK or ALPN_JOIN once established."""
        return self._tls.selected_alpn_protocol()

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's verified certificate, DER."""
        return self._tls.getpeercert(binary_form=True)

    def feed(self, ciphertext: bytes) -> None:
        """Bytes from the carrier; b"" when it has ended. Moves the handshake on."""
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._incoming.write_eof()
        if not self.established:
            self._shake()

    def read(self) -> list[bytes]:
        """The plaintext that has arrived, by records; empty when there is none yet.

        What came before the end of the connection is returned first; the next call raises.
        """
        if self._failure is not None:
            raise self._failure
        records: list[bytes] = []
        try:
            with _translated:
                while self._incoming.pending or self._tls.pending():
                    record = self._tls.read(_READ_BYTES)
                    if not record:
                        raise ssl.SSLZeroReturnError
                    records.append(record)
        except ssl.SSLWantReadError:
            pass
        except WallpassError as error:
            if not records:
                raise
            self._failure = error
        return records

    def seal(self, plaintext: bytes) -> bytes:
        """The ciphertext to send for ``plaintext``: one record for up to 16 KiB, and whatever TLS itself has to say."""
        with _translated:
            self._tls.write(plaintext)
        return self._outgoing.read()

    def drain_ciphertext(self) -> bytes:
        """What TLS itself has to say."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """The ciphertext that tells the peer that no more will come (RFC 8446 section 6.1)."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()
        return self._outgoing.read()

    def _shake(self) -> None:
        try:
            with _translated:
                self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        if self.alpn not in (ALPN_LINK, ALPN_JOIN):
            raise PeerMisbehaved("the other end does not speak wallpass")
        if self.alpn == ALPN_LINK and self.peer_certificate is None:
            raise PeerMisbehaved("the other end shows no certificate; it has to join first")
        self.established = True


class _Translated:
    """Says in our words what OpenSSL found; a class because it is entered for each record."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLWantReadError):
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            raise PeerMisbehaved(f"the other end's certificate is not accepted: {error.verify_message}") from None
        if isinstance(error, (ssl.SSLZeroReturnError, ssl.SSLEOFError)):
            raise CarrierLost("the other end closed the connection") from None
        reason = error.reason or str(error)
        _, is_alert, alert = reason.partition("ALERT_")
        if is_alert:
            raise Refused(f"the other end refuses: {_words(alert)}") from None
        raise PeerMisbehaved(f"the other end does not speak TLS 1.3 as it should: {_words(reason)}") from None


_translated = _Translated()


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
