"""Streams follow each dialect's grammar, and break where they are told to."""

from __future__ import annotations

import math
import socket
from typing import Any

import pytest
import requests

from failsafe.faults import Fault
from failsafe.sim import (
    Behaviour,
    CutBody,
    EmptyMessage,
    ErrorIn200,
    FakeProvider,
    Gzipped,
    HalfJson,
    Healthy,
    NoChoices,
    StreamShape,
)
from tests.sim.sim_client import ask, body_for, connected, events_in, headers_for, request_bytes, session

VENDORS = ("openai", "anthropic", "gemini")
TOOL = [{"type": "function", "function": {"name": "search"}}]


def streamed(vendor: str, *, reply: Healthy | None = None, **shape: Any) -> list[Any]:
    behaviour = Behaviour(reply or Healthy(text="Grüße aus Köln"), stream=StreamShape(**shape))
    with FakeProvider(vendor, behaviour=behaviour) as provider:
        return events_in(ask(provider, stream=True).content)


def text_of(vendor: str, events: list[Any]) -> str:
    if vendor == "anthropic":
        return "".join(each.get("delta", {}).get("text", "") for each in events)
    if vendor == "gemini":
        parts = [part for each in events for part in each["candidates"][0].get("content", {}).get("parts", [])]
        return "".join(part["text"] for part in parts)
    deltas = [choice["delta"] for each in events if each != "[DONE]" for choice in each["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "shape", [{}, {"newline": "\r\n"}, {"newline": "\r\n", "split": 1}, {"comments": 2, "comment_interval": 0}]
)
def test_the_pieces_make_up_the_text(vendor: str, shape: dict[str, Any]) -> None:
    assert text_of(vendor, streamed(vendor, **shape)) == "Grüße aus Köln"


def test_an_openai_stream_begins_with_the_role_and_ends_with_the_reason_and_done() -> None:
    *chunks, done = streamed("openai")
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all("usage" not in chunk for chunk in chunks)


def test_openai_sends_usage_in_a_chunk_of_its_own_when_asked() -> None:
    with FakeProvider("openai") as provider:
        answer = ask(provider, stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = events_in(answer.content)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0
    assert done == "[DONE]"


def test_openai_streams_a_tool_call_in_pieces() -> None:
    behaviour = Behaviour(Healthy(tool_calls=2, tool_arguments={"query": "wetter"}))
    with FakeProvider("openai", behaviour=behaviour) as provider:
        chunks = events_in(ask(provider, stream=True, tools=TOOL).content)[:-1]
    deltas = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["index"] for call in deltas] == [0, 0, 0, 1, 1, 1]
    assert [call["index"] for call in deltas if "id" in call] == [0, 1]
    arguments = "".join(call["function"]["arguments"] for call in deltas if call["index"] == 1)
    assert arguments == '{"query": "wetter"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_an_anthropic_stream_has_the_named_events_in_order() -> None:
    behaviour = Behaviour(Healthy(text="one two", reasoning="hm"), stream=StreamShape(pings=1))
    with FakeProvider("anthropic", behaviour=behaviour) as provider:
        answer = ask(provider, stream=True)
    names = [line.removeprefix("event: ") for line in answer.text.split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in events_in(answer.content)]
    assert names == [
        "message_start",
        "ping",
        *["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"],
        *["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"],
        "message_delta",
        "message_stop",
    ]
    events = events_in(answer.content)
    assert events[0]["message"]["content"] == []
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-2]["usage"]["output_tokens"] > 0
    assert [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"] == [
        *["thinking_delta", "signature_delta", "text_delta", "text_delta"]
    ]


def test_anthropic_streams_a_tool_call_whose_first_piece_is_empty() -> None:
    behaviour = Behaviour(Healthy(tool_calls=1, tool_arguments={"query": "weather"}))
    with FakeProvider("anthropic", behaviour=behaviour) as provider:
        events = events_in(ask(provider, stream=True, tools=[{"name": "search"}]).content)
    (start,) = [event for event in events if event["type"] == "content_block_start"]
    assert (start["content_block"]["name"], start["content_block"]["input"]) == ("search", {})
    pieces = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert pieces[0] == ""
    assert "".join(pieces) == '{"query": "weather"}'


def test_a_gemini_stream_has_partial_answers_and_a_reason_at_the_end() -> None:
    events = streamed("gemini")
    reasons = [event["candidates"][0].get("finishReason") for event in events]
    assert reasons == [None] * (len(events) - 1) + ["STOP"]
    assert all(event["usageMetadata"]["totalTokenCount"] for event in events)


def test_gemini_without_alt_sse_sends_one_json_array() -> None:
    with FakeProvider("gemini") as provider, session() as client:
        answer = client.post(
            f"{provider.base_url}/models/m:streamGenerateContent",
            json=body_for(provider),
            headers=headers_for(provider),
            timeout=2,
        )
    assert answer.headers["Content-Type"] == "application/json"
    assert [each["candidates"][0].get("finishReason") for each in answer.json()][-1] == "STOP"


