"""
Looks at the way to a server step by step, to explain why there is none: name, connection, TLS.

The sockets, the resolver and the TLS settings are those of real calls, and so are the bounds. Nothing goes
beyond a TLS handshake: a proxy is asked for a tunnel, but no request is written, and no key.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken, Deadline
from failsafe.models import Phase
from failsafe.transport import resolver, tls
from failsafe.transport.base import Limits
from failsafe.transport.exchange import Exchange
from failsafe.transport.sockets import DeadlineSocket, DeadlineTLSSocket, open_socket, spelled

_NO_CHECK_TIME = 0x200000
"""OpenSSL's ``X509_V_FLAG_NO_CHECK_TIME``: an expired certificate can be read, too."""

_LONGEST_HEAD = 16_384
_OPENED = re.compile(rb"HTTP/1\.[01] 2\d\d ")


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of looking a name up.

    Attributes:
        addresses: The addresses, in the order in which they are tried; empty if there are none.
        seconds: How long it took.
        problem: Why there are none, in words.
        late: Whether it had not ended when its time was over.
    """

    addresses: tuple[str, ...] = ()
    seconds: float = 0.0
    problem: str = ""
    late: bool = False


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """What became of connecting to one *address*: after so many *seconds*, or why not and whether it was too late."""

    address: str
    seconds: float = 0.0
    problem: str = ""
    late: bool = False

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is one of IPv6."""
        return ":" in self.address


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a certificate says of itself, true or not.

    Attributes:
        subject: Whom it is for.
        issuer: Who signed it.
        names: The hosts it is for.
        begins: When it becomes valid, seconds since 1970-01-01 UTC, and
        ends: when it expires.
    """

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    begins: float = 0.0
    ends: float = 0.0


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a TLS handshake.

    Attributes:
        version: The version agreed on; "" if there was no agreement.
        seconds: How long connecting and the handshake took.
        problem: Why it failed, in OpenSSL's words; "" if it did not.
        code: OpenSSL's number for what is wrong with the certificate, if that is what failed (openssl verify(1)).
        reason: OpenSSL's name for any other failure (``WRONG_VERSION_NUMBER``), or "".
        late: Whether it had not ended when its time was over.
        certificate: The server's certificate, where it could be read.
    """

    version: str = ""
    seconds: float = 0.0
    problem: str = ""
    code: int | None = None
    reason: str = ""
    late: bool = False
    certificate: Certificate | None = None


