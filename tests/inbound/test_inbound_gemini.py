"""Answering clients that speak Gemini's generateContent."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo
from failsafe.chunks import ToolCallDelta
from failsafe.errors import AllProvidersFailed, InvalidRequest
from failsafe.inbound.base import Format, Question
from failsafe.inbound.gemini import GeminiFormat
from failsafe.models import ToolCall
from failsafe.providers.anthropic import AnthropicDialect
from failsafe.providers.base import Target
from failsafe.providers.gemini import GeminiDialect
from failsafe.request import build_request
from tests.inbound.answers import Streamed, chunk, read_back, reply, said, streamed

FORMAT: Format = GeminiFormat()
PATH = "/v1beta/models/gemini-x:generateContent"
STREAM_PATH = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
HELLO = {"role": "user", "parts": [{"text": "hello"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "The weather.", "parametersJsonSchema": SCHEMA}
TOOLS = [{"functionDeclarations": [WEATHER, {"name": "now"}]}]
PIXEL = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
CALL = {"functionCall": {"name": "weather", "args": {"city": "Paris"}}}
PLAIN = Question(model="m", messages=[])
THINKS = Question(
    model="m", messages=[], extra={"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}, stream=True
)


def body(*contents: Any, **fields: Any) -> dict[str, Any]:
    return {"contents": list(contents) or [HELLO], **fields}


def settings(**fields: Any) -> dict[str, Any]:
    return body(generationConfig=fields)


def read(given: Any, path: str = PATH) -> Question:
    before = copy.deepcopy(given)
    question = FORMAT.read(given, path)
    assert given == before
    return question


def rebuilt(question: Question, **info: Any) -> dict[str, Any]:
    """What failsafe's own dialect sends Gemini for *question*."""
    request = build_request(question.messages, question.model, question.parameters, question.extra, extra_for="gemini")
    target = Target(provider="google", vendor="gemini", model=question.model, info=ModelInfo(**info))
    built: dict[str, Any] = json.loads(GeminiDialect().build(request, target).body)
    return built


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def result(name: str = "weather", response: Any = None, **fields: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": response or {"celsius": 18}, **fields}}


# -------------------------------------------------------------------------------------------------
# Reading
# -------------------------------------------------------------------------------------------------

SIGNED_CALL = {"functionCall": {"id": "fc-1", "name": "weather", "args": {}}, "thoughtSignature": "c2ln"}

SAME: dict[str, dict[str, Any]] = {
    "plain": body(),
    "settings": settings(
        temperature=1.5, topP=0.9, topK=5, maxOutputTokens=100, stopSequences=["END"], seed=5, presencePenalty=0.5,
        frequencyPenalty=-0.5, responseLogprobs=True, logprobs=3,
    ),
    "five stops": settings(stopSequences=["a", "b", "c", "d", "e"]),
    "system": body(systemInstruction={"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}),
    "image": body(user({"text": "What is this?"}, PIXEL)),
    "turns": body(HELLO, model({"text": "hi"}), HELLO),
    "tools": body(tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY"}}),
    "one tool": body(
        tools=[{"functionDeclarations": [WEATHER]}],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    ),
    "no tool": body(tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "NONE"}}),
    "results": body(
        HELLO,
        model({"text": "Let me look."}, CALL, {"functionCall": {"name": "now", "args": {}}}),
        user(result(), result("now", {"result": "noon"}), {"text": "And Rome?"}),
        tools=TOOLS,
    ),
    "signed": body(
        HELLO,
        model({"text": "hm", "thought": True}, {"text": "So."}, SIGNED_CALL),
        user(result(id="fc-1")),
        tools=TOOLS,
    ),
    "JSON": settings(responseMimeType="application/json"),
    "schema": settings(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    "Gemini's own": body(
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        generationConfig={"thinkingConfig": {"includeThoughts": True}, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
        toolConfig={"retrievalConfig": {"languageCode": "de"}},
        labels={"team": "a"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("given", SAME.values(), ids=SAME.keys())
def test_what_is_read_is_sent_to_gemini_as_it_was(given: dict[str, Any]) -> None:
    assert rebuilt(read(given)) == given


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ({"thinkingConfig": {"thinkingLevel": "HIGH"}}, {"reasoning_effort": "high"}),
        ({"thinkingConfig": {"thinkingLevel": "minimal"}}, {"reasoning_effort": "minimal"}),
        ({"thinkingConfig": {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}}, {}),
        ({"thinkingConfig": {"thinkingBudget": 0}}, {"reasoning_effort": "none"}),
        ({"thinkingConfig": {"thinkingBudget": 1}}, {"reasoning_effort": "low"}),
        ({"thinkingConfig": {"thinkingBudget": 1025}}, {"reasoning_effort": "medium"}),
        ({"thinkingConfig": {"thinkingBudget": 9000}}, {"reasoning_effort": "high"}),
        ({"thinkingConfig": {"thinkingBudget": -1}}, {}),
        ({"responseMimeType": "text/plain", "responseModalities": ["TEXT"], "candidateCount": 1}, {}),
        ({"stopSequences": ["a", "b", "c", "d", "e"]}, {"stop": ["a", "b", "c", "d"]}),
        ({"temperature": None, "stopSequences": None, "thinkingConfig": None}, {}),
        ({"max_output_tokens": 5, "top_p": 0.5}, {"max_tokens": 5, "top_p": 0.5}),
    ],
)
def test_settings_are_said_in_openais_words(given: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert read(settings(**given)).parameters == parameters


@pytest.mark.parametrize(("budget", "sent"), [(0, 0), (1024, 1024), (8192, 8192), (24576, 24576)])
def test_a_budget_that_failsafe_itself_would_ask_for_comes_back_as_it_went(budget: int, sent: int) -> None:
    question = read(settings(thinkingConfig={"thinkingBudget": budget}))
    assert rebuilt(question, thinking="budget")["generationConfig"] == {"thinkingConfig": {"thinkingBudget": sent}}


def test_several_allowed_functions_are_the_only_ones_that_are_offered() -> None:
    three = [{"functionDeclarations": [WEATHER, {"name": "now"}, {"name": "never"}]}]
    calling = {"mode": "ANY", "allowedFunctionNames": ["weather", "now"]}
    question = read(body(tools=three, toolConfig={"functionCallingConfig": calling}))
    assert [tool["function"]["name"] for tool in question.parameters["tools"]] == ["weather", "now"]
    assert question.parameters["tool_choice"] == "required"


def test_what_stands_in_snake_case_or_alone_is_read_as_google_does() -> None:
    question = read({
        "system_instruction": {"parts": {"text": "Be brief."}},
        "contents": {"parts": {"text": "hello"}},
        "generation_config": {"max_output_tokens": 5, "response_mime_type": "application/json",
                              "thinking_config": {"include_thoughts": True}},
        "tools": {"function_declarations": {"name": "weather", "parameters": {"type": "OBJECT"}}},
        "tool_config": {"function_calling_config": {"mode": "any"}},
        "safety_settings": [],
    })  # fmt: skip
    assert question == Question(
        model="gemini-x",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
        parameters={
            "max_tokens": 5,
            "response_format": {"type": "json_object"},
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
        },
        extra={"safetySettings": [], "generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
        stream_usage=True,
    )


def test_googles_schemas_become_json_schemas() -> None:
    given = {
        "type": "OBJECT",
        "properties": {
            "any_of": {"type": "STRING", "nullable": True, "enum": ["a", "b"], "format": "enum"},
            "tags": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "max_items": "5"},
            "either": {"anyOf": [{"type": "NUMBER"}, {"ref": "#/defs/Pet"}], "nullable": True},
            "anything": {"type": "TYPE_UNSPECIFIED", "example": 5},
        },
        "property_ordering": ["tags"],
        "required": ["tags"],
        "defs": {"Pet": {"type": "BOOLEAN", "title": "Pet"}},
    }
    form = read(settings(responseSchema=given)).parameters["response_format"]
    assert form["json_schema"]["schema"] == {
        "type": "object",
        "properties": {
            "any_of": {"type": ["string", "null"], "enum": ["a", "b", None]},
            "tags": {"type": "array", "items": {"type": "integer", "format": "int32"}, "maxItems": 5},
            "either": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/Pet"}, {"type": "null"}]},
            "anything": {},
        },
        "required": ["tags"],
        "$defs": {"Pet": {"type": "boolean", "title": "Pet"}},
    }


def test_a_schema_nested_too_deep_is_refused_and_breaks_nothing() -> None:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(400):
        schema = {"type": "ARRAY", "items": schema}
    question = read(settings(responseSchema=schema))
    with pytest.raises(InvalidRequest, match="nested deeper"):
        build_request(question.messages, question.model, question.parameters)


def test_results_answer_the_calls_by_id_or_in_their_order() -> None:
    question = read(
        body(
            HELLO,
            model(CALL, {"functionCall": {"id": "fc-2", "name": "weather", "args": {}}}, CALL),
            user(
                {"text": "Here:"},
                result(response={"result": "first"}),
                result(response={"result": "second"}, id="fc-2"),
                result(response={"result": "third"}, id="unknown"),
            ),
        )
    )
    calls = [call["id"] for call in question.messages[1]["tool_calls"]]
    answers = {message["tool_call_id"]: message["content"] for message in question.messages[2:5]}
    assert [answers[each] for each in calls] == ["first", "second", "third"]
    assert question.messages[5] == {"role": "user", "content": "Here:"}
    assert len({*calls}) == 3
    assert read(body(HELLO, model(CALL))).messages == read(body(HELLO, model(CALL))).messages  # alike for every cache


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"result": "noon"}, "noon"),
        ({"result": '{"a": 1}'}, '{"result":"{\\"a\\": 1}"}'),
        ({"result": 5}, '{"result":5}'),
        ({"error": "no such city"}, '{"error":"no such city"}'),
        ({"a": 1, "result": "x"}, '{"a":1,"result":"x"}'),
    ],
)
def test_a_result_is_the_same_when_it_comes_back(response: dict[str, Any], text: str) -> None:
    given = body(HELLO, model(CALL), user(result(response=response)))
    question = read(given)
    assert question.messages[2]["content"] == text
    assert rebuilt(question) == given


def test_a_result_that_is_corrected_is_another_result_of_the_same_call() -> None:
    call = {"functionCall": {"id": "fc-1", "name": "weather"}}
    question = read(body(HELLO, model(call), user(result(id="fc-1"), result(id="fc-1", response={"result": "19"}))))
    assert [message["tool_call_id"] for message in question.messages[2:]] == ["fc-1", "fc-1"]


def test_images_of_a_result_follow_it() -> None:
    picture = {"functionResponse": {"name": "weather", "response": {"result": "a map"}, "parts": [PIXEL]}}
    question = read(body(HELLO, model(CALL), user(picture, {"text": "Well?"})))
    assert question.messages[3]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "text", "text": "Well?"},
    ]


