"""What goes over the wire, and what never does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import responses
from responses import matchers

from failsafe import __version__
from failsafe.config import ProviderConfig
from failsafe.deadline import Deadline
from failsafe.errors import ConfigError
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.secret import Secret
from failsafe.transport.adapter import Headers
from failsafe.transport.base import Limits
from failsafe.transport.requests_transport import RequestsTransport
from tests.transport.exchanges import BODY, KEY, answered, exchange, failed
from tests.transport.raw_server import OK, Peer, RawServer, answer, answer_once

Connect = Callable[..., RequestsTransport]
URL = "https://api.test/v1/chat"


def sent(server: RawServer) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers (in lower case) and body of the last request."""
    head, _, body = server.requests[-1].partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    pairs = [field.split(": ", 1) for field in fields]
    assert len(pairs) == len({name.lower() for name, _ in pairs}), "a header was sent twice"
    return line, {name.lower(): value for name, value in pairs}, body


def test_a_request_is_its_body_its_headers_and_nothing_else(connect: Connect) -> None:
    with RawServer(answer()) as server:
        answered(exchange(connect(f"{server.url}/v1/")))
        assert sent(server) == (
            "POST /v1/chat HTTP/1.1",
            {
                "host": f"127.0.0.1:{server.port}",
                "user-agent": f"failsafe-llm/{__version__}",
                "accept": "application/json",
                "accept-encoding": "gzip",
                "content-type": "application/json",
                "content-length": str(len(BODY)),
                "authorization": f"Bearer {KEY}",
            },
            BODY,
        )


def test_a_get_has_no_body(connect: Connect) -> None:
    with RawServer(answer()) as server:
        answered(exchange(connect(server.url), body=None))
        line, headers, body = sent(server)
    assert (line, body) == ("GET /chat HTTP/1.1", b"")
    assert not {"content-length", "content-type", "transfer-encoding"} & headers.keys()


def test_an_empty_body_has_a_length(connect: Connect) -> None:
    with RawServer(answer()) as server:
        answered(exchange(connect(server.url), body=b""))
        assert sent(server)[1]["content-length"] == "0"


@pytest.mark.parametrize("content_type", [b"message/rfc822", b"multipart/mixed; boundary=x", b"text/html"])
def test_no_content_type_confuses_the_headers(connect: Connect, content_type: bytes) -> None:
    with RawServer(answer(OK.replace(b"\r\n\r\n", b"\r\nContent-Type: " + content_type + b"\r\n\r\n"))) as server:
        assert answered(exchange(connect(server.url))).headers["content-type"] == content_type.decode()


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_reached_and_named(connect: Connect) -> None:
    with RawServer(answer(), answer_once(b""), family=socket.AF_INET6) as server:
        transport = connect(f"http://[::1]:{server.port}", environ={"no_proxy": "::1"})
        answered(exchange(transport))
        assert sent(server)[1]["host"] == f"[::1]:{server.port}"
        transport.close()
        failure = failed(exchange(connect(f"http://[::1]:{server.port}")))
        assert f"[::1]:{server.port}" in failure.message


def test_without_a_deadline_an_answer_is_waited_for(connect: Connect) -> None:
    with RawServer(answer()) as server:
        outcome = connect(server.url).send("POST", "/chat", BODY, None, Limits(deadline=Deadline.unlimited()))
        assert answered(outcome).body == b"{}"


def test_headers_replace_ours_however_they_are_spelled(connect: Connect) -> None:
    with RawServer(answer()) as server:
        given = {"user-agent": "mine", "X-Api-KEY": "stale", "anthropic-version": "2023-06-01"}
        answered(exchange(connect(server.url, headers=given, auth_header="x-api-key", auth_prefix="")))
        headers = sent(server)[1]
    assert headers["user-agent"] == "mine"
    assert headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers


def test_without_a_key_no_authentication_is_sent(connect: Connect) -> None:
    with RawServer(answer()) as server:
        answered(connect(server.url).send("GET", "/models", None, None, Limits(deadline=Deadline.after(5))))
        assert "authorization" not in sent(server)[1]


def test_query_parameters_follow_every_path(connect: Connect) -> None:
    with RawServer(answer()) as server:
        transport = connect(server.url, query={"api-version": "2024-10-21", "x": "a b"})
        for path in ("/chat", "/chat?alt=sse"):
            answered(transport.send("POST", path, b"{}", None, Limits(deadline=Deadline.after(5))))
    lines = [request.split(b" ")[1] for request in server.requests]
    assert lines == [b"/chat?api-version=2024-10-21&x=a+b", b"/chat?alt=sse&api-version=2024-10-21&x=a+b"]


def test_a_redirect_is_an_answer_and_nobody_follows_it(connect: Connect) -> None:
    with RawServer(answer()) as trap:
        moved = b"HTTP/1.1 307 Moved\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % trap.url.encode()
        with RawServer(answer(moved)) as server:
            outcome = answered(exchange(connect(server.url)))
            assert (outcome.status, outcome.headers["location"]) == (307, f"{trap.url}/")
        assert trap.connections == 0


