"""A chat request is refused before it is sent, with the place, the value and what is allowed."""

from __future__ import annotations

import copy
from collections import UserDict, UserString
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.encoding import check_fits, encode_body, shown
from failsafe.errors import InvalidRequest
from failsafe.images import read_image
from failsafe.models import ChatParameters, ChatRequest, Message
from failsafe.parameters import CHECKS
from failsafe.request import build_request, check_size

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object"}}}


def build(messages: Any = "hi", extra: Any = None, **parameters: Any) -> ChatRequest:
    return build_request(messages, "gpt-4.1", parameters, extra)


def refusal(messages: Any = "hi", extra: Any = None, **parameters: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        build(messages, extra, **parameters)
    assert str(caught.value).endswith("nothing was sent")
    return str(caught.value)


def test_a_text_becomes_one_user_message() -> None:
    request = build_request("Say hi", "fast", {})
    assert request.messages == [{"role": "user", "content": "Say hi"}]
    assert request.model == "fast"
    assert request.needs == frozenset()
    assert request.parameters == {}
    assert request.extra == {}


def test_unknown_message_keys_pass_through_and_the_message_stays_the_same_object() -> None:
    message = {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}, "name": "Ann"}
    assert build([message]).messages[0] is message


def test_the_list_of_messages_is_copied_so_that_a_later_append_does_not_change_the_request() -> None:
    messages = [USER]
    request = build(messages)
    messages.append(USER)
    assert len(request.messages) == 1


def test_mappings_that_are_no_dicts_are_taken() -> None:
    request = build([MappingProxyType(USER), UserDict(USER)])
    assert request.messages == [USER, USER]


@pytest.mark.parametrize("messages", [[], (), None, 5, b"hi", {"role": "user"}, iter([USER])])
def test_messages_must_be_a_list_that_is_not_empty(messages: Any) -> None:
    assert refusal(messages).startswith("messages = ")


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([USER, "hi"], "messages[1] = 'hi'"),
        ([{"content": "hi"}], "messages[0].role = None"),
        ([{"role": ["user"], "content": "hi"}], "messages[0].role"),
        ([{"role": "tutor", "content": "hi"}], "messages[0].role = 'tutor'"),
        ([{"role": "user"}], "messages[0].content = None"),
        ([{"role": "user", "content": 5}], "messages[0].content = 5"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content[0] = 'hi'"),
        ([{"role": "user", "content": [{"type": "video"}]}], "messages[0].content[0].type = 'video'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text = None"),
        ([{"role": "system", "content": [IMAGE]}], "messages[0].content[0].type = 'image_url'"),
        ([{"role": "assistant", "content": None}], "messages[0].content = None"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], "messages[0].tool_calls"),
        ([{"role": "user", "content": "hi", "tool_calls": [CALL]}], "messages[0].tool_calls"),
        ([{"role": "user", "content": "hi", "name": 5}], "messages[0].name = 5"),
        ([ASKED, {"role": "tool", "content": "rain"}], "messages[1].tool_call_id = None"),
        ([ASKED, {**RESULT, "tool_call_id": "call_2"}], "messages[1].tool_call_id = 'call_2'"),
        ([RESULT, ASKED], "messages[0].tool_call_id = 'call_1'"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_refused_by_its_place(messages: Any, place: str) -> None:
    assert refusal(messages).startswith(place)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"id": ""}, ".id = ''"),
        ({"type": "custom"}, ".type = 'custom'"),
        ({"function": None}, ".function = None"),
        ({"function": {"arguments": "{}"}}, ".function.name = None"),
        ({"function": {"name": "f"}}, ".function.arguments = None"),
        ({"function": {"name": "f", "arguments": {}}}, ".function.arguments = <dict"),
    ],
)
def test_a_wrong_tool_call_is_refused_by_its_place(change: dict[str, Any], place: str) -> None:
    messages = [{**ASKED, "tool_calls": [{**CALL, **change}]}]
    assert refusal(messages).startswith("messages[0].tool_calls[0]" + place)


def test_the_function_role_is_refused_with_advice() -> None:
    assert "role 'tool'" in refusal([{"role": "function", "name": "f", "content": "x"}])


def test_an_sdk_object_is_refused_with_advice() -> None:
    class Message:
        def model_dump(self) -> dict[str, Any]:
            return USER

    assert "model_dump(exclude_none=True)" in refusal([Message()])


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ""},
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
        {"role": "user", "content": ({"type": "file", "file": {"file_id": "f1"}},)},
        {"role": "assistant", "content": "x", "refusal": None, "tool_calls": None, "reasoning_content": "hm"},
    ],
)
def test_every_legal_form_is_taken(message: dict[str, Any]) -> None:
    assert build([message]).messages == [message]