class Inspector:
    """
    Goes one step at a time, each within its own limit. Thread-safe.

    Args:
        seconds: The limit of each step.
        cancel: Ends the step under way.
        clock: The source of time.
    """

    def __init__(self, seconds: float, *, cancel: CancelToken | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._seconds = seconds
        self._cancel = cancel
        self._clock = clock

    def _exchange(self) -> Exchange:
        deadline = Deadline.after(self._seconds, self._clock)
        return Exchange(Limits(deadline=deadline, connect_timeout=self._seconds, cancel=self._cancel), self._clock)

    def look_up(self, host: str, port: int) -> Lookup:
        """The addresses of *host*, or why there are none."""
        began = self._clock.monotonic()
        with self._exchange() as exchange:
            try:
                found = resolver.shared.resolve(host, port, exchange)
            except OSError as error:  # LookupFailed and TimeoutError are two
                late = isinstance(error, TimeoutError)
                problem = "no answer from the name server" if late else str(error) or "given up"
                return Lookup(seconds=self._clock.monotonic() - began, problem=problem, late=late)
        addresses = dict.fromkeys(str(address[3][0]) for address in found)
        return Lookup(addresses=tuple(addresses), seconds=self._clock.monotonic() - began)

    def connect(self, address: str, port: int) -> Connected:
        """Connect to the one *address*, and hang up."""
        began = self._clock.monotonic()
        problem, late = "", False
        with self._exchange() as exchange:
            try:
                exchange.connecting()
                open_socket(address, port, exchange, None)
            except OSError as error:
                late = isinstance(error, TimeoutError)
                problem = exchange.blame or ("no answer" if late else "given up")
        return Connected(address=address, seconds=self._clock.monotonic() - began, problem=problem, late=late)

    def shake_hands(
        self, server: Server, bundle: str, client_cert: tls.ClientCertificate = None, *, listen: bool = False
    ) -> Handshake:
        """
        Connect to *server* and make the handshake of a real call; a certificate is read even if it is not trusted.

        Args:
            server: Who is called, and through which proxy.
            bundle: The certificates to trust, as :func:`failsafe.transport.tls.choose_bundle` gives them.
            client_cert: The certificate to show.
            listen: Wait for what the server says of itself after it: with TLS 1.3 only then it complains of a client
                without a certificate.
        """
        began = self._clock.monotonic()
        try:
            context = tls.contexts.get(bundle, client_cert)
        except OSError:
            return Handshake(problem=f"the CA bundle {bundle} or client_cert cannot be loaded", reason="UNLOADABLE")
        made = self._handshake(context, server, listen=listen)
        made = msgspec.structs.replace(made, seconds=self._clock.monotonic() - began)
        if made.code is not None:
            return msgspec.structs.replace(made, certificate=self._certificate(server))
        return made

    def _handshake(self, context: ssl.SSLContext, server: Server, *, listen: bool = False) -> Handshake:
        with self._exchange() as exchange:
            try:
                encrypted = _encrypted(context, server, exchange)
                if listen:
                    encrypted.recv(1)
                return Handshake(version=encrypted.version() or "", certificate=_said(encrypted.getpeercert()))
            except ssl.SSLCertVerificationError as error:
                return Handshake(problem=error.verify_message, code=error.verify_code)
            except ssl.SSLError as error:
                return Handshake(problem=str(error.reason or "failed").replace("_", " "), reason=error.reason or "")
            except OSError as error:
                late = isinstance(error, TimeoutError)
                problem = exchange.blame or ("no answer to the handshake" if late else "the connection was cut")
                return Handshake(problem=problem, late=late)
            except ValueError:  # Python makes no handshake on a connection that was reset
                return Handshake(problem="the connection was cut")

    def _certificate(self, server: Server) -> Certificate | None:
        """
        The certificate that was not trusted, as it describes itself.

        Python reads only certificates that it has verified: so it is fetched first, and then verified against itself.
        """
        with self._exchange() as exchange:
            try:
                encoded = _encrypted(_unverified(), server, exchange).getpeercert(binary_form=True)
            except (OSError, ValueError):
                return None
        return self._handshake(_trusting(encoded), server).certificate if encoded else None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Who is called: *host* and *port*, and the URL of the http proxy that is asked for a tunnel to it, if any."""

    host: str
    port: int
    proxy: str | None = None


def _encrypted(context: ssl.SSLContext, server: Server, exchange: Exchange) -> ssl.SSLSocket:
    """Connect and shake hands; *exchange* closes the socket when it ends."""
    exchange.connecting()
    if server.proxy is None:
        held = open_socket(server.host, server.port, exchange, None)
    else:
        held = _tunnel(server, server.proxy, exchange)
    exchange.phase = Phase.TLS
    return context.wrap_socket(held, server_hostname=server.host)


def _tunnel(server: Server, proxy: str, exchange: Exchange) -> DeadlineSocket:
    """
    A connection through *proxy* (RFC 9110 section 9.3.6).

    Raises:
        OSError: There is none; ``exchange.blame`` says why.
    """
    parts = urlsplit(proxy)
    held = open_socket(parts.hostname or "", parts.port or 80, exchange, None)
    exchange.phase = Phase.PROXY
    target = spelled(server.host, server.port)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    encoded = base64.b64encode(credentials.encode("utf-8", "replace")).decode()
    proof = f"Proxy-Authorization: Basic {encoded}\r\n" if credentials else ""
    held.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # not a byte beyond it: the server may speak first
        part = held.recv(1)
        head += part
        if not part or len(head) > _LONGEST_HEAD:
            break
    if not _OPENED.match(head):
        exchange.blame = "the proxy opened no tunnel"
        raise ConnectionError(exchange.blame)
    return held


def _unverified() -> ssl.SSLContext:
    """Settings to look at a certificate with; nothing is ever sent over such a connection."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.sslsocket_class = DeadlineTLSSocket
    return made


def _trusting(certificate: bytes) -> ssl.SSLContext:
    """Settings that trust nothing but this one certificate, at whatever time and for whatever host."""
    made = _unverified()
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=certificate)
    made.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME) | ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def _said(read: Any) -> Certificate | None:
    """The certificate as Python has read it."""
    if not read:
        return None
    return Certificate(
        subject=_name(read.get("subject", ())),
        issuer=_name(read.get("issuer", ())),
        names=tuple(value for kind, value in read.get("subjectAltName", ()) if kind in ("DNS", "IP Address")),
        begins=_seconds(read.get("notBefore", "")),
        ends=_seconds(read.get("notAfter", "")),
    )


def _name(parts: Any) -> str:
    """A distinguished name for a person: who it is, and of which organisation."""
    fields = dict(_fields(parts))
    common, organisation = fields.get("commonName", ""), fields.get("organizationName", "")
    if common and organisation and organisation not in common:
        return f"{common} ({organisation})"
    return common or organisation or fields.get("organizationalUnitName", "") or "nobody by name"


def _fields(parts: Any) -> Iterator[tuple[str, str]]:
    for part in parts:
        for name, value in part:
            yield str(name), str(value)


def _seconds(text: str) -> float:
    try:
        return float(ssl.cert_time_to_seconds(text))
    except ValueError:
        return 0.0


def family(address: str) -> str:
    """``IPv4`` or ``IPv6``."""
    return "IPv6" if ":" in address else "IPv4"