def test_an_image_on_the_web_is_passed_on_by_its_address() -> None:
    file = {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}}
    assert read(body(user(file))).messages == [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    ]


def test_what_the_model_did_beside_speaking_is_left_out() -> None:
    code = {"executableCode": {"code": "1"}}
    question = read(body(HELLO, model({"text": "hm", "thought": True}, code, {"text": "So."}), HELLO))
    assert question.messages[1] == {"role": "assistant", "content": "So."}


def test_signatures_go_to_no_other_model() -> None:
    question = read(body(HELLO, model({"text": "So."}, SIGNED_CALL), user(result(id="fc-1")), tools=TOOLS))
    request = build_request(question.messages, question.model, question.parameters)
    other = Target(provider="google", vendor="gemini", model="gemini-other")
    claude = Target(provider="claude", vendor="anthropic", model="gemini-x")
    assert b"c2ln" not in GeminiDialect().build(request, other).body
    assert b"c2ln" not in AnthropicDialect().build(request, claude).body


@pytest.mark.parametrize(
    ("path", "name", "stream"),
    [
        (PATH, "gemini-x", False),
        (STREAM_PATH, "gemini-x", True),
        ("/v1/models/gemini-x:generateContent?alt=json", "gemini-x", False),
        ("/gateway/v1beta/models/openai:gpt-x:generateContent", "openai:gpt-x", False),
        ("/v1beta/models/meta%2Fllama:streamGenerateContent?key=none&alt=sse", "meta/llama", True),
        ("/v1beta/tunedModels/mine:generateContent", "mine", False),
        ("/models/gemini-x:generateContent", "gemini-x", False),
    ],
)
def test_the_path_says_the_model_and_whether_to_stream(path: str, name: str, stream: bool) -> None:
    question = read(body(), path)
    assert (question.model, question.stream) == (name, stream)


