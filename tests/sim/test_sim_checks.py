"""A fake provider refuses what the real one refuses, in the real one's words."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from failsafe.faults import Fault
from failsafe.providers.classify import classify
from failsafe.secret import Secret
from failsafe.sim import VENDORS, Behaviour, Error, FakeProvider
from failsafe.sim.vendors import fault_of
from tests.sim.sim_client import address_for, ask, body_for, connected, headers_for, read_answer, session

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("vendor", "status", "words"),
    [
        ("openai", 401, ("error", "code", "invalid_api_key")),
        ("anthropic", 401, ("error", "type", "authentication_error")),
        ("gemini", 400, ("error", "status", "INVALID_ARGUMENT")),
        ("deepseek", 401, ("error", "type", "authentication_error")),
        ("azure", 401, ("error", "code", "401")),
        ("openrouter", 401, ("error", "code", 401)),
        ("mistral", 401, ("code", "1600")),
        ("xai", 400, ("code", "Client specified an invalid argument")),
    ],
)
def test_a_wrong_key_is_refused_as_that_vendor_does_it(vendor: str, status: int, words: tuple[Any, ...]) -> None:
    with FakeProvider(vendor) as provider:
        answer = ask(provider, key="sk-wrong-0123456789abcdef")
    found = answer.json()
    for name in words[:-1]:
        found = found[name]
    assert (answer.status_code, found) == (status, words[-1])


def test_gemini_says_by_reason_that_the_key_is_wrong() -> None:
    with FakeProvider("gemini") as provider:
        (detail,) = ask(provider, key="wrong").json()["error"]["details"]
    assert detail["reason"] == "API_KEY_INVALID"


def test_openai_repeats_only_the_ends_of_a_wrong_key() -> None:
    with FakeProvider("openai") as provider:
        message = ask(provider, key="sk-proj-SECRETSECRETSECRET-tail").json()["error"]["message"]
    assert "sk-proj-" in message
    assert "SECRET" not in message


def test_a_key_can_be_echoed_whole_on_purpose() -> None:
    behaviour = Behaviour(Error(fault=Fault.AUTH, echo_key=True))
    with FakeProvider("openai", behaviour=behaviour) as provider:
        assert provider.key in ask(provider).text


def test_the_key_is_taken_from_the_vendors_own_header_only() -> None:
    with FakeProvider("openai") as provider, session() as client:
        answer = client.post(
            address_for(provider), json=body_for(provider), headers={"api-key": provider.key}, timeout=2
        )
    assert answer.status_code == 401


def test_several_keys_are_taken_and_none_means_any() -> None:
    with FakeProvider("openai", key=["k-1", "k-2"]) as provider:
        assert [ask(provider, key=key).status_code for key in ("k-1", "k-2", "k-3")] == [200, 200, 401]
    with FakeProvider("openai", key=None) as provider:
        assert ask(provider, key="whatever").status_code == 200


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_unknown_model_is_404(vendor: str) -> None:
    with FakeProvider(vendor, models=["m-1"]) as provider:
        assert ask(provider, model="m-1").status_code == 200
        answer = ask(provider, model="m-2")
    assert answer.status_code == 404
    known = classify(
        404, answer.headers, answer.content, vendor=vendor, dialect=provider.dialect, model="m-2", clock_time=0.0
    )
    assert known.fault is Fault.MODEL


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": None}, 400, None, "model"),
        ({"messages": None}, 400, "missing_required_parameter", "messages"),
        ({"messages": []}, 400, "empty_array", "messages"),
        ({"messages": [{"content": "hi"}]}, 400, None, "messages[0].role"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "4"}]}, 400, None, "messages[0].tool_call_id"),
        ({"priority": 3}, 400, "unknown_parameter", "priority"),
        ({"temperature": 2.5}, 400, "invalid_value", "temperature"),
        ({"tools": [3]}, 400, None, None),
        ({"model": "gpt-5", "max_tokens": 5}, 400, "unsupported_parameter", "max_tokens"),
        ({"model": "o3-mini", "max_tokens": 5}, 400, "unsupported_parameter", "max_tokens"),
        ({"model": "gpt-5.1", "temperature": 0.2}, 400, "unsupported_value", "temperature"),
        ({"model": "gpt-5", "max_completion_tokens": 5, "temperature": 1}, 200, None, None),
        ({"model": "gpt-4.1", "max_tokens": 5, "temperature": 0.2}, 200, None, None),
    ],
)
def test_openai_checks_the_body(fields: dict[str, Any], status: int, code: str | None, param: str | None) -> None:
    with FakeProvider("openai") as provider, session() as client:
        body = body_for(provider) | fields
        body = {name: value for name, value in body.items() if value is not None}
        answer = client.post(address_for(provider), json=body, headers=headers_for(provider), timeout=2)
    assert answer.status_code == status
    if status == 400:
        assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"seed": 3}, "seed: Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"model": "claude-opus-4-7", "temperature": 0.2}, "`temperature` is deprecated for this model."),
        ({"model": "claude-sonnet-5", "top_p": 0.2}, "`top_p` is deprecated for this model."),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, 'first message must use the "user" role'),
        ({"messages": [{"role": "system", "content": "hi"}]}, "Input should be 'user' or 'assistant'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
            "unexpected `tool_use_id`",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
    ],
)
def test_anthropic_checks_the_body(fields: dict[str, Any], words: str) -> None:
    with FakeProvider("anthropic") as provider, session() as client:
        body = {name: value for name, value in (body_for(provider) | fields).items() if value is not None}
        answer = client.post(address_for(provider), json=body, headers=headers_for(provider), timeout=2)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert words in answer.json()["error"]["message"]


def test_older_claude_models_take_a_temperature() -> None:
    with FakeProvider("anthropic") as provider:
        assert ask(provider, model="claude-haiku-4-5", temperature=0.2).status_code == 200
        assert ask(provider, model="claude-opus-4-5-20251101", temperature=0.2).status_code == 200


def test_anthropic_wants_its_version_header() -> None:
    with FakeProvider("anthropic") as provider, session() as client:
        headers = {"x-api-key": provider.key}
        answer = client.post(address_for(provider), json=body_for(provider), headers=headers, timeout=2)
    assert answer.json()["error"]["message"] == "anthropic-version: header is required"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "m-1"}, 'Unknown name "model"'),
        ({"generationConfig": {"maxTokens": 3}}, 'Unknown name "maxTokens"'),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "model", "parts": [{"text": "hi"}]}]}, "first content comes from the user"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "hi"}]}]}, "valid role"),
        ({"generationConfig": {"stopSequences": list("abcdef")}}, "at most 5"),
        ({"generationConfig": {"temperature": 3}}, "must be in [0.0, 2.0]"),
    ],
)
def test_gemini_checks_the_body(fields: dict[str, Any], words: str) -> None:
    with FakeProvider("gemini") as provider, session() as client:
        body = body_for(provider) | fields
        answer = client.post(address_for(provider), json=body, headers=headers_for(provider), timeout=2)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert words in answer.json()["error"]["message"]


def test_gemini_refuses_two_keys_at_once_and_takes_snake_case() -> None:
    with FakeProvider("gemini") as provider:
        assert ask(provider, headers={"Authorization": "Bearer x"}).status_code == 400
        assert ask(provider, system_instruction={"parts": [{"text": "be brief"}]}).status_code == 200


def test_mistral_answers_an_unknown_field_with_422_and_a_list_of_details() -> None:
    with FakeProvider("mistral") as provider:
        answer = ask(provider, seed=3)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "seed"]


def test_deepseek_knows_no_developer() -> None:
    with FakeProvider("deepseek") as provider:
        assert ask(provider, messages=[{"role": "developer", "content": "be brief"}, USER]).status_code == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "m", "temperature": NaN}', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_a_body_that_is_no_json_object_is_400(vendor: str, body: bytes) -> None:
    with FakeProvider(vendor) as provider, session() as client:
        answer = client.post(address_for(provider), data=body, headers=headers_for(provider), timeout=2)
    assert answer.status_code == 400


def test_other_paths_and_methods_are_refused_in_the_vendors_shape() -> None:
    with FakeProvider("openai") as provider, session() as client:
        headers = headers_for(provider)
        wrong_path = client.post(provider.base_url + "/completions", json={}, headers=headers, timeout=2)
        wrong_method = client.get(address_for(provider), headers=headers, timeout=2)
        no_account = client.get(f"http://127.0.0.1:{provider.port}/user/balance", headers=headers, timeout=2)
    assert [each.status_code for each in (wrong_path, wrong_method, no_account)] == [404, 405, 404]
    assert wrong_path.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00 hello\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nno header\r\n\r\n"]
)
def test_bytes_that_are_no_request_get_400_and_the_end(data: bytes) -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        sock.sendall(data)
        head, _ = read_answer(sock)
        assert head.startswith(b"HTTP/1.1 400 Bad Request")
        assert sock.recv(1) == b""
    assert provider.count() == 0


@pytest.mark.parametrize("length", [b"many", b"-1", b"999999999999"])
def test_a_bad_content_length_is_400(length: bytes) -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n")
        assert read_answer(sock)[0].startswith(b"HTTP/1.1 400 Bad Request")


CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED + b"many\r\n",
        CHUNKED + b"-5\r\n",
        CHUNKED + b"ffffffffff\r\n",
        CHUNKED + b"1" * 300_000,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000,
    ],
)
def test_bad_framing_is_400(data: bytes) -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        sock.sendall(data)
        assert read_answer(sock)[0].startswith(b"HTTP/1.1 400 Bad Request")


def test_chunks_with_trailers_are_read() -> None:
    with FakeProvider("openai", key=None) as provider, connected(provider) as sock:
        sock.sendall(CHUNKED + b"2;x=1\r\n{}\r\n0\r\nTrailer: yes\r\n\r\n")
        assert b"you must provide a model" in read_answer(sock)[1]


@pytest.mark.parametrize("length", [100, 100_000])
def test_a_request_that_stops_in_the_middle_is_none(length: int) -> None:
    with FakeProvider("openai") as provider:
        with connected(provider) as sock:
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n{" % length)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        assert provider.count() == 0


SAID_OTHERWISE = {
    ("gemini", Fault.MISCONFIGURED),  # NOT_FOUND, which is also what an unknown model gets
    ("gemini", Fault.CONTENT_FILTER),  # a blocked prompt is a 200 there
    ("openrouter", Fault.PERMISSION),  # its 403 is the content filter's
    ("together", Fault.PERMISSION),  # its 403 means a prompt that is too long
}
"""Faults that the vendor has no error of its own for."""

IN_WORDS = [
    Fault.SERVER, Fault.OVERLOADED, Fault.CONFLICT, Fault.RATE_LIMIT, Fault.QUOTA, Fault.AUTH, Fault.PERMISSION,
    Fault.MODEL, Fault.MISCONFIGURED, Fault.CONTEXT, Fault.UNSUPPORTED_PARAMETER, Fault.BAD_REQUEST,
    Fault.CONTENT_FILTER,
]  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_library_recognises_every_error_of_every_vendor(vendor: str) -> None:
    with FakeProvider(vendor) as provider:
        for fault in IN_WORDS:
            if (vendor, fault) in SAID_OTHERWISE:
                continue
            provider.behave(Behaviour(Error(fault=fault)))
            answer = ask(provider)
            known = classify(
                answer.status_code,
                answer.headers,
                answer.content,
                vendor=vendor,
                dialect=provider.dialect,
                model="m-1",
                clock_time=0.0,
                key=Secret(provider.key),
            )
            assert known.fault is fault, (vendor, fault, answer.text)


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 498, 500, 502, 503, 504, 529]
)
def test_any_status_can_be_asked_for(status: int) -> None:
    with FakeProvider("generic", behaviour=Behaviour(Error(status=status))) as provider:
        answer = ask(provider)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert (fault_of(status) in (Fault.SERVER, Fault.OVERLOADED)) == (status >= 498 or status == 408)
