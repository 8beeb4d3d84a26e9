"""Answering clients that speak OpenAI's chat completions."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from failsafe.chunks import ToolCallDelta
from failsafe.errors import (
    AllProvidersFailed,
    Cancelled,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    RateLimitReached,
    StreamInterrupted,
    UnsupportedParameter,
)
from failsafe.inbound.base import Format, Question
from failsafe.inbound.openai import OpenAIFormat
from failsafe.inbound.statuses import status_of
from failsafe.models import Answer, Reply, ToolCall, Usage
from failsafe.providers.base import Target
from failsafe.providers.openai import OpenAIDialect
from failsafe.request import build_request
from failsafe.testing import FakeClock
from tests.inbound.answers import Streamed, chunk, read_back, reply, said, streamed

NOW = 1_800_000_000
FORMAT: Format = OpenAIFormat(FakeClock(wall=NOW))
PATH = "/v1/chat/completions"
HELLO = {"role": "user", "content": "hello"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
PLAIN = Question(model="m", messages=[], stream=True)
COUNTED = Question(model="m", messages=[], stream=True, stream_usage=True)
CALL = ToolCall(id="call_1", name="weather", arguments="{}")
CALLED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
OPENAI = Target(provider="p", vendor="openai", model="m")
COUNTS = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def read(**fields: Any) -> Question:
    body = {"model": "gpt-x", "messages": [HELLO], **fields}
    before = copy.deepcopy(body)
    question = FORMAT.read(body, PATH)
    assert body == before
    return question


def refusal_of(**fields: Any) -> str:
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)
    return str(raised.value)


# -------------------------------------------------------------------------------------------------
# Reading
# -------------------------------------------------------------------------------------------------

SENT_AS_THEY_ARE: dict[str, Any] = {
    "temperature": 0.5, "top_p": 1, "stop": ["x"], "seed": 7, "presence_penalty": 1, "frequency_penalty": -1,
    "tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "json_object"},
    "reasoning_effort": "low", "logit_bias": {"50": -100}, "logprobs": True, "top_logprobs": 2, "user": "u",
    "metadata": {"a": "b"}, "max_tokens": 5,
}  # fmt: skip


def test_every_parameter_of_a_chat_keeps_its_name_and_value() -> None:
    question = read(**SENT_AS_THEY_ARE)
    assert question.parameters == SENT_AS_THEY_ARE
    assert question.extra == {}
    build_request(question.messages, question.model, question.parameters)


def test_messages_and_model_stay_as_they_are() -> None:
    messages = [{"role": "developer", "content": "Be brief."}, {**HELLO, "name": "bob"}]
    question = read(messages=messages)
    assert (question.model, question.messages) == ("gpt-x", messages)
    assert (question.stream, question.stream_usage) == (False, False)


def test_fields_that_only_openai_has_are_kept_apart() -> None:
    own = {"service_tier": "flex", "store": True, "prompt_cache_key": "k", "verbosity": "low", "safety_identifier": "s"}
    question = read(**own, temperature=1)
    assert question.extra == own
    assert question.parameters == {"temperature": 1}


HARMLESS: dict[str, Any] = {
    "n": 1, "store": False, "logprobs": False, "top_logprobs": 0, "service_tier": "auto", "modalities": ["text"],
    "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "metadata": {}, "stop": [], "tools": [],
    "response_format": {"type": "text"}, "user": "", "verbosity": "medium", "stream": False, "tool_choice": "auto",
    "parallel_tool_calls": True, "stream_options": {},
}  # fmt: skip


def test_what_happens_anyway_is_asked_of_no_provider() -> None:
    question = read(**HARMLESS)
    assert (question.parameters, question.extra, question.stream) == ({}, {}, False)


@pytest.mark.parametrize("name", [*SENT_AS_THEY_ARE, *HARMLESS, "prediction", "audio", "functions"])
def test_null_is_not_given(name: str) -> None:
    question = read(**{name: None})
    assert (question.parameters, question.extra, question.stream) == ({}, {}, False)


def test_a_number_is_no_flag_and_a_flag_no_number() -> None:
    assert "logprobs = 0" in _refused_by_the_request(logprobs=0)
    assert "presence_penalty = False" in _refused_by_the_request(presence_penalty=False)


def _refused_by_the_request(**fields: Any) -> str:
    question = read(**fields)
    with pytest.raises(InvalidRequest) as raised:
        build_request(question.messages, question.model, question.parameters, question.extra)
    return str(raised.value)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_tool_cannot_be_forced_where_none_is_given(choice: Any) -> None:
    assert "tool_choice" in _refused_by_the_request(tool_choice=choice)


def test_both_names_of_the_longest_answer_mean_one_thing() -> None:
    assert read(max_completion_tokens=5).parameters == {"max_tokens": 5}
    assert read(max_completion_tokens=5, max_tokens=5).parameters == {"max_tokens": 5}
    assert refusal_of(max_completion_tokens=5, max_tokens=6).startswith("max_tokens = 6: max_completion_tokens says")
    assert refusal_of(max_completion_tokens=0).startswith("max_completion_tokens = 0: ")
    assert refusal_of(max_tokens="5").startswith("max_tokens = '5': ")


def test_a_stream_says_whether_its_usage_is_wanted() -> None:
    assert (read(stream=True).stream, read(stream=True).stream_usage) == (True, False)
    asked = read(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})
    assert (asked.stream, asked.stream_usage, asked.extra) == (True, True, {})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": None}, "model = None"),
        ({"model": 5}, "model = 5"),
        ({"messages": None}, "messages = None"),
        ({"messages": "hi"}, "messages = 'hi'"),
        ({"stream": "yes"}, "stream = 'yes'"),
        ({"stream_options": True}, "stream_options = True"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage = 1"),
        ({"n": 2}, "n = 2: only 1 is answered"),
        ({"n": True}, "n = True"),
        ({"modalities": ["text", "audio"]}, "modalities = <list of 2>: only text is answered"),
        ({"web_search_options": {}}, "web_search_options = <dict with keys >: only OpenAI runs this"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation = <dict with keys 'model'>: only OpenAI"),
        ({"functions": []}, "functions = <list of 0>: this old form is not answered; send tools instead"),
        ({"function_call": "auto"}, "function_call = 'auto': this old form is not answered; send tool_choice"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_its_name(fields: dict[str, Any], said: str) -> None:
    message = refusal_of(**fields)
    assert message.startswith(said)
    assert message.endswith("nothing was sent")


@pytest.mark.parametrize("body", [None, [], "hi", 5])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^the body = "):
        FORMAT.read(body, PATH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "content"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*SENT_AS_THEY_ARE, *HARMLESS, "model", "messages", "functions"]), JSON))
def test_no_body_is_answered_by_another_error(fields: dict[str, Any]) -> None:
    try:
        question = FORMAT.read({"model": "m", "messages": [HELLO], **fields}, PATH)
        build_request(question.messages, question.model, question.parameters, question.extra, extra_for="openai")
    except InvalidRequest:
        return
    assert question.messages


# -------------------------------------------------------------------------------------------------
# Writing
# -------------------------------------------------------------------------------------------------


def client(status: int, content: bytes, kind: str) -> openai.OpenAI:
    """The official SDK, which is answered *content* whatever it asks."""
    answer = httpx2.Response(status, headers={"content-type": kind, "x-request-id": "req_1"}, content=content)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    return openai.OpenAI(api_key="k", max_retries=0, http_client=http)


def by_the_sdk(written: bytes) -> Any:
    """The completion that the SDK makes of a stream."""
    with (
        client(200, written, "text/event-stream") as sdk,
        sdk.chat.completions.stream(model="m", messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        try:
            return stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:  # it might have been meant to be parsed
            return cut.completion


def whole_by_the_sdk(status: int, content: Any) -> Any:
    with client(status, json.dumps(content).encode(), "application/json") as sdk:
        return sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])


def completion_said(completion: Any) -> dict[str, Any]:
    """What a completion of the SDK says, in the terms of :func:`tests.inbound.answers.said`."""
    (choice,) = completion.choices
    return {
        "content": choice.message.content or "",
        "reasoning": getattr(choice.message, "reasoning_content", None),
        "calls": [
            (call.id, call.function.name, json.loads(call.function.arguments))
            for call in choice.message.tool_calls or ()
        ],
        "finish_reason": choice.finish_reason,
    }


def write_stream(answer: Streamed, question: Question = PLAIN) -> bytes:
    writer = FORMAT.writer(question)
    return b"".join([*map(writer.chunk, answer.chunks), writer.end(answer.reply)])


def events(written: bytes) -> list[Any]:
    """The data of each event, but for the end marker, which must be there."""
    *data, end = written.decode().split("\n\n")[:-1]
    assert end == "data: [DONE]"
    return [json.loads(each.removeprefix("data: ")) for each in data]


def deltas(written: bytes) -> list[Any]:
    return [each["choices"][0]["delta"] for each in events(written) if each["choices"]]


@given(streamed(), st.sampled_from([PLAIN, COUNTED]))
def test_any_stream_is_put_together_by_the_sdk_to_what_the_reply_says(answer: Streamed, question: Question) -> None:
    completion = by_the_sdk(write_stream(answer, question))
    assert completion_said(completion) == said(answer.reply)
    whole = whole_by_the_sdk(200, FORMAT.write(answer.reply, question))
    assert completion.choices[0].message.content == whole.choices[0].message.content
    assert (completion.usage.to_dict() if completion.usage else None) == (COUNTS if question is COUNTED else None)


@given(streamed())
def test_any_stream_is_read_back_by_failsafe(answer: Streamed) -> None:
    read = read_back(write_stream(answer, COUNTED), OpenAIDialect(), OPENAI)
    assert said(read) == said(answer.reply)
    assert isinstance(read, Answer)
    assert read.usage == answer.reply.usage


@given(streamed())
def test_any_answer_is_the_same_whole(answer: Streamed) -> None:
    completion = whole_by_the_sdk(200, FORMAT.write(answer.reply, PLAIN))
    assert completion_said(completion) == said(answer.reply)
    assert (completion.model, completion.object, completion.created) == ("m-1", "chat.completion", NOW)
    assert completion.usage.to_dict() == COUNTS


@given(streamed(), st.sampled_from([PLAIN, COUNTED]))
def test_all_chunks_share_id_time_and_model(answer: Streamed, question: Question) -> None:
    chunks = events(write_stream(answer, question))
    assert len({(each["id"], each["object"], each["created"], each["model"]) for each in chunks}) == 1
    assert (chunks[0]["created"], chunks[0]["model"]) == (NOW, "m")
    assert [each["choices"][0]["finish_reason"] for each in chunks if each["choices"]].count(None) == len(
        [each for each in chunks if each["choices"]]
    ) - 1


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    written = write_stream(Streamed([chunk(text="a"), chunk(text="b")], reply(content="ab")))
    assert deltas(written) == [
        {"role": "assistant", "content": "", "refusal": None}, {"content": "a"}, {"content": "b"}, {},
    ]  # fmt: skip
    assert [each["choices"][0]["finish_reason"] for each in events(written)] == [None, None, None, "stop"]
    assert all("usage" not in each for each in events(written))


OWN_OF_A_STREAM: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-1", "system_fingerprint": "fp_1",
    "service_tier": "flex",
    "choices": [{
        "index": 0, "finish_reason": "stop",
        "logprobs": {"content": [{"token": "ab", "logprob": -0.5, "bytes": None, "top_logprobs": []}], "refusal": None},
        "message": {
            "role": "assistant", "content": "ab", "refusal": None, "reasoning": "Hm.", "function_call": None,
            "annotations": [{
                "type": "url_citation",
                "url_citation": {"start_index": 0, "end_index": 1, "title": "t", "url": "https://example.com"},
            }],
        },
    }],
    "usage": {"prompt_tokens": 20, "completion_tokens_details": {"accepted_prediction_tokens": 2}},
}  # fmt: skip


def test_what_no_piece_had_room_for_comes_with_the_last_one() -> None:
    """Log probabilities, citations and the like were lost in streams, and only there."""
    written = write_stream(
        Streamed([chunk(text="a"), chunk(text="b")], reply(content="ab", raw=OWN_OF_A_STREAM)), COUNTED
    )
    completion = by_the_sdk(written)
    choice = completion.choices[0]
    own = OWN_OF_A_STREAM["choices"][0]
    assert choice.logprobs.to_dict() == own["logprobs"]
    assert choice.message.to_dict()["annotations"] == own["message"]["annotations"]
    assert choice.message.content == "ab"
    assert completion.system_fingerprint == "fp_1"
    assert completion.usage.completion_tokens_details.accepted_prediction_tokens == 2
    last = events(written)[-2]
    assert last["service_tier"] == "flex"
    assert last["choices"][0]["delta"] == {"annotations": own["message"]["annotations"]}
    assert [each["choices"][0]["logprobs"] for each in events(written) if each["choices"]] == [
        None, None, None, own["logprobs"],
    ]  # fmt: skip


def test_no_character_of_an_answer_splits_the_line_of_its_event() -> None:
    """Clients that decode first (requests with decode_unicode, httpx) split where ``str.splitlines`` does."""
    text = "a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r\n\rdata: b\n\nevent: error\n"
    written = write_stream(Streamed([chunk(text=text), chunk(text="é€😀")], reply(content=text + "é€😀")))
    assert len(written.decode().splitlines()) == len(written.split(b"\n")) - 1
    assert by_the_sdk(written).choices[0].message.content == text + "é€😀"


def test_usage_comes_last_and_beside_no_choice_where_it_is_asked_for() -> None:
    *chunks, last = events(write_stream(Streamed([chunk(text="a")], reply(content="a")), COUNTED))
    assert [each["usage"] for each in chunks] == [None] * 3
    assert (last["choices"], last["usage"]) == ([], COUNTS)


def test_no_two_answers_have_one_id() -> None:
    assert len({FORMAT.write(reply(content="a"), PLAIN)["id"] for _ in range(100)}) == 100
    assert len({FORMAT.writer(PLAIN).end(reply()) for _ in range(100)}) == 100


def test_the_providers_own_id_is_kept() -> None:
    assert FORMAT.write(reply(content="a", id="msg_1"), PLAIN)["id"] == "msg_1"


def test_a_router_that_answers_itself_is_a_model_of_the_name_that_was_asked() -> None:
    assert FORMAT.write(reply(content="later", model="", asked_model="fast"), PLAIN)["model"] == "fast"


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({}, ""),
        ({"content": "a"}, "a"),
        ({"tool_calls": (CALL,), "finish_reason": "tool_calls"}, None),
        ({"content": "a", "tool_calls": (CALL,), "finish_reason": "tool_calls"}, "a"),
        ({"refusal": "no"}, None),
        ({"reasoning": "hm", "finish_reason": "length"}, ""),
    ],
)
def test_no_text_is_null_only_beside_what_stands_in_its_place(fields: dict[str, Any], content: str | None) -> None:
    whole = reply(**fields)
    message = FORMAT.write(whole, PLAIN)["choices"][0]["message"]
    assert message["content"] == content
    pieces = [
        chunk(reasoning=whole.reasoning or "", text=whole.content, refusal=whole.refusal or ""),
        *(chunk(tool_calls=(ToolCallDelta(index=0, id=call.id, name=call.name),)) for call in whole.tool_calls),
    ]
    streamed_message = by_the_sdk(write_stream(Streamed(pieces, whole))).choices[0].message
    assert streamed_message.content == content
    assert streamed_message.refusal == message["refusal"] == whole.refusal


def test_a_tool_call_is_named_once_in_its_first_piece() -> None:
    pieces = [
        chunk(tool_calls=(ToolCallDelta(index=0, id="call_1", name="weather"),)),
        chunk(tool_calls=(ToolCallDelta(index=0, arguments='{"a"'), ToolCallDelta(index=1, name="other"))),
        chunk(tool_calls=(ToolCallDelta(index=0, arguments=": 1}"),)),
    ]
    _, first, second, third, _ = deltas(write_stream(Streamed(pieces, reply(tool_calls=(CALL,)))))
    assert first["tool_calls"] == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    ]
    assert second["tool_calls"][0] == {"index": 0, "function": {"arguments": '{"a"'}}
    assert second["tool_calls"][1]["function"] == {"name": "other", "arguments": ""}
    assert third["tool_calls"] == [{"index": 0, "function": {"arguments": ": 1}"}}]


def test_a_tool_call_that_begins_without_an_id_has_one_all_the_same() -> None:
    pieces = [
        chunk(tool_calls=(ToolCallDelta(index=0, name="weather"), ToolCallDelta(index=1, name="weather"))),
        chunk(tool_calls=(ToolCallDelta(index=0, id="late", arguments="{}"), ToolCallDelta(index=1, arguments="{}"))),
    ]
    completion = by_the_sdk(write_stream(Streamed(pieces, reply(tool_calls=(CALL, CALL)))))
    first, second = completion.choices[0].message.tool_calls
    assert first.id.startswith("call_")
    assert second.id.startswith("call_")
    assert first.id != second.id
    assert "late" not in first.id


def test_a_name_that_comes_late_is_told_once() -> None:
    pieces = [
        chunk(tool_calls=(ToolCallDelta(index=0, id="call_1"),)),
        chunk(tool_calls=(ToolCallDelta(index=0, name="weather", arguments="{}"),)),
        chunk(tool_calls=(ToolCallDelta(index=0, name="weather"),)),
    ]
    completion = by_the_sdk(write_stream(Streamed(pieces, reply(tool_calls=(CALL,)))))
    assert completion.choices[0].message.tool_calls[0].function.name == "weather"


def test_a_seam_shows_nothing_and_changes_no_model() -> None:
    pieces = [chunk(text="a"), chunk(event="continued"), chunk(text="b")]
    written = write_stream(Streamed(pieces, reply(content="ab")))
    assert len(events(written)) == 4


# -------------------------------------------------------------------------------------------------
# What a model wants back comes back to it
# -------------------------------------------------------------------------------------------------


def test_what_a_model_wants_back_comes_with_the_message_the_client_appends() -> None:
    whole = reply(
        content="a", provider="p", asked_model="m", provider_data={"content": [{"type": "thinking", "signature": "s"}]}
    )
    for completion in (
        by_the_sdk(write_stream(Streamed([chunk(text="a")], whole))),
        whole_by_the_sdk(200, FORMAT.write(whole, PLAIN)),
    ):
        history = completion.choices[0].message.to_dict()
        assert history["provider_data"] == whole.message["provider_data"]
        build_request(read(messages=[HELLO, history, HELLO]).messages, "m", {})


# -------------------------------------------------------------------------------------------------
# A chat completion that a provider has written
# -------------------------------------------------------------------------------------------------


def own_body(**fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hello", "refusal": None, "annotations": [], **fields.pop("message", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "gpt-x-2026",
        "choices": [
            {"index": 0, "message": message, "logprobs": {"content": []}, "finish_reason": "stop",
             **fields.pop("choice", {})},
        ],
        "usage": {
            **COUNTS,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3, "audio_tokens": 1},
            "cost": 0.1,
        },
        "service_tier": "default",
        "system_fingerprint": "fp",
        **fields,
    }  # fmt: skip


def answered(body: dict[str, Any], vendor: str = "openai") -> Reply:
    """The reply that failsafe makes of a provider's *body*."""
    read = OpenAIDialect().read(body, Target(provider="p", vendor=vendor, model="m"))
    assert isinstance(read, Answer), read
    return reply(
        content=read.content, model=read.model, finish_reason=read.finish_reason, tool_calls=read.tool_calls,
        usage=read.usage, id=read.id, refusal=read.refusal, reasoning=read.reasoning, raw=read.raw,
        provider_data=read.provider_data,
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        own_body(),
        own_body(message={"content": None, "tool_calls": [CALLED]}, choice={"finish_reason": "tool_calls"}),
        own_body(message={"content": None, "refusal": "no"}),
        own_body(message={"content": "", "reasoning_content": "hm"}, choice={"finish_reason": "length"}),
        own_body(provider="Upstream", message={"audio": {"id": "a"}}),
    ],
)
def test_a_chat_completion_of_openai_stays_as_it_is(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    assert FORMAT.write(answered(body), PLAIN) == before
    assert body == before


def test_a_server_that_counts_no_tokens_is_given_zeros() -> None:
    body = own_body()
    del body["usage"]
    assert FORMAT.write(answered(body), PLAIN)["usage"]["total_tokens"] == 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            own_body(message={"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                                          {"type": "text", "text": "yes"}]}),
            {"content": "yes", "reasoning": "hm"},
        ),
        (own_body(choice={"finish_reason": "eos"}), {"content": "hello"}),
        (own_body(message={"reasoning": "hm"}), {"content": "hello", "reasoning": "hm"}),
        (
            own_body(message={"content": None, "tool_calls": [{**CALLED, "function": {"name": "f", "arguments": {}}}]}),
            {"calls": [("call_1", "f", {})], "finish_reason": "tool_calls"},
        ),
    ],
)  # fmt: skip
def test_what_other_servers_put_differently_is_put_as_openai_does(body: dict[str, Any], found: dict[str, Any]) -> None:
    completion = whole_by_the_sdk(200, FORMAT.write(answered(body, "generic"), PLAIN))
    usual: dict[str, Any] = {"content": "", "reasoning": None, "calls": [], "finish_reason": "stop"}
    assert completion_said(completion) == {**usual, **found}
    assert completion.service_tier == "default"