@pytest.mark.parametrize(
    "path", ["/v1beta/models", "/v1beta/models/gemini-x", "/v1beta/models/gemini-x:countTokens", f"{PATH}/x", ""]
)
def test_another_path_is_no_question(path: str) -> None:
    with pytest.raises(InvalidRequest, match="path = "):
        read(body(), path)


@pytest.mark.parametrize("query", ["", "?alt=json", "?key=AIzaSecret"])
def test_a_stream_as_one_array_is_refused_in_words(query: str) -> None:
    with pytest.raises(InvalidRequest, match=r"add \?alt=sse") as caught:
        read(body(), f"/v1beta/models/gemini-x:streamGenerateContent{query}")
    assert "Secret" not in str(caught.value)


NOT_READ: list[tuple[Any, str]] = [
    ([], "body"),
    ({}, "contents"),
    (body("x"), "contents[0]"),
    (body({"role": "system", "parts": [{"text": "x"}]}), "contents[0].role"),
    (body({"role": "user"}), "contents[0].parts"),
    (body(user("x")), "contents[0].parts[0]"),
    (body(user({"text": 5})), "contents[0].parts[0]"),
    (body(user({"executableCode": {}})), "contents[0].parts[0]"),
    (body(user({"inlineData": {"mimeType": "audio/mp3", "data": "QUJD"}})), "contents[0].parts[0].inlineData.mimeType"),
    (body(user({"inlineData": {"mimeType": "image/png"}})), "contents[0].parts[0].inlineData.data"),
    (
        body(user({"fileData": {"mimeType": "image/png", "fileUri": "gs://a/b"}})),
        "contents[0].parts[0].fileData.fileUri",
    ),
    (
        body(user({
            "fileData": {
                "mimeType": "image/png", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x",
            },
        })),
        "contents[0].parts[0].fileData.fileUri",
    ),
    (body(user(result())), "contents[0].parts[0].functionResponse.name"),
    (body(HELLO, model(CALL), user(result(), result())), "contents[2].parts[1].functionResponse.name"),
    (body(HELLO, model(CALL), user(result(response="x"))), "contents[2].parts[0].functionResponse.response"),
    (body(HELLO, model({"functionCall": {"name": ""}})), "contents[1].parts[0].functionCall.name"),
    (body(HELLO, model({"functionCall": {"name": "f", "args": "x"}})), "contents[1].parts[0].functionCall.args"),
    (body(systemInstruction={"parts": [PIXEL]}), "systemInstruction.parts[0]"),
    (body(systemInstruction="x"), "systemInstruction"),
    (body(cachedContent="cachedContents/x"), "cachedContent"),
    (body(tools=[{"googleSearch": {}}]), "tools[0].googleSearch"),
    (body(tools=[{"functionDeclarations": [{"name": "a.b"}]}]), "tools[0].functionDeclarations[0].name"),
    (body(tools=[*TOOLS, *TOOLS]), "tools[1].functionDeclarations[0].name"),
    (
        body(tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "SOME"}}),
        "toolConfig.functionCallingConfig.mode",
    ),
    (
        body(tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["x"]}}),
        "toolConfig.functionCallingConfig.allowedFunctionNames",
    ),
    (settings(temperature=3), "generationConfig.temperature"),
    (settings(topP=True), "generationConfig.topP"),
    (settings(maxOutputTokens=0), "generationConfig.maxOutputTokens"),
    (settings(stopSequences="x"), "generationConfig.stopSequences"),
    (settings(candidateCount=2), "generationConfig.candidateCount"),
    (settings(responseModalities=["IMAGE"]), "generationConfig.responseModalities"),
    (settings(responseFormat=[{}]), "generationConfig.responseFormat"),
    (settings(responseMimeType="text/x.enum"), "generationConfig.responseMimeType"),
    (settings(responseSchema="x"), "generationConfig.responseSchema"),
    (settings(thinkingConfig={"thinkingLevel": "DEEP"}), "generationConfig.thinkingConfig.thinkingLevel"),
    (settings(thinkingConfig={"thinkingBudget": -2}), "generationConfig.thinkingConfig.thinkingBudget"),
    (body(generationConfig="x"), "generationConfig"),
    (body(temperature=1), "temperature"),
    (body(messages=[]), "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "place"), NOT_READ, ids=[place for _, place in NOT_READ])
def test_what_cannot_be_read_is_refused_in_the_clients_own_terms(given: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.read(given, PATH)
    assert str(caught.value).startswith(f"{place} = ")


TEXT_PARTS = st.builds(lambda text: {"text": text}, st.sampled_from(["hello", "ünï", "a\nb"]))
TURN = st.lists(TEXT_PARTS | st.just(PIXEL), min_size=1, max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """User and model taking turns, some of which call functions and answer the calls."""
    turns = [user(*draw(TURN))]
    for _ in range(draw(st.integers(0, 3))):
        names = draw(st.lists(st.sampled_from(["weather", "now"]), max_size=3))
        spoken = draw(st.lists(TEXT_PARTS, min_size=0 if names else 1, max_size=2))
        turns.append(model(*spoken, *({"functionCall": {"name": name, "args": {"city": "x"}}} for name in names)))
        turns.append(user(*map(result, names), *draw(TURN if not names else st.just([]) | TURN)))
    return turns


@given(histories())
def test_any_history_is_sent_to_gemini_as_it_was(history: list[dict[str, Any]]) -> None:
    given = body(*history, tools=TOOLS)
    assert rebuilt(FORMAT.read(copy.deepcopy(given), PATH)) == given


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "user", "model", "ANY", "application/json"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "parts", "text", "functionCall", "functionResponse", "name", "args", "inlineData",
                         "functionDeclarations", "parameters", "thinkingConfig", "responseSchema", "properties"]),
        inner,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"]), JSON)
)
def test_no_body_is_answered_by_another_error(fields: dict[str, Any]) -> None:
    try:
        question = FORMAT.read({**body(), **fields}, PATH)
    except InvalidRequest:
        return
    assert question.messages


