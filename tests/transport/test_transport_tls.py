"""TLS is always verified, and its settings are loaded once."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from failsafe.errors import ConfigError
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.transport import connections, sockets, tls
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import answered, exchange, failed
from tests.transport.raw_server import Peer, RawServer, answer

Connect = Callable[..., RequestsTransport]


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_a_trusted_server_answers_over_one_connection(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str
) -> None:
    with RawServer(answer(), tls=server_tls) as server:
        transport = connect(server.url, ca_bundle=ca_bundle)
        for _ in range(3):
            assert answered(exchange(transport)).body == b"{}"
        assert server.connections == 1


def test_a_large_body_is_sent_whole(connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str) -> None:
    body = b"x" * 3_000_000
    with RawServer(answer(), tls=server_tls) as server:
        answered(exchange(connect(server.url, ca_bundle=ca_bundle), body=body))
        assert server.requests[0].endswith(body)


def test_an_unknown_authority_is_not_trusted(connect: Connect, server_tls: ssl.SSLContext) -> None:
    with RawServer(answer(), tls=server_tls) as server:
        failure = failed(exchange(connect(server.url)))
        assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.TLS, False)
        assert "certificate of 127.0.0.1" in failure.message
        assert server.requests == []


def test_a_certificate_for_another_host_is_not_trusted(connect: Connect, authority: trustme.CA, ca_bundle: str) -> None:
    with RawServer(answer(), tls=server_context(authority, "other.test")) as server:
        failure = failed(exchange(connect(server.url, ca_bundle=ca_bundle)))
        assert (failure.fault, failure.phase) == (Fault.NETWORK, Phase.TLS)
        assert "not valid for '127.0.0.1'" in failure.message
        assert server.requests == []


def test_old_tls_is_refused(ca_bundle: str) -> None:
    context = tls.contexts.get(ca_bundle, None)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_plain_server_under_https_is_a_failed_handshake(connect: Connect, ca_bundle: str) -> None:
    with RawServer(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        failure = failed(exchange(connect(f"https://127.0.0.1:{server.port}", ca_bundle=ca_bundle)))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.TLS, False)


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_connection_cut_in_the_handshake_never_reached_the_server(connect: Connect, ca_bundle: str, way: str) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1)
        if way == "reset":
            peer.reset()

    with RawServer(script) as server:
        failure = failed(exchange(connect(f"https://127.0.0.1:{server.port}", ca_bundle=ca_bundle)))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.TLS, False)


@pytest.mark.parametrize("noticed", [False, True])
def test_a_connection_reset_before_the_handshake_is_never_used_in_the_clear(
    connect: Connect, ca_bundle: str, monkeypatch: pytest.MonkeyPatch, noticed: bool
) -> None:
    """Python makes no handshake on a socket that is no longer connected, and would then write plain text."""
    open_socket, connected = sockets.open_socket, threading.Event()

    def open_and_wait_for_the_reset(*args: Any) -> sockets.DeadlineSocket:
        connected.clear()  # it is tried twice
        held = open_socket(*args)
        connected.set()
        assert select.select([held], [], [], 5)[0]
        if noticed:
            held.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return held

    def reset_once_connected(peer: Peer) -> None:
        connected.wait(5)
        peer.reset()

    monkeypatch.setattr(connections, "open_socket", open_and_wait_for_the_reset)
    with RawServer(reset_once_connected) as server:
        failure = failed(exchange(connect(f"https://127.0.0.1:{server.port}", ca_bundle=ca_bundle)))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.TLS, False)


def test_a_server_can_ask_for_the_client_certificate(
    connect: Connect, authority: trustme.CA, ca_bundle: str, tmp_path: Path
) -> None:
    context = server_context(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    certificate = authority.issue_cert("client.test")
    both, key = tmp_path / "both.pem", tmp_path / "key.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(both))
    certificate.private_key_pem.write_to_path(str(key))
    with RawServer(answer(), tls=context) as server:
        for given in (str(both), (str(both), str(key))):
            answered(exchange(connect(server.url, ca_bundle=ca_bundle, client_cert=given)))
        failed(exchange(connect(server.url, ca_bundle=ca_bundle)))


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_names_the_bundle(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str, variable: str
) -> None:
    with RawServer(answer(), tls=server_tls) as server:
        answered(exchange(connect(server.url, environ={variable: ca_bundle})))


def test_the_configuration_wins_over_the_environment(ca_bundle: str) -> None:
    assert tls.choose_bundle(ca_bundle, {"REQUESTS_CA_BUNDLE": "/nowhere.pem"}) == ca_bundle


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ca_bundle": "/nowhere/ca.pem"}, "ca_bundle = '/nowhere/ca.pem'"),
        ({"environ": {"SSL_CERT_FILE": "/nowhere/ca.pem"}}, "SSL_CERT_FILE = '/nowhere/ca.pem'"),
        ({"client_cert": "/nowhere/me.pem"}, "client_cert = '/nowhere/me.pem'"),
        ({"client_cert": (__file__, "/nowhere/key.pem")}, "client_cert = '/nowhere/key.pem'"),
    ],
)
def test_a_file_that_does_not_exist_is_named(connect: Connect, settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        connect("https://api.test", **settings)
    assert named in str(caught.value)


def test_a_missing_bundle_of_the_environment_does_not_matter_without_tls(connect: Connect) -> None:
    connect("http://127.0.0.1:9", environ={"SSL_CERT_FILE": "/nowhere/ca.pem"})


def test_a_bundle_that_is_no_pem_is_a_failure_that_names_it(connect: Connect) -> None:
    failure = failed(exchange(connect("https://127.0.0.1:9", ca_bundle=__file__)))
    assert failure.fault is Fault.NETWORK
    assert __file__ in failure.message


def test_an_encrypted_client_key_is_a_failure_and_no_question_on_the_terminal(
    connect: Connect, authority: trustme.CA, ca_bundle: str, tmp_path: Path
) -> None:
    certificate = authority.issue_cert("client.test")
    path = tmp_path / "locked.pem"
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    path.write_bytes(locked + certificate.cert_chain_pems[0].bytes())
    failure = failed(exchange(connect("https://127.0.0.1:9", ca_bundle=ca_bundle, client_cert=str(path))))
    assert failure.fault is Fault.NETWORK
    assert "client_cert cannot be loaded" in failure.message


def test_two_hundred_transports_load_the_certificates_once(
    connect: Connect, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tls._make

    def count(bundle: str, client_cert: tls.ClientCertificate) -> ssl.SSLContext:
        made.append(bundle)
        return make(bundle, client_cert)

    monkeypatch.setattr(tls, "contexts", tls.Contexts())
    monkeypatch.setattr(tls, "_make", count)
    transports = [connect("https://127.0.0.1:9", ca_bundle=ca_bundle) for _ in range(200)]
    assert made == []
    for transport in transports:
        transport._adapter.open_pool()
    assert made == [ca_bundle]