@pytest.mark.parametrize("given", [[{"function": {"name": "f", "arguments": "{}"}}], [{**CALLED, "id": ""}]])
def test_tool_calls_without_ids_are_given_those_that_the_reply_has(given: list[Any]) -> None:
    body = own_body(message={"content": None, "tool_calls": given})
    whole = answered(body, "generic")
    (call,) = FORMAT.write(whole, PLAIN)["choices"][0]["message"]["tool_calls"]
    assert call["id"] == whole.tool_calls[0].id != ""
    assert call["type"] == "function"


def test_a_call_in_the_old_form_is_a_tool_call() -> None:
    body = own_body(message={"content": None, "function_call": {"name": "f", "arguments": "{}"}})
    message = FORMAT.write(answered(body, "generic"), PLAIN)["choices"][0]["message"]
    assert "function_call" not in message
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


def test_what_a_server_leaves_out_is_made_up() -> None:
    body = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}
    written = FORMAT.write(answered(body, "generic"), PLAIN)
    assert ChatCompletion.model_validate(written, strict=True).choices[0].message.content == "hello"
    assert (written["created"], written["model"]) == (NOW, "m")


@pytest.mark.parametrize("raw", [{"choices": []}, {"choices": ["x"]}, {"choices": {}}, {"candidates": []}, "x", None])
def test_a_body_that_is_no_chat_completion_is_not_copied(raw: Any) -> None:
    written = FORMAT.write(reply(content="hello", raw=raw), PLAIN)
    assert written["choices"][0]["message"] == {"role": "assistant", "content": "hello", "refusal": None}
    assert "candidates" not in written