@pytest.mark.parametrize(
    ("messages", "parameters", "needs"),
    [
        ("hi", {}, set()),
        ("hi", {"temperature": 0.5}, set()),
        ("hi", {"tools": [TOOL]}, {"tools"}),
        ([ASKED, RESULT], {}, {"tools"}),
        ([{"role": "user", "content": [IMAGE]}], {}, {"images"}),
        ("hi", {"response_format": SCHEMA}, {"json_schema"}),
        ("hi", {"response_format": {"type": "json_object"}}, set()),
        ([{"role": "user", "content": [IMAGE]}], {"tools": [TOOL], "response_format": SCHEMA},
         {"tools", "images", "json_schema"}),
    ],
)  # fmt: skip
def test_needs_are_read_off_messages_and_parameters(messages: Any, parameters: Any, needs: set[str]) -> None:
    assert build(messages, **parameters).needs == needs


def test_every_documented_parameter_has_a_check() -> None:
    assert set(CHECKS) == set(ChatParameters.__annotations__)


GOOD: dict[str, list[Any]] = {
    "temperature": [0, 2, 0.7],
    "max_tokens": [1, 100_000],
    "top_p": [0, 1.0],
    "stop": ["x", ["a", "b", "c", "d"], ("a",)],
    "seed": [0, -5, 2**63 - 1],
    "presence_penalty": [-2, 2.0],
    "frequency_penalty": [-2, 2],
    "tools": [[TOOL], ({"type": "function", "function": {"name": "a-b_C9"}},)],
    "response_format": [{"type": "text"}, {"type": "json_object"}, SCHEMA],
    "reasoning_effort": ["none", "minimal", "low", "medium", "high", "xhigh", "max"],
    "logit_bias": [{"50256": -100}, {50256: 100.0}, {}],
    "logprobs": [True, False],
    "user": ["u-1"],
    "metadata": [{"a": "b"}, {}],
}
BAD: dict[str, list[Any]] = {
    "temperature": [-0.1, 2.1, True, "1", float("nan"), float("inf")],
    "max_tokens": [0, -1, 1.5, True, "10", float("nan"), 2**31],
    "top_p": [-0.1, 1.1, float("nan")],
    "stop": ["", [], ["a", ""], ["a"] * 5, 5, {"a": 1}],
    "seed": [1.0, True, "1", 2**63],
    "presence_penalty": [-2.1, float("inf"), False],
    "frequency_penalty": [2.1, "x"],
    "tools": [[], {}, ["weather"], [TOOL, TOOL], [{"type": "custom"}], [{"type": "function"}],
              [{"type": "function", "function": {"name": "a b"}}], [{"type": "function", "function": {"name": "ä"}}],
              [{"type": "function", "function": {"name": "x" * 65}}],
              [{"type": "function", "function": {"name": "f", "parameters": []}}],
              [{"type": "function", "function": {"name": "f", "description": 5}}]],
    "response_format": ["json", {"type": "xml"}, {"type": []}, {"type": "json_schema"},
                        {"type": "json_schema", "json_schema": {"schema": {}}},
                        {"type": "json_schema", "json_schema": {"name": "x"}}],
    "reasoning_effort": ["", "huge", 3, ["low"]],
    "logit_bias": [[], {"1": 101}, {"1": True}, {"1": float("nan")}],
    "logprobs": [1, "true"],
    "user": ["", 5],
    "metadata": ["x", {"a": 1}, {1: "a"}],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_a_parameter_in_its_range_is_kept_as_it_is(name: str, value: Any) -> None:
    assert build(**{name: value}).parameters[name] is value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_parameter_out_of_its_range_is_refused_by_name(name: str, value: Any) -> None:
    assert refusal(**{name: value}).startswith(name)


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_choice_is_taken_beside_its_tools(choice: Any) -> None:
    assert build(tools=[TOOL], tool_choice=choice).parameters["tool_choice"] == choice


@pytest.mark.parametrize(
    "choice", ["any", 5, {}, {"type": "function"}, {"type": "function", "function": {"name": "x"}}]
)
def test_a_tool_choice_that_names_nothing_is_refused(choice: Any) -> None:
    assert refusal(tools=[TOOL], tool_choice=choice).startswith("tool_choice")


@pytest.mark.parametrize("parameters", [{"tool_choice": "auto"}, {"parallel_tool_calls": True}, {"top_logprobs": 3}])
def test_a_parameter_that_needs_another_is_refused_alone(parameters: dict[str, Any]) -> None:
    assert "this needs" in refusal(**parameters)


def test_top_logprobs_are_taken_with_logprobs() -> None:
    assert build(logprobs=True, top_logprobs=20).parameters["top_logprobs"] == 20
    assert refusal(logprobs=True, top_logprobs=21).startswith("top_logprobs = 21")


def test_a_parameter_that_is_none_counts_as_not_given() -> None:
    given = {"temperature": None, "tools": None, "max_tokens": 5}
    assert build_request("hi", "m", given).parameters == {"max_tokens": 5}
    assert given == {"temperature": None, "tools": None, "max_tokens": 5}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("temprature", "temperature="), ("max_completion_tokens", "max_tokens="), ("functions", "tools=")],
)
def test_an_unknown_parameter_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    message = refusal(**{name: 1})
    assert f"did you mean {meant}" in message
    assert "extra={" in message