def test_azures_first_chunk_is_empty_and_groq_adds_its_own_usage() -> None:
    first, *_ = streamed("azure")
    assert (first["choices"], first["id"]) == ([], "")
    assert "prompt_filter_results" in first
    *_, last, _ = streamed("groq")
    assert last["x_groq"]["usage"]["total_tokens"] > 0


def test_groq_names_the_request_in_its_first_chunk() -> None:
    first, *rest = streamed("groq")[:-1]
    assert first["x_groq"] == {"id": rest[-1]["x_groq"]["id"]}
    assert all("x_groq" not in chunk for chunk in rest[:-1])


def test_azures_filter_has_a_choice_without_a_delta() -> None:
    *_, verdict, last, _ = streamed("azure")
    assert "delta" not in verdict["choices"][0]
    assert verdict["choices"][0]["content_filter_results"]
    assert last["choices"][0]["finish_reason"] == "stop"


def test_the_first_delta_is_that_of_the_vendor() -> None:
    firsts = {vendor: streamed(vendor)[0]["choices"][0]["delta"] for vendor in ("openai", "generic", "mistral")}
    assert firsts == {
        "openai": {"role": "assistant", "content": "", "refusal": None},
        "generic": {"role": "assistant", "content": None},
        "mistral": {"role": "assistant", "content": ""},
    }


def test_mistral_puts_thinking_into_the_content_and_sends_tool_calls_whole() -> None:
    reply = Healthy(text="so", reasoning="hm")
    chunks = streamed("mistral", reply=reply)[:-1]
    contents = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    assert contents == ["", [thinking], "so", None]
    assert chunks[-1]["usage"]["total_tokens"] > 0, "without being asked"
    with FakeProvider("mistral", behaviour=Behaviour(reply)) as provider:
        whole = ask(provider).json()["choices"][0]["message"]["content"]
        assert whole == [thinking, {"type": "text", "text": "so"}]
        provider.behave(Behaviour(Healthy(tool_calls=1)))
        chunks = events_in(ask(provider, stream=True, tools=TOOL).content)[:-1]
        (piece,) = [chunk for chunk in chunks if chunk["choices"][0]["delta"].get("tool_calls")]
        (call,) = piece["choices"][0]["delta"]["tool_calls"]
        assert call["function"] == {"name": "search", "arguments": '{"query": "hi"}'}
        refused = ask(provider, stream=True, stream_options={"include_usage": True})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "stream_options"]


def test_openrouter_says_role_and_native_reason_in_each_chunk_and_ends_the_choice_with_an_error() -> None:
    chunks = streamed("openrouter", reply=Healthy(text="so", reasoning="hm"))[:-1]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert {choice["delta"]["role"] for choice in choices} == {"assistant"}
    assert choices[1]["delta"]["reasoning_details"][0]["text"] == choices[1]["delta"]["reasoning"] == "hm"
    assert choices[-1]["native_finish_reason"] == "stop"
    error = streamed("openrouter", error_after=1)[-1]
    assert (error["error"]["code"], error["choices"][0]["finish_reason"]) == (529, "error")


def test_deepseek_names_text_and_reasoning_in_each_delta() -> None:
    chunks = streamed("deepseek", reply=Healthy(text="so", reasoning="hm"))[:-1]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[1:3] == [{"reasoning_content": "hm", "content": None}, {"content": "so", "reasoning_content": None}]
    assert chunks[-1]["usage"]["prompt_cache_hit_tokens"] == 0


def test_reasoning_comes_before_the_text() -> None:
    chunks = streamed("deepseek", reply=Healthy(text="so", reasoning="hm"))[:-1]
    fields = [next(iter(chunk["choices"][0]["delta"]), None) for chunk in chunks]
    assert fields == ["role", "reasoning_content", "content", None]


def test_obfuscation_pads_each_chunk() -> None:
    assert all(chunk["obfuscation"] for chunk in streamed("openai", obfuscation=True)[:-1])


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_end_marker_and_the_reason_can_be_left_out(vendor: str) -> None:
    text = str(streamed(vendor, done=False, finish=False))
    for marker in ("[DONE]", "message_stop", "'stop'", "end_turn", "STOP"):
        assert marker not in text


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_error_ends_the_stream_in_the_middle(vendor: str) -> None:
    events = streamed(vendor, error_after=2, error=Fault.OVERLOADED)
    assert len(events) == 3
    assert events[-1]["error"]["message"]