def test_retry_after_is_not_waited_for(connect: Connect) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\n{}"
    with RawServer(answer(busy)) as server:
        started = time.monotonic()  # noqa: TID251 -- measures a real socket
        assert answered(exchange(connect(server.url))).status == 503
        assert time.monotonic() - started < 1  # noqa: TID251
        assert len(server.requests) == 1


def test_netrc_does_not_replace_the_key(connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password NETRCSECRET\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(answer()) as server:
        answered(exchange(connect(server.url)))
        assert sent(server)[1]["authorization"] == f"Bearer {KEY}"


def test_cookies_are_not_sent_back(connect: Connect) -> None:
    baked = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\n{}"
    with RawServer(answer(baked)) as server:
        transport = connect(server.url)
        for _ in range(2):
            answered(exchange(transport))
        assert "cookie" not in sent(server)[1]
        assert len(transport._session.cookies) == 0


def test_head_and_body_leave_in_one_packet(connect: Connect) -> None:
    packets: list[bytes] = []

    def script(peer: Peer) -> None:
        packets.append(peer.sock.recv(65536))
        peer.send(OK)

    with RawServer(script) as server:
        answered(exchange(connect(server.url)))
    assert packets[0].endswith(BODY)


@pytest.mark.parametrize("key", ["sk-MARKED\r\nX-Evil: 1", "sk-MARKED\u20ac", "sk-MARKED\ud800"])
def test_a_key_that_is_no_header_is_not_sent_and_not_shown(connect: Connect, key: str) -> None:
    with RawServer(answer()) as server:
        outcome = connect(server.url).send("POST", "/chat", b"{}", Secret(key), Limits(deadline=Deadline.after(5)))
        failure = failed(outcome)
        assert (failure.fault, failure.maybe_billed) == (Fault.MISCONFIGURED, False)
        assert server.requests == []


@responses.activate
def test_responses_intercepts(connect: Connect) -> None:
    header = matchers.header_matcher({"Authorization": f"Bearer {KEY}"})
    body = matchers.json_params_matcher({"model": "m", "messages": []})
    responses.post(URL, json={"id": "1"}, headers={"X-Request-Id": "r"}, match=[header, body])
    outcome = answered(exchange(connect("https://api.test/v1")))
    assert (outcome.status, outcome.body, outcome.headers["x-request-id"]) == (200, b'{"id": "1"}', "r")
    call = responses.calls[0]
    assert isinstance(call.response, requests.Response)
    assert call.request.headers["AUTHORIZATION"] == f"Bearer {KEY}"
    assert (call.request.url, call.request.body) == (URL, BODY)
    assert not call.response.cookies


@responses.activate
def test_responses_can_send_redirects_and_errors(connect: Connect) -> None:
    responses.post(URL, status=302, headers={"Location": "https://evil.test/"})
    responses.post(URL, status=429, headers={"Retry-After": "7"})
    transport = connect("https://api.test/v1")
    assert [answered(exchange(transport)).status for _ in range(2)] == [302, 429]
    assert len(responses.calls) == 2


@responses.activate
@pytest.mark.parametrize(
    ("error", "fault", "phase"),
    [
        (requests.ConnectionError("MARKED"), Fault.NETWORK, Phase.CONNECT),
        (requests.ConnectTimeout("MARKED"), Fault.CONNECT_TIMEOUT, Phase.CONNECT),
        (requests.ReadTimeout("MARKED"), Fault.TIMEOUT, Phase.WAIT),
        (requests.exceptions.ChunkedEncodingError("MARKED"), Fault.TRUNCATED, Phase.READ),
        (requests.exceptions.SSLError("MARKED"), Fault.NETWORK, Phase.CONNECT),
    ],
)
def test_responses_can_raise(connect: Connect, error: Exception, fault: Fault, phase: Phase) -> None:
    responses.post(URL, body=error)
    failure = failed(exchange(connect("https://api.test/v1")))
    assert (failure.fault, failure.phase) == (fault, phase)


def test_header_look_ups_ignore_case() -> None:
    headers = Headers({"Content-Type": "x"})
    assert headers["content-type"] == headers["Content-Type"] == headers.get("CONTENT-TYPE") == "x"
    assert "content-TYPE" in headers
    assert "Accept" not in headers
    assert headers.get("accept", "none") == "none"
    with pytest.raises(KeyError):
        headers["accept"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.test",
        "ftp://api.test",
        "http://",
        "https://api.test:port",
        "http://api.test:0",
        "http://u:URLSECRET@h",
        "http://h?x=1",
        "http://[::1",
    ],
)
def test_a_base_url_that_is_none_is_refused(connect: Connect, url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        connect(url)
    assert "URLSECRET" not in str(caught.value)


def test_a_provider_configuration_becomes_a_transport() -> None:
    with RawServer(answer()) as server:
        config = ProviderConfig(
            name="mine", base_url=f"{server.url}/v1", dialect="openai", headers={"X-Org": "o"}, query={"v": "1"},
        )  # fmt: skip
        transport = RequestsTransport.for_provider(config)
        answered(exchange(transport))
        transport.close()
        line, headers, _ = sent(server)
    assert line == "POST /v1/chat?v=1 HTTP/1.1"
    assert headers["x-org"] == "o"


def test_the_repr_names_the_server(connect: Connect) -> None:
    assert repr(connect("https://api.test/v1")) == "<RequestsTransport https://api.test/v1>"