# -------------------------------------------------------------------------------------------------
# Writing
# -------------------------------------------------------------------------------------------------


def client(status: int, content: bytes, kind: str) -> Any:
    """The official SDK, which is answered *content* whatever it asks."""
    answer = httpx2.Response(status, headers={"content-type": kind}, content=content)
    transport = httpx2.MockTransport(lambda _: answer)
    return genai.Client(api_key="k", http_options=types.HttpOptions(client_args={"transport": transport}))


def by_the_sdk(written: bytes) -> list[types.GenerateContentResponse]:
    with client(200, written, "text/event-stream") as sdk:
        return list(sdk.models.generate_content_stream(model="m", contents="x"))


def whole_by_the_sdk(status: int, content: Any) -> types.GenerateContentResponse:
    with client(status, json.dumps(content).encode(), "application/json") as sdk:
        answered: types.GenerateContentResponse = sdk.models.generate_content(model="m", contents="x")
        return answered


def responses_said(responses: list[types.GenerateContentResponse]) -> dict[str, Any]:
    """What responses of the SDK say, in the terms of :func:`tests.inbound.answers.said`."""
    parts = [part for response in responses for part in response.candidates[0].content.parts]  # type: ignore[index, union-attr]
    calls = [part.function_call for part in parts if part.function_call]
    reason = responses[-1].candidates[0].finish_reason  # type: ignore[index]
    assert reason is not None
    finish = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length"}[reason.value]
    return {
        "content": "".join(part.text or "" for part in parts if not part.thought),
        "reasoning": "".join(part.text or "" for part in parts if part.thought) or None,
        "calls": [(call.id, call.name, call.args) for call in calls],
        "finish_reason": finish,
    }