def test_an_unknown_parameter_like_no_other_is_pointed_at_extra() -> None:
    assert "did you mean" not in refusal(verbosity="low")


@pytest.mark.parametrize(
    ("extra", "advice"),
    [
        ({"model": "x"}, "model="),
        ({"messages": []}, "messages"),
        ({"stream": True}, "failsafe decides"),
        ({"n": 2}, "one answer a call"),
        ({"temperature": 1}, "use the parameter temperature="),
        ({"max_completion_tokens": 5}, "use the parameter max_tokens="),
        ({"top_k": float("nan")}, "extra.top_k = nan"),
        ({"a": {"b": [1, float("inf")]}}, "extra.a.b[1] = inf"),
        ({"a": {1, 2}}, "extra.a = <set>"),
        ({5: 1}, "a key of extra = 5"),
        ({"a": {(1, 2): 1}}, "a key of extra.a = <tuple of 2>"),
        ({"a": {None: 1}}, "a key of extra.a = None"),
        (["x"], "extra = <list"),
    ],
)
def test_extra_must_not_shadow_or_hold_what_json_cannot_say(extra: Any, advice: str) -> None:
    assert advice in refusal(extra=extra)


@pytest.mark.parametrize("model", ["", None, 5, "gpt\n4", "\ud800"])
def test_a_model_must_be_a_printable_name(model: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^model = "):
        build_request("hi", model, {})


@pytest.mark.parametrize(
    ("messages", "parameters", "place"),
    [
        ([{"role": "user", "content": "hi", "weight": float("nan")}], {}, "messages[0].weight = nan"),
        ([{"role": "user", "content": [{**IMAGE, "x": [float("inf")]}]}], {}, "messages[0].content[0].x[0] = inf"),
        ("hi", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"maximum": float("inf")}}}]},
         "tools[0].function.parameters.maximum = inf"),
        ("hi", {"metadata": {"a": "\udfff"}}, "metadata.a = '\\udfff'"),
        ("hi", {"response_format": {**SCHEMA, "x": b"bytes"}}, "response_format.x = b'bytes'"),
    ],
)  # fmt: skip
def test_nan_and_half_surrogate_pairs_are_found_wherever_they_hide(messages: Any, parameters: Any, place: str) -> None:
    assert refusal(messages, **parameters).startswith(place)


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        (ChatRequest(model="m", messages=[USER, {"role": "user", "content": "a\ud800b"}]), "messages[1].content"),
        (ChatRequest(model="m", messages=[{"role": "user", "content": "hi", "\udc80": 1}]), "a key of messages[0]"),
        (ChatRequest(model="m", messages=[USER], parameters={"user": "\udcff"}), "user"),
        (ChatRequest(model="m", messages=[USER], extra={"k": "\udcff"}), "extra.k"),
        (ChatRequest(model="m", messages=[USER], extra={"k": object()}), "extra.k"),
    ],
)
def test_what_cannot_be_encoded_is_named_in_the_callers_terms(request_: ChatRequest, place: str) -> None:
    body = {"messages": request_.messages, **request_.parameters, **request_.extra}
    with pytest.raises(InvalidRequest) as caught:
        encode_body(body, request_)
    assert str(caught.value).startswith(f"{place} = ")
    assert caught.value.__context__ is None
    str(caught.value).encode()


def test_endless_nesting_is_refused_and_not_a_crash() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "nested deeper than 100 levels" in refusal(extra={"a": endless})
    request = ChatRequest(model="m", messages=[{"role": "user", "content": "hi", "a": endless}])
    with pytest.raises(InvalidRequest, match="nested deeper"):
        encode_body({"messages": request.messages}, request)


def test_a_number_too_long_to_be_written_is_refused() -> None:
    request = build(extra={"a": 10**5000})
    with pytest.raises(InvalidRequest, match="cannot be written as JSON"):
        encode_body(request.extra, request)