def test_a_choice_without_a_message_is_written_anew() -> None:
    written = FORMAT.write(reply(content="hello", raw={"choices": [{"index": 0}], "usage": 5}), PLAIN)
    assert written["choices"][0]["message"]["content"] == "hello"
    assert written["usage"] == COUNTS


def test_counts_that_no_server_should_write_are_left_behind() -> None:
    raw = own_body(usage={"prompt_tokens_details": 5})
    assert FORMAT.write(reply(content="hello", raw=raw), PLAIN)["usage"] == COUNTS


# -------------------------------------------------------------------------------------------------
# Errors
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "code", "param"),
    [
        (InvalidRequest("x"), "invalid_request_error", None, None),
        (ContextWindowExceeded("x"), "invalid_request_error", "context_length_exceeded", None),
        (UnsupportedParameter("x", parameter="top_k"), "invalid_request_error", "unsupported_parameter", "top_k"),
        (ContentFiltered("x"), "invalid_request_error", "content_filter", None),
        (ModelNotFound("x"), "invalid_request_error", "model_not_found", None),
        (RateLimited("x"), "rate_limit_error", "rate_limit_exceeded", None),
        (RateLimitReached("x", "60 a minute", 3.0), "rate_limit_error", "rate_limit_exceeded", None),
        (AllProvidersFailed("x"), "service_unavailable_error", "all_providers_failed", None),
        (Cancelled("x"), "service_unavailable_error", "cancelled", None),
        (DeadlineExceeded("x"), "server_error", "deadline_exceeded", None),
        (StreamInterrupted("x", partial=None, provider="p"), "server_error", "stream_interrupted", None),
        (RuntimeError("x"), "server_error", None, None),
    ],
)
def test_errors_are_said_in_openais_form(error: Exception, kind: str, code: str | None, param: str | None) -> None:
    status = status_of(error)
    said = {"error": {"message": str(error), "type": kind, "param": param, "code": code}}
    assert FORMAT.error(status, error) == said
    assert (
        FORMAT.writer(PLAIN).error(status, error)
        == b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"
    )
    with pytest.raises(openai.APIStatusError) as raised:
        whole_by_the_sdk(status, FORMAT.error(status, error))
    assert (raised.value.type, raised.value.code, raised.value.param) == (kind, code, param)
    assert (raised.value.status_code, raised.value.request_id) == (status, "req_1")


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "authentication_error"), (403, "permission_error"), (413, "invalid_request_error")]
)
def test_a_server_in_front_may_refuse_too(status: int, kind: str) -> None:
    assert FORMAT.error(status, InvalidRequest("x"))["error"]["type"] == kind


def test_a_stream_that_breaks_off_is_an_error_of_the_sdk() -> None:
    writer = FORMAT.writer(PLAIN)
    broken = writer.chunk(chunk(text="half")) + writer.error(502, StreamInterrupted("cut", partial=None, provider="p"))
    with pytest.raises(openai.APIError, match="cut") as raised:
        by_the_sdk(broken)
    assert raised.value.code == "stream_interrupted"


def test_half_a_surrogate_pair_is_escaped_as_it_came() -> None:
    written = write_stream(Streamed([chunk(text="\ud83d")], reply(content="\ud83d")))
    assert b'"\\ud83d"' in written


def test_the_usage_of_nothing_is_counted_as_nothing() -> None:
    assert FORMAT.write(reply(usage=Usage()), PLAIN)["usage"]["total_tokens"] == 0