def write_stream(answer: Streamed, question: Question = THINKS) -> bytes:
    writer = FORMAT.writer(question)
    return b"".join([*map(writer.chunk, answer.chunks), writer.end(answer.reply)])


def test_any_stream_is_put_together_by_the_sdk_to_what_the_reply_says() -> None:
    content: list[bytes] = []
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=content[-1])
    )
    options = types.HttpOptions(client_args={"transport": transport})
    with genai.Client(api_key="k", http_options=options) as sdk:  # takes long to make, so one serves every example

        @given(streamed())
        def check(answer: Streamed) -> None:
            content.append(write_stream(answer))
            responses = list(sdk.models.generate_content_stream(model="m", contents="x"))
            assert responses_said(responses) == said(answer.reply)
            usage = responses[-1].usage_metadata
            assert usage is not None
            assert (usage.prompt_token_count, usage.candidates_token_count) == (20, 5)
            assert (usage.thoughts_token_count, usage.total_token_count) == (4, 29)
            assert usage.cached_content_token_count == 5

        check()


@given(streamed())
def test_any_stream_is_read_back_by_failsafe(answer: Streamed) -> None:
    read = read_back(write_stream(answer), GeminiDialect(), Target(provider="p", vendor="gemini", model="m"))
    assert said(read) == said(answer.reply)


