"""The way to a server, looked at step by step: what each step tells, and that no request is sent."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from failsafe.deadline import CancelToken
from failsafe.transport.inspection import Certificate, Inspector, Server, family
from tests.transport.exchanges import CAP, DEADLINE, full_listener
from tests.transport.raw_server import Peer, RawServer, answer, answer_once
from tests.transport.test_transport_proxy import tunnel_to
from tests.transport.test_transport_tls import server_context

SOON = Inspector(5.0)
LATE = Inspector(DEADLINE)


def at(server: RawServer, **details: Any) -> Server:
    return Server(host="127.0.0.1", port=server.port, **details)


def timed(look: Callable[[], Any]) -> Any:
    """What *look* tells, which is to end when its time is over."""
    began = time.monotonic()  # noqa: TID251 -- measures real sockets
    found = look()
    assert time.monotonic() - began <= CAP  # noqa: TID251
    return found


def test_a_name_has_its_addresses() -> None:
    found = SOON.look_up("localhost", 80)
    assert "127.0.0.1" in found.addresses
    assert (found.problem, found.late) == ("", False)


def test_an_address_is_its_own() -> None:
    assert SOON.look_up("::1", 80).addresses == ("::1",)
    assert (family("::1"), family("127.0.0.1")) == ("IPv6", "IPv4")


def test_a_name_that_nobody_knows_is_told() -> None:
    found = SOON.look_up("nowhere.test", 80)
    assert found.addresses == ()
    assert found.problem.startswith("cannot look up nowhere.test: ")
    assert not found.late


@pytest.mark.leaves_threads("failsafe-dns")
def test_a_name_server_that_says_nothing_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(10) and [])
    found = timed(lambda: LATE.look_up("slow.test", 80))
    ended.set()
    assert (found.addresses, found.problem, found.late) == ((), "no answer from the name server", True)


def test_an_address_takes_connections_or_not() -> None:
    with RawServer(answer()) as server:
        taken = SOON.connect("127.0.0.1", server.port)
        assert (taken.problem, taken.late, taken.is_ipv6) == ("", False, False)
        refused = SOON.connect("::1", server.port)
        assert (refused.problem, refused.late, refused.is_ipv6) == (
            f"connection refused by [::1]:{server.port}",
            False,
            True,
        )
        assert server.requests == []


def test_an_address_that_says_nothing_is_late() -> None:
    with full_listener() as port:
        found = timed(lambda: LATE.connect("127.0.0.1", port))
    assert (found.problem, found.late) == (f"127.0.0.1:{port} did not answer", True)


def test_a_handshake_tells_version_and_certificate(authority: trustme.CA, ca_bundle: str) -> None:
    with RawServer(answer(), tls=server_context(authority, "127.0.0.1")) as server:
        made = SOON.shake_hands(at(server), ca_bundle)
        assert made.version == "TLSv1.3"
        assert (made.problem, made.code, made.late) == ("", None, False)
        assert made.certificate is not None
        assert made.certificate.names == ("127.0.0.1",)
        assert server.requests == []


def test_a_certificate_of_an_unknown_issuer_is_read_all_the_same(authority: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with RawServer(answer(), tls=server_context(authority, "127.0.0.1")) as server:
        made = SOON.shake_hands(at(server), str(other))
        assert made.code in (19, 20)
        assert made.certificate is not None
        assert made.certificate.issuer.startswith("trustme")
        assert server.requests == []


@pytest.mark.parametrize(
    ("names", "valid", "code"),
    [
        (("other.test",), {}, 64),
        (
            ("127.0.0.1",),
            {"not_before": dt.datetime(2020, 1, 1), "not_after": dt.datetime(2020, 2, 1)},  # noqa: DTZ001
            10,
        ),
        (
            ("127.0.0.1",),
            {"not_before": dt.datetime(2096, 1, 1), "not_after": dt.datetime(2097, 1, 1)},  # noqa: DTZ001
            9,
        ),
    ],
    ids=["other-host", "expired", "not-yet-valid"],
)
def test_what_is_wrong_with_a_certificate_is_told_and_shown(
    authority: trustme.CA, ca_bundle: str, names: tuple[str, ...], valid: dict[str, Any], code: int
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **valid).configure_cert(context)
    with RawServer(answer(), tls=context) as server:
        made = SOON.shake_hands(at(server), ca_bundle)
    assert (made.code, made.version) == (code, "")
    assert isinstance(made.certificate, Certificate)
    assert made.certificate.names == names
    if valid:
        expected = valid["not_after"].replace(tzinfo=dt.UTC).timestamp()
        assert made.certificate.ends == expected


def test_a_plain_server_makes_no_handshake(ca_bundle: str) -> None:
    with RawServer(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        made = SOON.shake_hands(at(server), ca_bundle)
    assert (made.reason, made.code, made.certificate) == ("WRONG_VERSION_NUMBER", None, None)


def test_a_handshake_that_stalls_is_late(ca_bundle: str) -> None:
    with RawServer(lambda peer: peer.hang()) as server:
        made = timed(lambda: LATE.shake_hands(at(server), ca_bundle))
    assert (made.problem, made.late) == ("no answer to the handshake", True)


def test_a_handshake_that_is_cut_is_told(ca_bundle: str) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.reset()

    with RawServer(script) as server:
        made = SOON.shake_hands(at(server), ca_bundle)
    assert made.problem
    assert (made.version, made.code, made.late) == ("", None, False)


def test_a_bundle_that_cannot_be_loaded_is_told() -> None:
    made = SOON.shake_hands(Server(host="127.0.0.1", port=9), __file__)
    assert (made.reason, __file__ in made.problem) == ("UNLOADABLE", True)


def test_a_server_behind_a_proxy_shows_its_certificate_too(authority: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with (
        RawServer(answer(), tls=server_context(authority, "api.test")) as server,
        RawServer(tunnel_to(server.port)) as proxy,
    ):
        through = proxy.url.replace("//", "//user:p%40ss@")
        made = SOON.shake_hands(Server(host="api.test", port=443, proxy=through), str(other))
        assert made.certificate is not None
        assert made.certificate.names == ("api.test",)
        assert proxy.requests[0].startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.requests[0]
        assert server.requests == []


@pytest.mark.parametrize("said", [b"HTTP/1.1 403 No\r\n\r\n", b"", b"x" * 20_000], ids=["refused", "closed", "endless"])
def test_a_proxy_that_opens_no_tunnel_is_told(ca_bundle: str, said: bytes) -> None:
    with RawServer(answer_once(said)) as proxy:
        made = SOON.shake_hands(Server(host="api.test", port=443, proxy=proxy.url), ca_bundle)
    assert made.problem == "the proxy opened no tunnel"


@pytest.mark.parametrize("step", ["look_up", "connect", "shake_hands"])
@pytest.mark.leaves_threads("failsafe-dns")
def test_a_step_can_be_cancelled(step: str, ca_bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token, asked, ended = CancelToken(), threading.Event(), threading.Event()
    inspector = Inspector(30.0, cancel=token)

    def hang(peer: Peer) -> None:
        asked.set()
        peer.hang()

    def never(*_: Any, **__: Any) -> Any:
        asked.set()
        ended.wait(10)
        return []

    def cancel_when_asked() -> None:
        if asked.wait(5):
            token.cancel()

    with RawServer(hang) as server, full_listener() as port:
        looks: dict[str, Callable[[], Any]] = {
            "look_up": lambda: inspector.look_up("slow.test", 80),
            "connect": lambda: inspector.connect("127.0.0.1", port),
            "shake_hands": lambda: inspector.shake_hands(at(server), ca_bundle),
        }
        if step == "look_up":
            monkeypatch.setattr(socket, "getaddrinfo", never)
        if step == "connect":
            asked.set()
        canceller = threading.Thread(target=cancel_when_asked)
        canceller.start()
        found = looks[step]()
        canceller.join()
        ended.set()
    assert found.problem
    assert not found.late
