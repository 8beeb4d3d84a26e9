"""A healthy fake provider answers as the real one does, in all three dialects."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from failsafe.sim import VENDORS, Behaviour, FakeProvider, Healthy, ReceivedRequest
from failsafe.sim.record import Record
from tests.sim.sim_client import (
    ask,
    connected,
    headers_for,
    read_answer,
    request_bytes,
    session,
    text_in,
)

DIALECTS = ("openai", "anthropic", "gemini")
TOOLS: dict[str, Any] = {
    "openai": [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}],
    "anthropic": [{"name": "search", "input_schema": {"type": "object"}}],
    "gemini": [{"functionDeclarations": [{"name": "search"}]}],
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_vendor_echoes_the_prompt_under_its_own_name(vendor: str) -> None:
    with FakeProvider(vendor) as provider:
        answer = ask(provider, "what is new?")
    assert answer.status_code == 200
    assert text_in(provider, answer.json()) == f"provider {vendor} says: what is new?"


def test_an_openai_answer_has_the_shape_of_a_chat_completion() -> None:
    reply = Healthy(text="four words it is", cached_tokens=5, reasoning_tokens=7)
    with FakeProvider("openai", behaviour=Behaviour(reply)) as provider:
        answer = ask(provider).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "m-1"
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "four words it is", "refusal": None}
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 5}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 7}
    assert usage["prompt_tokens"] > 5, "cached tokens are counted inside"
    assert usage["completion_tokens"] == 7 + 4, "reasoning tokens are counted inside"
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_an_anthropic_answer_has_the_shape_of_a_message_and_counts_cached_tokens_outside() -> None:
    with FakeProvider("anthropic", behaviour=Behaviour(Healthy(cached_tokens=1000, reasoning="hm"))) as provider:
        answer = ask(provider).json()
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert answer["usage"]["cache_read_input_tokens"] == 1000
    assert answer["usage"]["input_tokens"] < 1000


def test_a_gemini_answer_has_the_shape_of_generate_content_and_counts_thoughts_outside() -> None:
    with FakeProvider("gemini", behaviour=Behaviour(Healthy(reasoning_tokens=9, reasoning="hm"))) as provider:
        answer = ask(provider).json()
    candidate = answer["candidates"][0]
    assert candidate["finishReason"] == "STOP"
    assert candidate["content"]["parts"][0] == {"text": "hm", "thought": True}
    usage = answer["usageMetadata"]
    assert usage["thoughtsTokenCount"] == 9
    total = usage["promptTokenCount"] + usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    assert usage["totalTokenCount"] == total
    assert answer["modelVersion"] == "m-1"


@pytest.mark.parametrize(
    ("finish", "openai", "anthropic", "gemini"),
    [
        ("length", "length", "max_tokens", "MAX_TOKENS"),
        ("content_filter", "content_filter", "refusal", "SAFETY"),
        ("missing", None, None, None),
    ],
)
def test_finish_reasons_are_said_in_each_dialects_words(
    finish: str, openai: str | None, anthropic: str | None, gemini: str | None
) -> None:
    found = []
    for dialect in DIALECTS:
        with FakeProvider(dialect, behaviour=Behaviour(Healthy(finish=finish))) as provider:
            found.append(ask(provider).json())
    assert found[0]["choices"][0]["finish_reason"] == openai
    assert found[1]["stop_reason"] == anthropic
    assert found[2]["candidates"][0].get("finishReason") == gemini


def test_a_refusal_is_said_in_each_dialects_way() -> None:
    found = []
    for dialect in DIALECTS:
        with FakeProvider(dialect, behaviour=Behaviour(Healthy(text="I cannot", finish="refusal"))) as provider:
            found.append(ask(provider).json())
    message = found[0]["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I cannot")
    assert (found[1]["stop_reason"], found[1]["content"]) == ("refusal", [])
    assert "candidates" not in found[2]
    assert found[2]["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tools_are_called_when_the_behaviour_wants_it_and_the_request_has_some(dialect: str) -> None:
    reply = Healthy(tool_calls=2, tool_arguments={"query": "now"})
    with FakeProvider(dialect, behaviour=Behaviour(reply)) as provider:
        called = ask(provider, tools=TOOLS[dialect]).json()
        talked = ask(provider).json()
    assert _calls(dialect, called) == [("search", {"query": "now"})] * 2
    assert text_in(provider, talked)


@pytest.mark.parametrize(
    ("dialect", "forced"),
    [
        ("openai", {"tool_choice": "required"}),
        ("openai", {"tool_choice": {"type": "function", "function": {"name": "search"}}}),
        ("anthropic", {"tool_choice": {"type": "any"}}),
        ("gemini", {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
    ],
)
def test_a_forced_tool_is_called_whatever_the_behaviour(dialect: str, forced: dict[str, Any]) -> None:
    with FakeProvider(dialect) as provider:
        answer = ask(provider, "weather", tools=TOOLS[dialect], **forced).json()
    assert _calls(dialect, answer) == [("search", {"query": "weather"})]


def _calls(dialect: str, answer: Any) -> list[tuple[str, Any]]:
    if dialect == "anthropic":
        assert answer["stop_reason"] == "tool_use"
        return [(block["name"], block["input"]) for block in answer["content"] if block["type"] == "tool_use"]
    if dialect == "gemini":
        calls = [part["functionCall"] for part in answer["candidates"][0]["content"]["parts"]]
        return [(call["name"], call["args"]) for call in calls]
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    functions = [call["function"] for call in choice["message"]["tool_calls"]]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


def test_mistral_gives_tool_call_ids_of_nine_letters_or_digits_and_takes_no_others() -> None:
    with FakeProvider("mistral", behaviour=Behaviour(Healthy(tool_calls=1))) as provider:
        answer = ask(provider, tools=TOOLS["openai"]).json()
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        assert len(call["id"]) == 9
        assert call["id"].isalnum()
        history = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call | {"id": "call_abc"}]},
            {"role": "tool", "tool_call_id": "call_abc", "content": "4"},
        ]
        refused = ask(provider, messages=history)
    assert refused.status_code == 400
    assert refused.json()["code"] == "3280"


@pytest.mark.parametrize(
    ("vendor", "path", "names"),
    [
        ("openai", "/models", lambda body: [each["id"] for each in body["data"]]),
        ("anthropic", "/v1/models?limit=1", lambda body: [each["id"] for each in body["data"]]),
        ("gemini", "/models?pageSize=1", lambda body: [each["name"] for each in body["models"]]),
    ],
)
def test_the_list_of_models_needs_the_key(vendor: str, path: str, names: Any) -> None:
    with FakeProvider(vendor, models=["m-1", "m-2"]) as provider, session() as client:
        good = client.get(provider.base_url + path, headers=headers_for(provider), timeout=2)
        bad = client.get(provider.base_url + path, headers=headers_for(provider, "wrong"), timeout=2)
    prefix = "models/" if vendor == "gemini" else ""
    assert names(good.json()) == [f"{prefix}m-1", f"{prefix}m-2"]
    assert bad.status_code in (400, 401)


def test_openrouter_tells_the_credit_left_and_shows_its_models_to_anybody() -> None:
    with FakeProvider("openrouter") as provider, session() as client:
        models = client.get(provider.base_url + "/models", timeout=2)
        refused = client.get(provider.base_url + "/key", timeout=2)
        account = client.get(provider.base_url + "/key", headers=headers_for(provider), timeout=2)
    assert (models.status_code, refused.status_code, account.status_code) == (200, 401, 200)
    assert account.json()["data"]["limit_remaining"] == 8.5


def test_health_needs_no_key() -> None:
    with FakeProvider("generic") as provider, session() as client:
        answer = client.get(f"http://127.0.0.1:{provider.port}/health", timeout=2)
    assert answer.json() == {"status": "ok"}


def test_a_connection_is_kept_for_many_requests() -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        for number in range(5):
            sock.sendall(request_bytes(provider, text=str(number)))
            _, body = read_answer(sock)
            assert text_in(provider, json.loads(body)) == f"provider openai says: {number}"
    assert provider.connections == 1
    assert provider.count() == 5


def test_two_requests_in_one_packet_are_both_answered() -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        request = request_bytes(provider).replace(b"Host: sim", b"Host: sim\r\nConnection: close")
        sock.sendall(request_bytes(provider) + request)
        read = b"".join(iter(lambda: sock.recv(65536), b""))
    assert read.count(b"HTTP/1.1 200 OK") == 2


def test_a_body_in_chunks_is_read() -> None:
    with FakeProvider("openai") as provider, session() as client:
        pieces = [b'{"model": "m", "messages": [', b'{"role": "user", "content": "in pieces"}', b"]}"]
        answer = client.post(
            provider.base_url + "/chat/completions", data=iter(pieces), headers=headers_for(provider), timeout=2
        )
    assert text_in(provider, answer.json()) == "provider openai says: in pieces"
    assert provider.requests[0].body == b"".join(pieces)


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        head, _, body = request_bytes(provider).partition(b"\r\n\r\n")
        sock.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert read_answer(sock)[0].startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_asks_to_close_is_told_so_and_the_connection_ends() -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        sock.sendall(request_bytes(provider).replace(b"Host: sim", b"Host: sim\r\nConnection: close"))
        head, _ = read_answer(sock)
        assert b"Connection: close" in head
        assert sock.recv(1) == b""


def test_sixty_four_clients_at_once_get_their_own_answers() -> None:
    answers: dict[int, str] = {}
    barrier = threading.Barrier(64, timeout=10)

    def client(number: int) -> None:
        with connected(provider) as sock:
            barrier.wait()
            for turn in range(3):
                sock.sendall(request_bytes(provider, text=f"{number}/{turn}"))
                answers[number * 3 + turn] = text_in(provider, json.loads(read_answer(sock)[1]))

    with FakeProvider("openai") as provider:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert provider.connections == 64
        assert provider.count() == 192
    assert answers == {n * 3 + t: f"provider openai says: {n}/{t}" for n in range(64) for t in range(3)}


def test_what_came_in_is_on_record() -> None:
    with FakeProvider("openai") as provider:
        ask(provider, "remember me", headers={"X-Trace": "t1"})
        (request,) = provider.requests
        raw = provider.bytes_received
    assert (request.method, request.path, request.query) == ("POST", "/v1/chat/completions", "")
    assert request.headers["x-trace"] == "t1"
    assert request.decoded["messages"][0]["content"] == "remember me"
    assert json.loads(request.body) == request.decoded
    assert request.connection == 1
    assert raw.endswith(request.body)
    assert provider.key.encode() in raw


def test_a_body_of_many_mebibytes_is_answered_and_kept_in_part() -> None:
    with FakeProvider("openai") as provider:
        answer = ask(provider, "x" * (3 * 1024 * 1024), timeout=10)
        (request,) = provider.requests
    assert len(text_in(provider, answer.json())) > 3 * 1024 * 1024
    assert len(request.body) == 1024 * 1024
    assert len(provider.bytes_received) < 3 * 1024 * 1024


def test_the_record_is_waited_for_without_polling() -> None:
    with FakeProvider("openai") as provider:
        assert not provider.wait_for_requests(1, timeout=0.01)
        client = threading.Thread(target=ask, args=(provider,))
        client.start()
        assert provider.wait_for_requests(1)
        assert provider.wait_for_connections(1)
        client.join(5)
    assert provider.count("/chat/completions") == 1
    assert provider.count("/models") == 0
    assert provider.count(matching=lambda request: request.method == "POST") == 1


def test_a_lone_surrogate_is_echoed_in_valid_json() -> None:
    with FakeProvider("openai") as provider, connected(provider) as sock:
        sock.sendall(request_bytes(provider, text="\ud800"))
        _, body = read_answer(sock)
    assert json.loads(body)["choices"][0]["message"]["content"].endswith("\ud800")


@pytest.mark.parametrize(
    ("vendor", "fields"),
    [
        (
            "openai",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]}]},
        ),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image"}]}]}),
        ("gemini", {"contents": [{"parts": [{"text": "hi"}, {"inlineData": {}}]}]}),
    ],
)
def test_the_text_among_other_parts_is_echoed(vendor: str, fields: dict[str, Any]) -> None:
    with FakeProvider(vendor) as provider:
        assert text_in(provider, ask(provider, **fields).json()) == f"provider {vendor} says: hi"


def test_a_conversation_with_tool_results_is_answered_to_its_last_user_text() -> None:
    anthropic = [
        {"role": "user", "content": "weather"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "search", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sun"}]},
    ]
    with FakeProvider("anthropic") as provider:
        assert text_in(provider, ask(provider, messages=anthropic).json()) == "provider anthropic says: weather"


def test_azure_takes_the_model_from_the_address_of_the_deployment() -> None:
    with FakeProvider("azure") as provider, session() as client:
        answer = client.post(
            f"http://127.0.0.1:{provider.port}/openai/deployments/mine/chat/completions?api-version=2024-10-21",
            json={"messages": [{"role": "user", "content": "hi"}]},
            headers=headers_for(provider),
            timeout=2,
        )
    assert answer.json()["model"] == "mine"


def test_the_record_is_bounded() -> None:
    record = Record()
    for number in range(8200):
        record.add_request(received(str(number), b""))
    assert (len(record.requests()), record.count()) == (8192, 8200)
    assert record.requests()[0].path == "8"
    for _ in range(70):
        record.add_request(received("long", b"x" * (1024 * 1024)))
    assert sum(len(request.body) for request in record.requests()) == 64 * 1024 * 1024
    for _ in range(20):
        record.add_bytes(b"x" * (1024 * 1024))
    assert len(record.raw()) == 16 * 1024 * 1024


def received(path: str, body: bytes) -> ReceivedRequest:
    return ReceivedRequest(
        method="POST", path=path, query="", headers={}, body=body, decoded=None, received_at=0.0, connection=1
    )