@given(streamed())
def test_any_answer_is_the_same_whole(answer: Streamed) -> None:
    written = FORMAT.write(answer.reply, THINKS)
    assert responses_said([types.GenerateContentResponse.model_validate(written)]) == said(answer.reply)
    assert said(GeminiDialect().read(written, Target(provider="p", vendor="gemini", model="m"))) == said(answer.reply)


def test_the_sdk_reads_a_whole_answer() -> None:
    call = ToolCall(id="a", name="weather", arguments='{"city": "Paris"}')
    answered = whole_by_the_sdk(200, FORMAT.write(reply(content="So.", tool_calls=(call,), id="r-1"), PLAIN))
    assert responses_said([answered])["calls"] == [("a", "weather", {"city": "Paris"})]
    assert (answered.model_version, answered.response_id) == ("m-1", "r-1")


def test_there_is_always_a_first_part() -> None:
    pieces = Streamed([chunk(text="hel"), chunk(text="lo")], reply(content="hello"))
    events = [json.loads(line[6:]) for line in write_stream(pieces).splitlines() if line]
    texts = [each["candidates"][0]["content"]["parts"][0]["text"] for each in events]
    assert texts == ["hel", "lo", ""]
    assert FORMAT.write(reply(), PLAIN)["candidates"][0]["content"]["parts"] == [{"text": ""}]


def test_all_events_of_an_answer_have_one_id() -> None:
    responses = by_the_sdk(write_stream(Streamed([chunk(text="a"), chunk(text="b")], reply(content="ab"))))
    assert len({response.response_id for response in responses}) == 1
    assert FORMAT.write(reply(), PLAIN)["responseId"] != FORMAT.write(reply(), PLAIN)["responseId"]


def test_reasoning_is_shown_to_nobody_who_did_not_ask_for_thoughts() -> None:
    answer = Streamed([chunk(reasoning="hm"), chunk(text="yes")], reply(content="yes", reasoning="hm"))
    assert b"hm" not in write_stream(answer, PLAIN)
    assert FORMAT.write(answer.reply, PLAIN)["candidates"][0]["content"]["parts"] == [{"text": "yes"}]
    shown = FORMAT.write(answer.reply, THINKS)["candidates"][0]["content"]["parts"]
    assert shown == [{"text": "hm", "thought": True}, {"text": "yes"}]


