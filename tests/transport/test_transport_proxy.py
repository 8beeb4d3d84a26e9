"""Proxies: chosen once, bound by the deadline, and their passwords never shown."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable

import pytest

from failsafe.errors import ConfigError
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.transport.proxies import Route, choose_proxy, route
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import DEADLINE, answered, exchange, failed, late
from tests.transport.raw_server import Peer, RawServer, Script, answer, answer_once

Connect = Callable[..., RequestsTransport]
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


def tunnel_to(port: int) -> Script:
    """A proxy that opens a tunnel to a port of this machine, whatever it is asked for."""

    def script(peer: Peer) -> None:
        peer.read_request()
        with socket.create_connection(("127.0.0.1", port)) as onward:
            peer.send(TUNNEL)
            _relay(peer.sock, onward)

    return script


def _relay(left: socket.socket, right: socket.socket) -> None:
    others = {left: right, right: left}
    while True:
        pending = [sock for sock in others if isinstance(sock, ssl.SSLSocket) and sock.pending()]
        for sock in pending or select.select(list(others), [], [])[0]:
            data = sock.recv(65536)
            if not data:
                return
            others[sock].sendall(data)


@pytest.mark.parametrize("proxy_speaks_tls", [False, True], ids=["http-proxy", "https-proxy"])
def test_tls_goes_through_a_tunnel(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str, proxy_speaks_tls: bool
) -> None:
    with (
        RawServer(answer(), tls=server_tls) as server,
        RawServer(tunnel_to(server.port), tls=server_tls if proxy_speaks_tls else None) as proxy,
    ):
        through = proxy.url.replace("//", "//user:p%40ss@")
        transport = connect("https://localhost:7", ca_bundle=ca_bundle, proxy=through)
        for _ in range(2):
            assert answered(exchange(transport)).body == b"{}"
        assert len(proxy.requests) == 1
        assert proxy.requests[0].startswith(b"CONNECT localhost:7 HTTP/1.")
        assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.requests[0]
        assert b"MARKED" not in proxy.requests[0]
        assert server.connections == 1
        assert all(b"Proxy-Authorization" not in request for request in server.requests)


def test_tls_within_tls_keeps_the_deadline(connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str) -> None:
    def drip(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        peer.drip(b" ")

    with (
        RawServer(drip, tls=server_tls) as server,
        RawServer(tunnel_to(server.port), tls=server_tls) as proxy,
    ):
        failure = late(connect("https://localhost:7", ca_bundle=ca_bundle, proxy=proxy.url))
    assert (failure.fault, failure.phase) == (Fault.TIMEOUT, Phase.READ)


def test_a_handshake_that_stalls_behind_the_tunnel_is_late(
    connect: Connect, server_tls: ssl.SSLContext, ca_bundle: str
) -> None:
    with (
        RawServer(lambda peer: peer.hang()) as server,
        RawServer(tunnel_to(server.port), tls=server_tls) as proxy,
    ):
        failure = late(connect("https://localhost:7", ca_bundle=ca_bundle, proxy=proxy.url))
    assert (failure.fault, failure.phase) == (Fault.CONNECT_TIMEOUT, Phase.TLS)


def test_a_plain_request_is_forwarded_with_its_whole_url(connect: Connect) -> None:
    with RawServer(answer()) as proxy:
        transport = connect("http://api.test:81/v1", proxy=proxy.url, query={"v": "2"})
        answered(exchange(transport))
    assert proxy.requests[0].startswith(b"POST http://api.test:81/v1/chat?v=2 HTTP/1.1\r\nHost: api.test:81\r\n")


def test_a_proxy_that_refuses_is_named_by_its_status(connect: Connect, ca_bundle: str) -> None:
    with RawServer(answer_once(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")) as proxy:
        through = proxy.url.replace("//", "//user:PROXYSECRET@")
        failure = failed(exchange(connect("https://api.test", ca_bundle=ca_bundle, proxy=through)))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.PROXY, False)
    assert failure.message == "the proxy refused the way to api.test:443 with status 407"


@pytest.mark.parametrize("spoilt", [b"", b"garbage\r\n\r\n"], ids=["closed", "garbage"])
def test_a_proxy_that_talks_nonsense_is_no_connection(connect: Connect, ca_bundle: str, spoilt: bytes) -> None:
    with RawServer(answer_once(spoilt)) as proxy:
        failure = failed(exchange(connect("https://api.test", ca_bundle=ca_bundle, proxy=proxy.url)))
    assert (failure.fault, failure.phase, failure.maybe_billed) == (Fault.NETWORK, Phase.PROXY, False)


def test_a_proxy_that_is_not_there_is_named_without_its_password(connect: Connect, ca_bundle: str) -> None:
    transport = connect("https://api.test", ca_bundle=ca_bundle, proxy="http://user:PROXYSECRET@127.0.0.1:1")
    failure = failed(exchange(transport, timeout=DEADLINE))
    assert (failure.fault, failure.message) == (Fault.NETWORK, "connection refused by 127.0.0.1:1")
    assert "PROXYSECRET" not in repr(transport)


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://upper:1"}, "http://upper:1"),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "http://lower:1"),
        ({"http_proxy": "http://plain:1"}, None),
        ({"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ({"all_proxy": "http://all:1", "https_proxy": "http://one:1"}, "http://one:1"),
        ({"https_proxy": "bare:3128"}, "http://bare:3128"),
        ({"https_proxy": "http://p:1", "no_proxy": "api.test"}, None),
        ({"https_proxy": "http://p:1", "NO_PROXY": "other.test, .test"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "pi.test"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "api.test:8443"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "api.test:443"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, None),
        ({"https_proxy": "http://p:1", "no_proxy": "API.Test"}, None),
    ],
)
def test_the_environment_chooses_the_proxy(environ: dict[str, str], chosen: str | None) -> None:
    assert choose_proxy("https://api.test:8443/v1", None, environ) == chosen


@pytest.mark.parametrize(
    ("url", "proxy", "environ", "found"),
    [
        ("https://api.test", None, {}, Route(None)),
        ("https://api.test", "http://ours:2", {"https_proxy": "http://p:1"}, Route("http://ours:2", "proxy")),
        ("https://api.test", None, {"HTTPS_PROXY": "http://p:1"}, Route("http://p:1", "HTTPS_PROXY")),
        (
            "https://api.test",
            None,
            {"ALL_PROXY": "http://p:1", "NO_PROXY": ".test"},
            Route(None, "ALL_PROXY", "NO_PROXY"),
        ),
        ("http://127.0.0.1:9", None, {"http_proxy": "socks5://p:1"}, Route(None, "http_proxy", "loopback")),
    ],
)
def test_what_names_the_proxy_and_what_keeps_from_it_is_told(
    url: str, proxy: str | None, environ: dict[str, str], found: Route
) -> None:
    assert route(url, proxy, environ) == found


@pytest.mark.parametrize(
    ("host", "no_proxy", "bypassed"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]", "10.0.0.0/8", False),
        ("10.1.2.3", "3", False),
    ],
)
def test_no_proxy_covers_addresses_and_networks(host: str, no_proxy: str, bypassed: bool) -> None:
    chosen = choose_proxy(f"http://{host}:1", None, {"http_proxy": "http://p:1", "no_proxy": no_proxy})
    assert (chosen is None) is bypassed


def test_the_configuration_wins_over_the_environment_and_its_exceptions() -> None:
    environ = {"https_proxy": "http://env:1", "no_proxy": "*"}
    assert choose_proxy("https://api.test", "http://ours:2", environ) == "http://ours:2"


def test_a_header_of_a_cgi_request_is_no_proxy() -> None:
    environ = {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}
    assert choose_proxy("http://api.test", None, environ) is None


@pytest.mark.parametrize("value", ["socks5://user:PROXYSECRET@p:1", "ftp://PROXYSECRET@p", "http://", "http://p:port"])
@pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(connect: Connect, variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable) as caught:
        connect("https://api.test", environ={variable: value})
    assert "PROXYSECRET" not in str(caught.value)


def test_an_environment_proxy_is_used(connect: Connect) -> None:
    with RawServer(answer()) as proxy:
        answered(exchange(connect("http://api.test", environ={"http_proxy": proxy.url})))
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_a_server_on_this_machine_is_never_asked_through_the_environments_proxy(host: str) -> None:
    """``HTTP_PROXY`` without ``NO_PROXY`` would hand the prompts for a local server to a machine elsewhere."""
    assert (
        choose_proxy(f"http://{host}:11434/v1", None, {"HTTP_PROXY": "http://proxy:1", "ALL_PROXY": "http://all:1"})
        is None
    )


def test_the_key_for_a_server_on_this_machine_never_reaches_the_environments_proxy(connect: Connect) -> None:
    with RawServer(answer()) as server, RawServer(answer()) as proxy:
        answered(exchange(connect(server.url, environ={"http_proxy": proxy.url, "ALL_PROXY": proxy.url})))
        assert (len(server.requests), proxy.connections) == (1, 0)
