"""Each delivery does to the socket what it says."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
import requests
import trustme

from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import ConfigError
from failsafe.sim import (
    Behaviour,
    BlankLines,
    BreakTls,
    Chunked,
    Close,
    CutBody,
    Delivery,
    DripBody,
    DripHeaders,
    EmptyMessage,
    EndlessBody,
    ErrorIn200,
    FakeProvider,
    GzipBomb,
    Gzipped,
    HalfJson,
    Hang,
    HugeBody,
    NeverRead,
    NoChoices,
    Page,
    Redirect,
    RefuseConnections,
    Reset,
    StallBody,
    Verbatim,
)
from tests.sim.sim_client import (
    address_for,
    ask,
    body_for,
    connected,
    headers_for,
    read_answer,
    read_to_end,
    request_bytes,
    session,
    text_in,
)

VENDORS = ("openai", "anthropic", "gemini")


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider("openai") as started:
        yield started


def deliver(provider: FakeProvider, delivery: Delivery) -> None:
    provider.behave(Behaviour(delivery=delivery))


def arrivals(sock: socket.socket, count: int) -> list[tuple[float, bytes]]:
    """The next *count* pieces, each with the time at which it came."""
    found = []
    for _ in range(count):
        data = sock.recv(65536)
        found.append((SYSTEM_CLOCK.monotonic(), data))
    return found


def test_hang_reads_the_request_and_says_nothing(provider: FakeProvider) -> None:
    deliver(provider, Hang())
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        assert provider.wait_for_requests(1)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_a_hanging_thread_ends_when_its_client_hangs_up(provider: FakeProvider) -> None:
    deliver(provider, Hang())
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        assert provider.wait_for_requests(1)
        assert provider.open_connections == 1
    for _ in range(200):
        if not provider.open_connections:
            break
        threading.Event().wait(0.01)
    assert provider.open_connections == 0


def test_close_ends_the_connection_in_good_order(provider: FakeProvider) -> None:
    deliver(provider, Close())
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        assert sock.recv(1) == b""


def test_reset_is_a_reset(provider: FakeProvider) -> None:
    deliver(provider, Reset())
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_drip_headers_sends_a_byte_an_interval(provider: FakeProvider) -> None:
    deliver(provider, DripHeaders(interval=0.02))
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        pieces = arrivals(sock, 8)
    assert b"".join(data for _, data in pieces) == b"HTTP/1.1"
    assert all(after - before > 0.01 for (before, _), (after, _) in pairwise(pieces[1:]))


@pytest.mark.parametrize(
    "delivery", [DripHeaders(interval=0), DripBody(interval=0), DripBody(interval=0, chunked=True)]
)
def test_a_drip_ends_in_the_whole_answer(provider: FakeProvider, delivery: Delivery) -> None:
    deliver(provider, delivery)
    assert text_in(provider, ask(provider).json()) == "provider openai says: hi"


def test_drip_body_sends_the_head_at_once_and_then_a_byte_an_interval(provider: FakeProvider) -> None:
    deliver(provider, DripBody(interval=0.02))
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        first, *rest = arrivals(sock, 5)
    assert b"Content-Length: " in first[1]
    assert first[1].endswith((b"\r\n\r\n", b"\r\n\r\n{"))
    assert [len(data) for _, data in rest] == [1, 1, 1, 1]


def test_endless_chunks_go_on(provider: FakeProvider) -> None:
    deliver(provider, EndlessBody(interval=0, size=1024))
    with session() as client:
        answer = client.post(
            address_for(provider), json=body_for(provider), headers=headers_for(provider), timeout=2, stream=True
        )
        read = 0
        for piece in answer.iter_content(65536):
            read += len(piece)
            if read > 1024 * 1024:
                break
        answer.close()
    assert read > 1024 * 1024


def test_blank_lines_come_before_the_answer(provider: FakeProvider) -> None:
    deliver(provider, BlankLines(interval=0.001, count=3))
    answer = ask(provider)
    assert answer.content.startswith(b"\n\n\n{")
    assert text_in(provider, answer.json())


def test_chunks_and_gzip_are_ordinary_answers(provider: FakeProvider) -> None:
    deliver(provider, Chunked(size=3))
    chunked = ask(provider)
    deliver(provider, Gzipped())
    packed = ask(provider)
    assert chunked.headers["Transfer-Encoding"] == "chunked"
    assert packed.headers["Content-Encoding"] == "gzip"
    assert text_in(provider, chunked.json()) == text_in(provider, packed.json()) == "provider openai says: hi"


def test_a_body_is_cut_under_its_content_length(provider: FakeProvider) -> None:
    deliver(provider, CutBody(share=0.5))
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        head, _, body = read_to_end(sock).partition(b"\r\n\r\n")
    promised = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    assert len(body) == promised // 2


def test_a_cut_body_is_never_whole(provider: FakeProvider) -> None:
    deliver(provider, CutBody(share=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask(provider)


def test_a_chunked_body_ends_without_its_last_chunk(provider: FakeProvider) -> None:
    deliver(provider, CutBody(share=1, framing="chunked"))
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        data = read_to_end(sock)
    assert b"Transfer-Encoding: chunked" in data
    assert data.endswith(b"}\r\n")
    assert not data.endswith(b"0\r\n\r\n")


def test_a_body_without_framing_shows_its_cut_by_content_alone(provider: FakeProvider) -> None:
    deliver(provider, CutBody(framing="none"))
    answer = ask(provider)
    assert "Content-Length" not in answer.headers
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()


def test_a_body_is_reset_in_the_middle(provider: FakeProvider) -> None:
    deliver(provider, CutBody(reset=True))
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)


def test_a_body_stalls_in_the_middle(provider: FakeProvider) -> None:
    deliver(provider, StallBody())
    with pytest.raises(requests.exceptions.ConnectionError, match="Read timed out"):
        ask(provider, timeout=0.1)


def test_never_read_stalls_a_large_request_while_it_is_sent(provider: FakeProvider) -> None:
    deliver(provider, NeverRead())
    with connected(provider) as sock:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.sendall(b"x" * (64 * 1024 * 1024))
    assert provider.bytes_received == b""


def test_never_read_also_holds_on_an_open_connection(provider: FakeProvider) -> None:
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        read_answer(sock)
        deliver(provider, NeverRead())
        sock.sendall(request_bytes(provider))
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    assert provider.count() == 1


def test_refuse_closes_the_port_resets_the_connections_and_opens_the_same_port_again(provider: FakeProvider) -> None:
    port = provider.port
    with connected(provider) as idle:
        idle.sendall(request_bytes(provider))
        read_answer(idle)
        deliver(provider, RefuseConnections())
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=1)
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    provider.behave(Behaviour())
    assert provider.port == port
    assert ask(provider).status_code == 200


def test_refuse_also_resets_a_connection_that_is_hanging_or_being_written_to(provider: FakeProvider) -> None:
    deliver(provider, Hang())
    with connected(provider) as hanging:
        hanging.sendall(request_bytes(provider))
        assert provider.wait_for_requests(1)
        provider.behave(Behaviour(HugeBody(mebibytes=64)))
        with connected(provider) as reading:
            reading.sendall(request_bytes(provider))
            reading.recv(10)
            deliver(provider, RefuseConnections())
            with pytest.raises(ConnectionResetError):
                hanging.recv(1)
            with pytest.raises(ConnectionResetError):
                read_to_end(reading)


@pytest.mark.parametrize("vendor", VENDORS)
def test_half_a_json_fits_its_content_length(vendor: str) -> None:
    with FakeProvider(vendor, behaviour=Behaviour(HalfJson())) as provider:
        answer = ask(provider)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_error_comes_under_200(vendor: str) -> None:
    with FakeProvider(vendor, behaviour=Behaviour(ErrorIn200())) as provider:
        answer = ask(provider)
    assert answer.status_code == 200
    assert answer.json()["error"]["message"]


def test_choices_are_missing_in_each_dialect() -> None:
    found = {}
    for vendor in VENDORS:
        with FakeProvider(vendor, behaviour=Behaviour(NoChoices())) as provider:
            found[vendor] = ask(provider).json()
    assert found["openai"]["choices"] == []
    assert "content" not in found["anthropic"]
    assert found["gemini"]["candidates"] == []
    assert "promptFeedback" not in found["gemini"]


def test_a_message_is_empty_in_each_dialect() -> None:
    found = {}
    for vendor in VENDORS:
        with FakeProvider(vendor, behaviour=Behaviour(EmptyMessage())) as provider:
            found[vendor] = ask(provider).json()
    (choice,) = found["openai"]["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, None)
    assert (found["anthropic"]["content"], found["anthropic"]["stop_reason"]) == ([], None)
    assert found["gemini"]["candidates"] == [{"index": 0}]


def test_the_lists_of_models_have_no_choices_to_lose(provider: FakeProvider) -> None:
    with session() as client:
        for answer in (NoChoices(), EmptyMessage(), HugeBody(), GzipBomb()):
            provider.behave(Behaviour(answer))
            listed = client.get(provider.base_url + "/models", headers=headers_for(provider), timeout=2)
            assert listed.json() == {"object": "list", "data": []}


@pytest.mark.parametrize("status", [200, 403, 502])
def test_a_page_is_html(provider: FakeProvider, status: int) -> None:
    provider.behave(Behaviour(Page(status=status)))
    answer = ask(provider)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_its_target(provider: FakeProvider, status: int) -> None:
    provider.behave(Behaviour(Redirect(location="http://127.0.0.1:1/elsewhere", status=status)))
    answer = ask(provider)
    assert (answer.status_code, answer.headers["Location"]) == (status, "http://127.0.0.1:1/elsewhere")


def test_anything_else_can_be_said_verbatim(provider: FakeProvider) -> None:
    provider.behave(
        Behaviour(Verbatim(status=404, body=b"none", content_type="text/plain", headers=(("X-Request-Id", "mine"),)))
    )
    answer = ask(provider)
    assert (answer.status_code, answer.text, answer.headers["x-request-id"]) == (404, "none", "mine")


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_huge_body_is_as_long_as_promised_and_well_formed(vendor: str) -> None:
    with FakeProvider(vendor, behaviour=Behaviour(HugeBody(mebibytes=3))) as provider:
        answer = ask(provider, timeout=10)
    assert len(answer.content) == int(answer.headers["Content-Length"])
    assert text_in(provider, answer.json()) == "x" * (3 * 1024 * 1024)


def test_a_gzip_bomb_is_small_on_the_wire_and_well_formed(provider: FakeProvider) -> None:
    provider.behave(Behaviour(GzipBomb(mebibytes=8), delivery=Chunked(size=65536)))
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider).replace(b"Host: sim", b"Host: sim\r\nConnection: close"))
        head, _, wire = read_to_end(sock).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert len(wire) < 100_000
    packed = wire.partition(b"\r\n")[2].removesuffix(b"\r\n0\r\n\r\n")
    unpacked = gzip.decompress(packed)  # checks length and checksum too
    assert text_in(provider, json.loads(unpacked)) == "x" * (8 * 1024 * 1024)


def test_a_provider_speaks_tls(tmp_path: object) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with FakeProvider("openai", tls=context) as provider:
        assert provider.base_url.startswith("https://127.0.0.1:")
        with connected(provider) as plain, trusting.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            sock.sendall(request_bytes(provider))
            assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 OK")
        with connected(provider) as plain, pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
        assert provider.key.encode() in provider.bytes_received, "kept as decrypted"


def test_a_provider_that_speaks_tls_stops_in_the_middle_of_a_handshake() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FakeProvider("openai", tls=context) as provider, connected(provider) as sock:
        assert provider.wait_for_connections(1)
        provider.stop()
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("garbage", ssl.SSLError),
        ("alert", ssl.SSLError),
        ("close", (ssl.SSLError, ConnectionError)),
        ("reset", ConnectionResetError),
        ("stall", TimeoutError),
    ],
)
def test_a_tls_handshake_fails(provider: FakeProvider, how: str, error: type[Exception]) -> None:
    deliver(provider, BreakTls(how=how))
    with connected(provider) as plain:
        plain.settimeout(0.2)
        with pytest.raises(error):
            ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
    assert provider.https_base_url.startswith("https://")
    assert provider.count() == 0


def test_a_broken_handshake_leaves_old_connections_alone(provider: FakeProvider) -> None:
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        read_answer(sock)
        deliver(provider, BreakTls())
        sock.sendall(request_bytes(provider))
        assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 OK")


def test_a_reaction_needs_a_known_kind() -> None:
    with pytest.raises(ConfigError, match="answer"):
        Behaviour("hang")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="delivery"):
        Behaviour(delivery="hang")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no request can be picked"):
        Behaviour(delivery=RefuseConnections(), every=2)