def test_signatures_reach_the_client_and_come_back_to_the_model() -> None:
    stored = [
        {"text": "hm", "thought": True},
        {"text": "So.", "thoughtSignature": "c2lnMQ=="},
        {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": "c2lnMg=="},
        {"functionCall": {"name": "now", "args": {}}},
    ]
    calls = (ToolCall(id="a", name="weather", arguments="{}"), ToolCall(id="b", name="now", arguments="{}"))
    whole = reply(content="So.", reasoning="hm", tool_calls=calls, provider_data={"parts": stored})
    delta = ToolCallDelta(index=0, id="a", name="weather", arguments="{}")
    pieces = [chunk(reasoning="hm"), chunk(text="So."), chunk(tool_calls=(delta,))]
    parts = [
        part
        for line in write_stream(Streamed(pieces, whole)).splitlines()
        if line
        for part in json.loads(line[6:])["candidates"][0]["content"]["parts"]
    ]
    assert [part.get("thoughtSignature") for part in parts] == [None, None, "c2lnMg==", None, "c2lnMQ=="]
    question = read(body(HELLO, model(*parts), user(result(id="a"), result("now", id="b")), tools=TOOLS))
    assert rebuilt(question)["contents"][1] == model(*parts)


@pytest.mark.parametrize("stored", [None, "x", ["x"], [], [{"functionCall": {"name": "other"}}, SIGNED_CALL]])
def test_a_call_without_a_signature_has_none(stored: Any) -> None:
    whole = reply(tool_calls=(ToolCall(id="a", name="weather", arguments="{}"),), provider_data={"parts": stored})
    parts = FORMAT.write(whole, PLAIN)["candidates"][0]["content"]["parts"]
    assert parts == [{"functionCall": {"id": "a", "name": "weather", "args": {}}}]


def test_broken_arguments_are_no_call_without_arguments() -> None:
    whole = reply(tool_calls=(ToolCall(id="a", name="f", arguments='{"a": '),))
    parts = FORMAT.write(whole, PLAIN)["candidates"][0]["content"]["parts"]
    assert parts[0]["functionCall"]["args"] == {"INVALID_JSON": '{"a": '}


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"content": "a", "finish_reason": "length"}, "MAX_TOKENS", "a"),
        ({"content": "a", "finish_reason": "content_filter"}, "SAFETY", "a"),
        ({"refusal": "I will not."}, "SAFETY", "I will not."),
    ],
)
def test_the_end_is_said_in_geminis_words(fields: dict[str, Any], reason: str, text: str) -> None:
    whole = reply(**fields)
    pieces = [chunk(text=whole.content, refusal=whole.refusal or "")]
    streamed_said = by_the_sdk(write_stream(Streamed(pieces, whole)))
    for responses in (streamed_said, [whole_by_the_sdk(200, FORMAT.write(whole, PLAIN))]):
        last = responses[-1].candidates[0].finish_reason  # type: ignore[index]
        assert last is not None
        assert (last.value, responses[0].text) == (reason, text)


@pytest.mark.parametrize(
    ("status", "said_as"),
    [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_an_error_is_one_for_the_sdk(status: int, said_as: str) -> None:
    written = FORMAT.error(status, AllProvidersFailed("nobody answered"))
    with pytest.raises(errors.APIError) as caught:
        whole_by_the_sdk(status, written)
    assert (caught.value.code, caught.value.status, caught.value.message) == (status, said_as, "nobody answered")


def test_a_stream_that_breaks_off_raises_in_the_sdk() -> None:
    writer = FORMAT.writer(PLAIN)
    written = writer.chunk(chunk(text="so f")) + writer.error(502, AllProvidersFailed("it broke off"))
    with pytest.raises(errors.APIError, match="it broke off"):
        by_the_sdk(written)