def test_subclasses_of_plain_types_are_encoded_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    request = build([{"role": "user", "content": Text("hi")}])
    body = {"m": request.messages[0], "n": Number(3), "p": MappingProxyType({"a": 1})}
    assert encode_body(body, request) == b'{"m":{"role":"user","content":"hi"},"n":3,"p":{"a":1}}'


def test_a_text_object_that_is_no_str_is_refused() -> None:
    assert refusal([{"role": "user", "content": UserString("hi")}]).startswith("messages[0].content")


def test_a_body_over_the_limit_is_refused_with_its_largest_message() -> None:
    request = build([USER, {"role": "user", "content": "x" * 5000}, USER])
    body = encode_body({"messages": request.messages}, request)
    check_size(body, len(body), request)
    with pytest.raises(InvalidRequest) as caught:
        check_size(body, 1024, request)
    message = str(caught.value)
    assert f"{len(body):,} bytes" in message
    assert "1,024" in message
    assert "messages[1]" in message
    assert "max_request_bytes" in message


def test_values_in_messages_are_short_and_hold_no_key() -> None:
    assert len(shown("x" * 10**6)) <= 80
    assert len(shown({"k" * 500: 1})) <= 80
    assert "abcdef" not in shown("sk-proj-abcdef123456")
    assert "abcdef" not in refusal([{"role": "user", "content": {"type": "sk-proj-abcdef123456"}}])
    assert "abcdef" not in refusal([{"role": "sk-proj-abcdef123456", "content": "hi"}])
    assert shown(10**500).startswith("<int of")


def test_a_strangers_repr_is_never_run() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise AssertionError("must not be called")

    assert shown(Hostile()) == "<Hostile>"
    assert shown({Hostile(): 1}) == "<dict with keys <Hostile>>"


@pytest.mark.parametrize(
    ("url", "kind", "media_type", "data"),
    [
        ("https://example.org/a.png", "url", "", ""),
        ("HTTP://example.org/a", "url", "", ""),
        ("data:image/png;base64,QUJD", "data", "image/png", "QUJD"),
        ("data:image/JPG;base64,QUJD", "data", "image/jpeg", "QUJD"),
        ("data:image/svg+xml;charset=utf-8;base64,QUJD", "data", "image/svg+xml", "QUJD"),
    ],
)
def test_images_are_told_apart(url: str, kind: str, media_type: str, data: str) -> None:
    image = read_image({"type": "image_url", "image_url": {"url": url}}, "p")
    assert (image.kind, image.media_type) == (kind, media_type)
    assert kind == "url" or image.data == data
    assert read_image({"type": "image_url", "image_url": url}, "p") == image


@pytest.mark.parametrize(
    "url", [None, "", 5, "file:///etc/passwd", "data:text/html;base64,QQ==", "data:image/png,abc",
            "data:image/png;base64,", "https://", "ftp://a/b.png"],
)  # fmt: skip
def test_an_image_that_no_provider_could_read_is_refused(url: Any) -> None:
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    assert refusal([{"role": "user", "content": content}]).startswith("messages[0].content[1].image_url.url = ")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def printable(attempt: Callable[[], object]) -> None:
    """Run *attempt*; it may refuse, in words that any log can hold."""
    said = ""
    try:
        attempt()
    except InvalidRequest as error:
        said = str(error)
    assert said.encode() is not None


@given(json_values)
def test_any_value_for_a_message_is_taken_or_refused_and_never_changed(value: Any) -> None:
    before = copy.deepcopy(value)
    for messages in ([value], [{"role": "user", "content": value}], [{"role": "assistant", "tool_calls": value}]):
        printable(partial(build, messages))
    assert repr(value) == repr(before)


@given(json_values)
def test_any_value_for_a_parameter_is_taken_or_refused(value: Any) -> None:
    for name in CHECKS:
        printable(partial(build, **{name: value}))


@given(json_values)
def test_what_fits_can_be_encoded(value: Any) -> None:
    request = ChatRequest(model="m", messages=[USER])
    try:
        check_fits(value, "value")
    except InvalidRequest:
        return
    assert encode_body({"value": value}, request)


@pytest.mark.parametrize("arguments", ["{", "[1]", "", "not JSON"])
def test_broken_arguments_that_a_model_wrote_pass_as_they_are(arguments: str) -> None:
    """An agent that appends such an answer to its history must be able to go on."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    history: list[Message] = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    assert build_request(history, "m", {}).messages[1]["tool_calls"][0]["function"]["arguments"] == arguments