def test_an_anthropic_error_event_is_named_so() -> None:
    behaviour = Behaviour(stream=StreamShape(error_after=1))
    with FakeProvider("anthropic", behaviour=behaviour) as provider:
        answer = ask(provider, stream=True)
    assert answer.status_code == 200
    assert "event: error\n" in answer.text
    assert events_in(answer.content)[-1]["error"]["type"] == "overloaded_error"


def test_an_error_can_come_first() -> None:
    (error,) = streamed("openai", error_after=0)
    assert error["error"]["code"] == "server_is_overloaded"


def test_a_gemini_error_can_be_bare_json_over_several_lines() -> None:
    behaviour = Behaviour(stream=StreamShape(error_after=1, error_form="bare"))
    with FakeProvider("gemini", behaviour=behaviour) as provider:
        text = ask(provider, stream=True).text
    assert text.endswith('"status": "UNAVAILABLE"\n  }\n}\n')
    assert len(text.partition("\n\n")[2].splitlines()) > 3


def test_a_clean_cut_is_a_proper_end_of_the_body() -> None:
    assert len(streamed("openai", cut_after=2)) == 2


def test_a_cut_by_closing_lacks_the_last_chunk() -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="ended prematurely"):
        streamed("openai", cut_after=2, cut="close")


def test_a_cut_by_reset_is_one() -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="reset"):
        streamed("openai", cut_after=2, cut="reset")


@pytest.mark.parametrize(
    "shape",
    [
        {"stall_after": 2},
        {"comments": math.inf, "comment_interval": 0.005},
        {"comments": math.inf, "comment": "", "comment_interval": 0.005},
    ],
)
def test_a_stream_can_bring_nothing_more(shape: dict[str, Any]) -> None:
    behaviour = Behaviour(stream=StreamShape(**shape))
    with FakeProvider("openai", behaviour=behaviour) as provider, connected(provider) as sock:
        sock.sendall(request_bytes(provider, stream=True))
        data = _read_for_a_moment(sock)
    assert data.count(b"data: ") == (2 if "stall_after" in shape else 0)


def _read_for_a_moment(sock: socket.socket) -> bytes:
    """What comes until there is silence, or enough to see that it will not end."""
    sock.settimeout(0.15)
    data = b""
    try:
        while data.partition(b"\r\n\r\n")[2].count(b"\n") < 20:
            data += sock.recv(4096)
    except TimeoutError:
        return data
    return data


def test_split_tears_characters_and_line_ends_apart() -> None:
    behaviour = Behaviour(Healthy(text="ü"), stream=StreamShape(split=1, newline="\r\n"))
    with FakeProvider("openai", behaviour=behaviour) as provider, session() as client:
        answer = client.post(
            f"{provider.base_url}/chat/completions",
            json=body_for(provider, stream=True),
            headers=headers_for(provider),
            timeout=2,
            stream=True,
        )
        pieces = list(answer.raw.read_chunked(amt=None, decode_content=False))
    assert {len(piece) for piece in pieces} == {1}
    assert "ü".encode() in b"".join(pieces)


def test_events_are_spaced_in_time() -> None:
    behaviour = Behaviour(Healthy(text="a b"), stream=StreamShape(interval=0.05))
    with FakeProvider("openai", behaviour=behaviour) as provider, connected(provider) as sock:
        sock.sendall(request_bytes(provider, stream=True))
        first = _read_events(sock)
        assert first < 3, "the later events are still to come"


def _read_events(sock: socket.socket) -> int:
    data = b""
    while b"data: " not in data:
        data += sock.recv(4096)
    return data.count(b"data: ")


def test_a_stream_can_come_in_gzip_or_be_cut_like_any_body() -> None:
    with FakeProvider("openai", behaviour=Behaviour(delivery=Gzipped())) as provider:
        assert events_in(ask(provider, stream=True).content)[-1] == "[DONE]"
        provider.behave(Behaviour(delivery=CutBody(framing="none")))
        assert b"[DONE]" not in ask(provider, stream=True).content


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_error_in_200_is_the_only_event_of_a_stream(vendor: str) -> None:
    with FakeProvider(vendor, behaviour=Behaviour(ErrorIn200())) as provider:
        (error,) = events_in(ask(provider, stream=True).content)
    assert error["error"]


@pytest.mark.parametrize("answer", [NoChoices(), EmptyMessage()])
@pytest.mark.parametrize("vendor", VENDORS)
def test_an_empty_answer_makes_an_empty_stream(vendor: str, answer: NoChoices | EmptyMessage) -> None:
    with FakeProvider(vendor, behaviour=Behaviour(answer)) as provider:
        assert text_of(vendor, events_in(ask(provider, stream=True).content)) == ""


def test_a_server_can_ignore_the_wish_for_a_stream() -> None:
    with FakeProvider("openai", behaviour=Behaviour(HalfJson())) as provider:
        answer = ask(provider, stream=True)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.content.startswith(b"{")
