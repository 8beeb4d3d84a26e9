"""The official ``openai`` SDK, answered by a router over fake providers of all three dialects."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionChunk

from failsafe.clock import SYSTEM_CLOCK
from failsafe.faults import Fault
from failsafe.policy_config import BulkheadConfig, RetryConfig, StreamConfig
from failsafe.sim import BEHAVIOURS, Behaviour, Error, FakeProvider, Healthy, StreamShape
from tests.acceptance.routers import GRACE, said_by, settles
from tests.integrations.sdks import SDK_KEY, Asked, asked, idle, nothing_held, openai_over

VENDORS = ("openai", "anthropic", "gemini")
MODEL_OF = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-3.5-flash"}
HELLO: Any = [{"role": "user", "content": "hello"}]
ONE_ROUND = RetryConfig(max_retries=0)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
NEWS: Any = {"type": "function", "function": {**WEATHER["function"], "name": "news"}}
every_vendor = pytest.mark.parametrize("vendor", VENDORS)


@pytest.fixture
def three() -> Iterator[Asked]:
    with asked(retry=ONE_ROUND) as providers:
        yield providers


def text_of(chunks: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def says(provider: FakeProvider, **answer: Any) -> None:
    provider.behave(Behaviour(Healthy(**answer)))


# -------------------------------------------------------------------------------------------------
# Plain answers
# -------------------------------------------------------------------------------------------------


@every_vendor
def test_an_answer_of_any_dialect_is_a_chat_completion(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], text="hello there", cached_tokens=2)
        completion = sdk.chat.completions.create(model="fast", messages=HELLO, temperature=0.5, max_tokens=50)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "hello there", "stop")
    assert (completion.object, completion.model) == ("chat.completion", MODEL_OF[vendor])
    assert completion.id
    assert abs(completion.created - SYSTEM_CLOCK.time()) < 60
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 2


@every_vendor
def test_the_answer_says_who_gave_it(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        raw = sdk.chat.completions.with_raw_response.create(model="fast", messages=HELLO)
        assert raw.headers["x-failsafe-provider"] == vendor
        completion = raw.parse()
    if vendor != "gemini":  # which gives its requests no ids
        assert raw.request_id
        assert completion._request_id == raw.request_id


def test_of_openais_own_answer_nothing_is_lost(three: Asked) -> None:
    with openai_over(three.router) as sdk:
        completion = sdk.chat.completions.create(model="fast", messages=HELLO)
    assert completion.system_fingerprint == "fp_sim"
    assert completion.service_tier == "default"
    assert completion.id.startswith("chatcmpl-sim")


def test_fields_of_openai_alone_reach_openai_alone(three: Asked) -> None:
    with openai_over(three.router) as sdk:
        for vendor in VENDORS:
            sdk.chat.completions.create(
                model=f"{vendor}:{MODEL_OF[vendor]}",
                messages=HELLO,
                n=1,
                store=False,
                service_tier="flex",
                prompt_cache_key="k",
                max_completion_tokens=50,
            )
    sent = {vendor: three[vendor].requests[-1].decoded for vendor in VENDORS}
    assert sent["openai"]["service_tier"] == "flex"
    assert sent["openai"]["prompt_cache_key"] == "k"
    assert not {"n", "store"} & sent["openai"].keys()
    for vendor in ("anthropic", "gemini"):
        assert not {"service_tier", "prompt_cache_key", "serviceTier"} & sent[vendor].keys()
    assert sent["anthropic"]["max_tokens"] == 50
    assert sent["gemini"]["generationConfig"]["maxOutputTokens"] == 50


def test_the_sdks_key_and_its_address_go_nowhere(three: Asked) -> None:
    with openai_over(three.router, base_url="http://127.0.0.1:9/v1", organization="org-mine") as sdk:
        sdk.chat.completions.create(model="fast", messages=HELLO)
        assert text_of(sdk.chat.completions.create(model="fast", messages=HELLO, stream=True))
    assert three.count()["openai"] == 2
    for leaked in (SDK_KEY, "127.0.0.1:9", "org-mine", "x-stainless", "OpenAI/Python"):
        assert leaked.encode().lower() not in three.received().lower()


def test_the_sdk_may_be_used_by_many_threads(three: Asked) -> None:
    answers: list[str | None] = []
    with openai_over(three.router) as sdk:

        def ask(number: int) -> None:
            messages: Any = [{"role": "user", "content": f"number {number}"}]
            completion = sdk.chat.completions.create(model="fast", messages=messages)
            answers.append(completion.choices[0].message.content)

        threads = [threading.Thread(target=ask, args=(number,), name=f"test-{number}") for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(filter(None, answers)) == [said_by("openai", f"number {number}") for number in range(8)]


def test_closing_the_sdk_leaves_the_router_open(three: Asked) -> None:
    with openai_over(three.router) as sdk:
        sdk.chat.completions.create(model="fast", messages=HELLO)
    assert three.router.chat("hello", model="fast").provider == "openai"


# -------------------------------------------------------------------------------------------------
# Streams
# -------------------------------------------------------------------------------------------------


@every_vendor
def test_a_stream_of_any_dialect_is_one_of_chunks(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        chunks = list(sdk.chat.completions.create(model="fast", messages=HELLO, stream=True))
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert text_of(chunks) == said_by(vendor, "hello")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].model == MODEL_OF[vendor]
    assert all(chunk.usage is None for chunk in chunks)


@every_vendor
def test_usage_is_streamed_to_who_asks_for_it(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        *rest, last = sdk.chat.completions.create(
            model="fast", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in rest)


@every_vendor
def test_the_sdks_own_stream_puts_the_whole_answer_together(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        with sdk.chat.completions.stream(model="fast", messages=HELLO) as stream:
            events = list(stream)
            streamed = stream.get_final_completion()
        plain = sdk.chat.completions.create(model="fast", messages=HELLO)
    assert [event.content for event in events if event.type == "content.done"] == [said_by(vendor, "hello")]
    assert streamed.choices[0].message.content == plain.choices[0].message.content
    assert streamed.choices[0].finish_reason == plain.choices[0].finish_reason


@every_vendor
def test_reasoning_comes_beside_the_text(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], text="yes", reasoning="well, well")
        plain = sdk.chat.completions.create(model="fast", messages=HELLO).choices[0].message
        chunks = list(sdk.chat.completions.create(model="fast", messages=HELLO, stream=True))
    shown = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks)
    assert (plain.content, text_of(chunks)) == ("yes", "yes")
    assert shown == (getattr(plain, "reasoning_content", None) or "")
    assert shown == "well, well"


def close(stream: Any) -> None:
    stream.close()


def leave(stream: Any) -> None:
    with stream:
        pass


@every_vendor
@pytest.mark.parametrize("give_up", [close, leave])
def test_a_stream_that_is_given_up_closes_the_providers_socket(vendor: str, give_up: Any) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        providers[vendor].behave(Behaviour(Healthy(text="a b c"), stream=StreamShape(stall_after=3)))
        stream = sdk.chat.completions.create(model="fast", messages=HELLO, stream=True)
        assert next(stream).choices
        assert not nothing_held(providers.router)
        assert providers[vendor].open_connections == 1
        give_up(stream)
        assert nothing_held(providers.router)
        assert settles(lambda: idle(providers[vendor]))


def test_a_stream_that_is_only_dropped_closes_the_providers_socket(three: Asked) -> None:
    three["openai"].behave(Behaviour(Healthy(text="a b c"), stream=StreamShape(stall_after=3)))
    with openai_over(three.router) as sdk:
        stream = sdk.chat.completions.create(model="fast", messages=HELLO, stream=True)
        next(stream)
        dropped = weakref.ref(stream)
        del stream
        gc.collect()  # the SDK's own stream refers to itself
        assert dropped() is None
        assert nothing_held(three.router)
        assert settles(lambda: idle(three["openai"]))


def test_a_place_that_a_given_up_stream_had_is_free_again() -> None:
    alone = {"openai": {"bulkhead": BulkheadConfig(max_concurrent=1)}}
    with asked("openai", of=alone, retry=ONE_ROUND) as providers, openai_over(providers.router) as sdk:
        for _ in range(3):
            with sdk.chat.completions.create(model="fast", messages=HELLO, stream=True) as stream:
                next(stream)


# -------------------------------------------------------------------------------------------------
# Tools
# -------------------------------------------------------------------------------------------------


def called(message: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]


def results_for(message: Any) -> Any:
    """What the tools that *message* calls have found."""
    return [{"role": "tool", "tool_call_id": call.id, "content": "18 degrees"} for call in message.tool_calls or ()]


def final(stream: Any) -> Any:
    with stream as opened:
        return opened.get_final_completion()


@every_vendor
@pytest.mark.parametrize("number", [1, 2])
def test_tools_are_called_one_or_several_at_once(vendor: str, number: int) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], tool_calls=number, tool_arguments={"query": "Paris"})
        request: Any = {"model": "fast", "messages": HELLO, "tools": [WEATHER, NEWS]}
        plain = sdk.chat.completions.create(**request)
        streamed = final(sdk.chat.completions.stream(**request))
    for completion in (plain, streamed):
        (choice,) = completion.choices
        expected = [("weather", {"query": "Paris"}), ("news", {"query": "Paris"})][:number]
        assert called(choice.message) == expected
        assert choice.finish_reason == "tool_calls"
        ids = [call.id for call in choice.message.tool_calls]
        assert all(ids)
        assert len(set(ids)) == number


@every_vendor
def test_a_tool_without_arguments_is_called_with_an_empty_object(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], tool_calls=2, tool_arguments={})
        request: Any = {"model": "fast", "messages": HELLO, "tools": [WEATHER, NEWS]}
        streamed = final(sdk.chat.completions.stream(**request))
    assert called(streamed.choices[0].message) == [("weather", {}), ("news", {})]


@pytest.mark.parametrize("first", VENDORS)
@pytest.mark.parametrize("second", VENDORS)
def test_what_a_tool_found_may_be_told_to_another_provider(three: Asked, first: str, second: str) -> None:
    """The message that the SDK made of the first answer is sent back as it is, with what its model wants back."""
    says(three[first], tool_calls=2, tool_arguments={"query": "Paris"})
    with openai_over(three.router) as sdk:
        asking = sdk.chat.completions.create(
            model=f"{first}:{MODEL_OF[first]}", messages=HELLO, tools=[WEATHER, NEWS], reasoning_effort="low"
        )
        message: Any = asking.choices[0].message
        results = results_for(message)
        assert len(results) == 2
        three[first].behave(Behaviour())
        answer = sdk.chat.completions.create(
            model=f"{second}:{MODEL_OF[second]}", messages=[*HELLO, message, *results], tools=[WEATHER, NEWS]
        )
    assert (answer.choices[0].message.content or "").startswith(f"provider {second} says:")


@pytest.mark.parametrize("vendor", ["anthropic", "gemini"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_is_sent_back_the_signature_of_its_own_thoughts(vendor: str, streamed: bool) -> None:
    """Without it, Gemini refuses the history of a tool call, and Anthropic one with thinking."""
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], tool_calls=1, tool_arguments={"query": "Paris"}, reasoning="hm")
        request: Any = {"model": "fast", "messages": HELLO, "tools": [WEATHER]}
        asking = final(sdk.chat.completions.stream(**request)) if streamed else sdk.chat.completions.create(**request)
        message = asking.choices[0].message
        sdk.chat.completions.create(model="fast", messages=[*HELLO, message, *results_for(message)], tools=[WEATHER])
        first, second = (json.dumps(each.decoded) for each in providers[vendor].requests)
    assert '"c2lt"' not in first
    assert '"c2lt"' in second


def test_a_tool_that_is_forced_is_called(three: Asked) -> None:
    with openai_over(three.router) as sdk:
        for vendor in VENDORS:
            completion = sdk.chat.completions.create(
                model=f"{vendor}:{MODEL_OF[vendor]}",
                messages=HELLO,
                tools=[WEATHER, NEWS],
                tool_choice={"type": "function", "function": {"name": "news"}},
            )
            assert [name for name, _ in called(completion.choices[0].message)] == ["news"]


# -------------------------------------------------------------------------------------------------
# Structured answers
# -------------------------------------------------------------------------------------------------


class City(pydantic.BaseModel):
    name: str
    people: int


@every_vendor
def test_an_answer_is_parsed_into_a_model_whoever_gives_it(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], text='{"name": "Paris", "people": 2100000}')
        plain = sdk.chat.completions.parse(model="fast", messages=HELLO, response_format=City)
        with sdk.chat.completions.stream(model="fast", messages=HELLO, response_format=City) as stream:
            streamed = stream.get_final_completion()
        sent = json.dumps([request.decoded for request in providers[vendor].requests])
    assert plain.choices[0].message.parsed == streamed.choices[0].message.parsed == City(name="Paris", people=2100000)
    assert sent.count('"people"') >= 2  # the schema went with both


@every_vendor
def test_the_arguments_of_a_tool_are_parsed_into_a_model(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], tool_calls=1, tool_arguments={"name": "Paris", "people": 1})
        tool = openai.pydantic_function_tool(City)
        plain = sdk.chat.completions.parse(model="fast", messages=HELLO, tools=[tool])
        with sdk.chat.completions.stream(model="fast", messages=HELLO, tools=[tool]) as stream:
            streamed = stream.get_final_completion()
    for completion in (plain, streamed):
        (call,) = completion.choices[0].message.tool_calls or []
        assert call.function.parsed_arguments == City(name="Paris", people=1)


@every_vendor
def test_an_answer_that_was_cut_by_its_length_is_the_sdks_own_error(vendor: str) -> None:
    with asked(vendor) as providers, openai_over(providers.router) as sdk:
        says(providers[vendor], text='{"name": "Par', finish="length")
        with pytest.raises(openai.LengthFinishReasonError):
            sdk.chat.completions.parse(model="fast", messages=HELLO, response_format=City)


# -------------------------------------------------------------------------------------------------
# Errors
# -------------------------------------------------------------------------------------------------


def fail(three: Asked, behaviour: Behaviour) -> None:
    for provider in three.cloud:
        provider.behave(behaviour)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (Fault.BAD_REQUEST, openai.BadRequestError, None),
        (Fault.CONTEXT, openai.BadRequestError, "context_length_exceeded"),
        (Fault.CONTENT_FILTER, openai.BadRequestError, "content_filter"),
        (Fault.OVERLOADED, openai.InternalServerError, "all_providers_failed"),
        (Fault.RATE_LIMIT, openai.RateLimitError, "all_providers_failed"),
        (Fault.SERVER, openai.InternalServerError, "all_providers_failed"),
    ],
)
def test_errors_are_the_sdks_own(
    three: Asked, fault: Fault, kind: type[openai.APIStatusError], code: str | None, stream: bool
) -> None:
    fail(three, Behaviour(Error(fault=fault)))
    with openai_over(three.router) as sdk, pytest.raises(kind) as raised:
        sdk.chat.completions.create(model="fast", messages=HELLO, stream=stream)
    assert raised.value.code == code
    assert "openai" in raised.value.message
    assert all(number <= 1 for number in three.count().values()), "the SDK has repeated what the router had repeated"


def test_the_receipt_is_in_the_message(three: Asked) -> None:
    fail(three, BEHAVIOURS["server-error"])
    with openai_over(three.router) as sdk, pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="fast", messages=HELLO)
    assert raised.value.status_code == 503
    for vendor in VENDORS:
        assert vendor in raised.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_when_all_is_limited_it_is_a_rate_limit_to_programs_that_wait_for_one_and_they_are_told_how_long(
    three: Asked, stream: bool
) -> None:
    """The first call is told by the providers, the second by what is known of them."""
    fail(three, Behaviour(Error(fault=Fault.RATE_LIMIT, retry_after=30)))
    with openai_over(three.router) as sdk:
        for _ in range(2):
            with pytest.raises(openai.RateLimitError) as raised:
                sdk.chat.completions.create(model="fast", messages=HELLO, timeout=5, stream=stream)
            assert raised.value.code == "all_providers_failed"
            assert 29 <= int(raised.value.response.headers["retry-after"]) <= 33
    assert three.count() == {"openai": 1, "anthropic": 1, "gemini": 1}


def test_a_limit_beside_another_failure_is_none_to_wait_for(
    three: Asked, expect_logs: pytest.LogCaptureFixture
) -> None:
    fail(three, BEHAVIOURS["rate-limit"])
    three["gemini"].behave(BEHAVIOURS["quota"])
    with openai_over(three.router) as sdk:
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as raised:
                sdk.chat.completions.create(model="fast", messages=HELLO, timeout=5)
            assert raised.value.status_code == 503


def test_the_request_id_of_an_error_is_the_providers(three: Asked) -> None:
    fail(three, BEHAVIOURS["bad-request"])
    with openai_over(three.router) as sdk, pytest.raises(openai.BadRequestError) as raised:
        sdk.chat.completions.create(model="fast", messages=HELLO)
    assert raised.value.request_id
    assert raised.value.response.headers["x-failsafe-provider"] == "openai"


def test_a_model_that_nobody_serves_is_not_found(three: Asked) -> None:
    with openai_over(three.router) as sdk, pytest.raises(openai.NotFoundError) as raised:
        sdk.chat.completions.create(model="fats", messages=HELLO)
    assert raised.value.code == "model_not_found"
    assert "fast" in raised.value.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2}, "n = 2: only 1 is answered"),
        ({"temperature": 3}, "temperature = 3: "),
        ({"max_completion_tokens": 0}, "max_completion_tokens = 0: "),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]}, "messages[0].tool_call_id = 'y': "),
    ],
)
def test_a_wrong_request_is_refused_by_the_place_of_the_mistake(three: Asked, fields: Any, said: str) -> None:
    with openai_over(three.router) as sdk, pytest.raises(openai.BadRequestError) as raised:
        sdk.chat.completions.create(**{"model": "fast", "messages": HELLO, **fields})
    assert said in raised.value.message
    assert set(three.count().values()) == {0}


def test_a_rejected_key_is_none_of_the_clients_business(three: Asked, expect_logs: pytest.LogCaptureFixture) -> None:
    fail(three, BEHAVIOURS["echoed-key"])
    with openai_over(three.router) as sdk, pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="fast", messages=HELLO)
    for provider in three.cloud:
        assert provider.key not in raised.value.message


def test_a_closed_router_answers_nobody(three: Asked) -> None:
    three.router.close()
    with openai_over(three.router) as sdk, pytest.raises(openai.InternalServerError, match="closed"):
        sdk.chat.completions.create(model="fast", messages=HELLO)


# -------------------------------------------------------------------------------------------------
# Time
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["request", "client"])
def test_the_sdks_timeout_is_the_deadline_of_the_whole_call(three: Asked, where: str, stream: bool) -> None:
    fail(three, BEHAVIOURS["hang"])
    of_client = {"timeout": 0.4} if where == "client" else {}
    of_request: Any = {"timeout": 0.4} if where == "request" else {}
    began = SYSTEM_CLOCK.monotonic()
    with openai_over(three.router, **of_client) as sdk, pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="fast", messages=HELLO, stream=stream, **of_request)
    assert SYSTEM_CLOCK.monotonic() - began < 0.4 + GRACE
    assert (raised.value.status_code, raised.value.code) == (504, "deadline_exceeded")
    assert "deadline of 0.4 s" in raised.value.message


def test_the_deadline_holds_amid_a_stream_too() -> None:
    """The pieces come often enough for any limit on the time between two bytes."""
    with asked("openai", retry=ONE_ROUND) as providers, openai_over(providers.router) as sdk:
        providers["openai"].behave(Behaviour(Healthy(text="word " * 100), stream=StreamShape(interval=0.05)))
        began = SYSTEM_CLOCK.monotonic()
        stream = sdk.chat.completions.create(model="fast", messages=HELLO, stream=True, timeout=0.5)
        with pytest.raises(openai.APIError, match=r"deadline of 0\.5 s"):
            list(stream)
        assert SYSTEM_CLOCK.monotonic() - began < 0.5 + GRACE
        assert nothing_held(providers.router)


def test_without_a_timeout_of_the_sdk_the_routers_own_holds() -> None:
    with (
        asked("openai", retry=ONE_ROUND, timeout=0.3) as providers,
        openai_over(providers.router, timeout=None) as sdk,
    ):
        fail(providers, BEHAVIOURS["hang"])
        with pytest.raises(openai.InternalServerError, match=r"deadline of 0\.3 s"):
            sdk.chat.completions.create(model="fast", messages=HELLO)


def test_the_sdks_default_gives_an_answer_more_time_than_the_routers() -> None:
    with asked("openai", timeout=0.1) as providers, openai_over(providers.router) as sdk:
        providers["openai"].behave(Behaviour(latency=0.3))
        assert sdk.chat.completions.create(model="fast", messages=HELLO).choices


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_of_nothing_is_the_clients_mistake(three: Asked, timeout: float) -> None:
    with openai_over(three.router) as sdk:
        for ask in (
            lambda: sdk.chat.completions.create(model="fast", messages=HELLO, timeout=timeout),
            lambda: sdk.chat.completions.create(model="fast", messages=HELLO, timeout=timeout, stream=True),
            lambda: sdk.embeddings.create(model="text-embedding-3-small", input="one", timeout=timeout),
        ):
            with pytest.raises(openai.BadRequestError, match=r"timeout = .*: a number of seconds above 0") as raised:
                ask()
            assert raised.value.type == "invalid_request_error"
    assert sum(three.count().values()) == 0


# -------------------------------------------------------------------------------------------------
# Failover, before and amid an answer
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", ["refuse", "server-error", "rate-limit", "html", "close", "wrong-key"])
def test_a_provider_that_is_down_is_not_noticed(
    three: Asked, behaviour: str, stream: bool, expect_logs: pytest.LogCaptureFixture
) -> None:
    three["openai"].behave(BEHAVIOURS[behaviour])
    with openai_over(three.router) as sdk:
        answer: Any = sdk.chat.completions.create(model="fast", messages=HELLO, stream=stream)
        text = text_of(answer) if stream else answer.choices[0].message.content
    assert text == said_by("anthropic", "hello")


@pytest.mark.parametrize("behaviour", ["stream-keep-alive", "stream-blank-lines", "stream-error-first"])
def test_a_stream_that_never_says_anything_is_not_noticed(behaviour: str) -> None:
    with asked(stream=StreamConfig(first_content=0.2)) as providers, openai_over(providers.router) as sdk:
        providers["openai"].behave(BEHAVIOURS[behaviour])
        chunks = list(sdk.chat.completions.create(model="fast", messages=HELLO, stream=True))
    assert text_of(chunks) == said_by("anthropic", "hello")
    assert chunks[0].model == MODEL_OF["anthropic"]


CUTS = [
    StreamShape(cut_after=3),
    StreamShape(cut_after=3, cut="reset"),
    StreamShape(stall_after=3),
    StreamShape(error_after=3),
    StreamShape(finish=False, done=False),
]


@pytest.mark.parametrize("shape", CUTS, ids=["cut", "reset", "stall", "error", "no finish"])
@every_vendor
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(vendor: str, shape: StreamShape) -> None:
    with (
        asked(vendor, retry=ONE_ROUND, stream=StreamConfig(stall=0.2)) as providers,
        openai_over(providers.router) as sdk,
    ):
        providers[vendor].behave(Behaviour(Healthy(text="one two three four"), stream=shape))
        stream = sdk.chat.completions.create(model="fast", messages=HELLO, stream=True)
        shown: list[Any] = []
        with pytest.raises(openai.APIError, match="broke off") as raised:
            shown.extend(stream)
        assert text_of(shown)
        assert raised.value.code == "stream_interrupted"
        assert nothing_held(providers.router)


def test_on_interrupt_continue_lets_the_next_provider_finish_the_answer() -> None:
    with asked(retry=ONE_ROUND) as providers, openai_over(providers.router, on_interrupt="continue") as sdk:
        providers["openai"].behave(Behaviour(Healthy(text="one two three four"), stream=StreamShape(cut_after=3)))
        says(providers["anthropic"], text=" and the rest")
        chunks = list(sdk.chat.completions.create(model="fast", messages=HELLO, stream=True))
    text = text_of(chunks)
    assert text.startswith("one")
    assert text.endswith("and the rest")
    assert len({chunk.model for chunk in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "stop"
