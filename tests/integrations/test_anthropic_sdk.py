"""The official ``anthropic`` SDK, answered by a router over fake providers of all three dialects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.faults import Fault
from failsafe.policy_config import RetryConfig, StreamConfig
from failsafe.sim import BEHAVIOURS, Behaviour, Error, Healthy, StreamShape
from tests.acceptance.routers import GRACE, said_by, settles
from tests.integrations.sdks import SDK_KEY, Asked, anthropic_over, asked, idle, nothing_held

VENDORS = ("openai", "anthropic", "gemini")
MODEL_OF = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-3.5-flash"}
ONE_ROUND = RetryConfig(max_retries=0)
ASK: Any = {"model": "fast", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
NEWS: Any = {**WEATHER, "name": "news"}
every_vendor = pytest.mark.parametrize("vendor", VENDORS)


@pytest.fixture
def three() -> Iterator[Asked]:
    with asked(retry=ONE_ROUND) as providers:
        yield providers


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@every_vendor
def test_an_answer_of_any_dialect_is_a_message(vendor: str) -> None:
    with asked(vendor) as providers, anthropic_over(providers.router) as sdk:
        raw = sdk.messages.with_raw_response.create(**ASK)
    message = raw.parse()
    assert raw.headers["x-failsafe-provider"] == vendor
    if vendor != "gemini":  # which gives its requests no ids
        assert message._request_id
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert (text_of(message), message.model) == (said_by(vendor, "hello"), MODEL_OF[vendor])
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


def test_of_anthropics_own_answer_nothing_is_lost() -> None:
    with asked("anthropic") as providers, anthropic_over(providers.router) as sdk:
        message = sdk.messages.create(**ASK)
        own = providers.router.chat("hello", model="fast").raw
    assert message.to_dict().keys() >= own.keys() - {"id"}


@every_vendor
def test_a_stream_of_any_dialect_is_put_together_by_the_sdk(vendor: str) -> None:
    with (
        asked(vendor) as providers,
        anthropic_over(providers.router) as sdk,
        sdk.messages.stream(**ASK) as stream,
    ):
        shown = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert shown == text_of(message) == said_by(vendor, "hello")
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


@pytest.mark.parametrize("model", ["fast", "anthropic:claude-haiku-4-5", "claude-haiku-4-5"])
def test_thinking_goes_back_with_tool_results_whatever_name_its_model_is_asked_by(model: str) -> None:
    """Without the thinking before a call Anthropic takes no request with thinking, so it would be off from there on."""
    thinking: Any = {**ASK, "model": model, "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with asked("openai", "anthropic") as providers, anthropic_over(providers.router) as sdk:
        providers["openai"].behave(BEHAVIOURS["server-error"])
        providers["anthropic"].behave(Behaviour(Healthy(tool_calls=1, reasoning="Paris, then.")))
        called = sdk.messages.create(**thinking, tools=[WEATHER])
        result: Any = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "18 degrees"}
        history: Any = [*ASK["messages"], {"role": "assistant", "content": called.content}]
        sdk.messages.create(
            **{**thinking, "messages": [*history, {"role": "user", "content": [result]}]}, tools=[WEATHER]
        )
        sent = providers["anthropic"].requests[-1].decoded
    assert sent["thinking"] == thinking["thinking"]
    assert sent["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Paris, then.", "signature": "c2lt"}


def test_thinking_is_left_out_where_nobody_can_say_which_of_two_models_did_it() -> None:
    aliases = {"fast": ["claude-haiku-4-5", "claude-sonnet-4-5"]}
    with asked("anthropic", aliases=aliases) as providers, anthropic_over(providers.router) as sdk:
        turn: Any = [{"type": "thinking", "thinking": "Hm.", "signature": "c2lt"}, {"type": "text", "text": "hi"}]
        history: Any = [*ASK["messages"], {"role": "assistant", "content": turn}, *ASK["messages"]]
        sdk.messages.create(**{**ASK, "messages": history})
        sent = providers["anthropic"].requests[-1].decoded
    assert sent["messages"][1]["content"] == [{"type": "text", "text": "hi"}]


@every_vendor
@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_runner_sends_the_whole_history_as_nobody_holds_it_for_the_sdk(vendor: str, stream: bool) -> None:
    """By default it asks the server to hold the conversation, and sends only what is new, unless it is refused."""
    with asked(vendor) as providers, anthropic_over(providers.router) as sdk:
        providers[vendor].behave(Behaviour(Healthy(tool_calls=1, tool_arguments={"query": "Paris"})))

        @anthropic.beta_tool
        def weather(query: str) -> str:
            """The weather in a city."""
            providers[vendor].behave(Behaviour(Healthy()))
            return f"18 degrees in {query}"

        runner: Any = sdk.beta.messages.tool_runner(**ASK, tools=[weather], stream=stream)
        message = runner.until_done()
        last = str(providers[vendor].requests[-1].decoded)
    assert text_of(message).startswith(f"provider {vendor} says")
    assert "18 degrees in Paris" in last
    assert "hello" in last


def test_a_thread_is_refused_as_the_sdk_knows_it_and_no_turn_is_answered_without_those_before_it() -> None:
    with asked("anthropic") as providers, anthropic_over(providers.router) as sdk:
        thread = sdk.beta.messages.thread(max_tokens=100, model="fast")
        with pytest.raises(anthropic.BadRequestError, match="nobody here holds a conversation") as caught:
            thread.send({"role": "user", "content": "hello"})
        assert providers.count() == {"anthropic": 0}
    assert type(caught.value).__name__ == "ThreadUnsupportedRequestError"


@every_vendor
@pytest.mark.parametrize("number", [1, 2])
def test_tools_are_called_one_or_several_at_once_and_told_what_they_found(vendor: str, number: int) -> None:
    with asked(vendor) as providers, anthropic_over(providers.router) as sdk:
        called = Behaviour(Healthy(tool_calls=number, tool_arguments={"query": "Paris"}))
        providers[vendor].behave(called)
        request: Any = {**ASK, "tools": [WEATHER, NEWS]}
        plain = sdk.messages.create(**request)
        with sdk.messages.stream(**request) as stream:
            streamed = stream.get_final_message()
        providers[vendor].behave(Behaviour())
        for message in (plain, streamed):
            uses: Any = [block for block in message.content if block.type == "tool_use"]
            assert [(use.name, use.input) for use in uses] == [
                ("weather", {"query": "Paris"}), ("news", {"query": "Paris"}),
            ][:number]  # fmt: skip
            assert message.stop_reason == "tool_use"
            results = [{"type": "tool_result", "tool_use_id": use.id, "content": "18 degrees"} for use in uses]
            history = [*ASK["messages"], {"role": "assistant", "content": message.content},
                       {"role": "user", "content": results}]  # fmt: skip
            assert text_of(sdk.messages.create(**{**request, "messages": history})).startswith(f"provider {vendor}")


def test_the_sdks_key_goes_nowhere(three: Asked) -> None:
    with anthropic_over(three.router, base_url="http://127.0.0.1:9") as sdk:
        assert sdk.messages.create(**ASK).content
    assert three.count() == {"openai": 1, "anthropic": 0, "gemini": 0}
    assert SDK_KEY.encode() not in three.received()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (Fault.BAD_REQUEST, anthropic.BadRequestError, 400),
        (Fault.SERVER, anthropic.ServiceUnavailableError, 503),
        (Fault.RATE_LIMIT, anthropic.RateLimitError, 429),
    ],
)
def test_errors_are_the_sdks_own(
    three: Asked, fault: Fault, kind: type[anthropic.APIStatusError], status: int, stream: bool
) -> None:
    for provider in three.cloud:
        provider.behave(Behaviour(Error(fault=fault)))
    with anthropic_over(three.router) as sdk, pytest.raises(kind) as raised:
        sdk.messages.create(**ASK, stream=stream)
    assert raised.value.status_code == status
    assert "openai" in str(raised.value)
    assert all(number <= 1 for number in three.count().values()), "the SDK has repeated what the router had repeated"


def test_a_model_that_nobody_serves_is_not_found(three: Asked) -> None:
    with anthropic_over(three.router) as sdk, pytest.raises(anthropic.NotFoundError, match="fats"):
        sdk.messages.create(**{**ASK, "model": "fats"})


@pytest.mark.parametrize("stream", [False, True])
def test_the_sdks_timeout_is_the_deadline_of_the_whole_call(three: Asked, stream: bool) -> None:
    for provider in three.cloud:
        provider.behave(BEHAVIOURS["hang"])
    began = SYSTEM_CLOCK.monotonic()
    with anthropic_over(three.router) as sdk, pytest.raises(anthropic.GatewayTimeoutError) as raised:
        sdk.messages.create(**ASK, stream=stream, timeout=0.4)
    assert SYSTEM_CLOCK.monotonic() - began < 0.4 + GRACE
    assert raised.value.status_code == 504


@pytest.mark.parametrize("behaviour", ["refuse", "server-error", "stream-keep-alive"])
def test_a_provider_that_is_down_is_not_noticed(behaviour: str) -> None:
    with asked(stream=StreamConfig(first_content=0.2)) as providers, anthropic_over(providers.router) as sdk:
        providers["openai"].behave(BEHAVIOURS[behaviour])
        with sdk.messages.stream(**ASK) as stream:
            assert "".join(stream.text_stream) == said_by("anthropic", "hello")


@every_vendor
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(vendor: str) -> None:
    with asked(vendor, retry=ONE_ROUND) as providers, anthropic_over(providers.router) as sdk:
        providers[vendor].behave(Behaviour(Healthy(text="one two three four"), stream=StreamShape(cut_after=3)))
        with pytest.raises(anthropic.APIError, match="broke off"), sdk.messages.stream(**ASK) as stream:
            stream.get_final_message()
        assert nothing_held(providers.router)


@every_vendor
def test_a_stream_that_is_given_up_closes_the_providers_socket(vendor: str) -> None:
    with asked(vendor) as providers, anthropic_over(providers.router) as sdk:
        providers[vendor].behave(Behaviour(Healthy(text="one two three"), stream=StreamShape(stall_after=4)))
        stream = sdk.messages.create(**ASK, stream=True)
        next(stream)
        assert not nothing_held(providers.router)
        stream.close()
        assert nothing_held(providers.router)
        assert settles(lambda: idle(providers[vendor]))


def test_on_interrupt_continue_lets_the_next_provider_finish_the_answer() -> None:
    with asked(retry=ONE_ROUND) as providers, anthropic_over(providers.router, on_interrupt="continue") as sdk:
        providers["openai"].behave(Behaviour(Healthy(text="one two three four"), stream=StreamShape(cut_after=3)))
        providers["anthropic"].behave(Behaviour(Healthy(text=" and the rest")))
        with sdk.messages.stream(**ASK) as stream:
            message = stream.get_final_message()
    assert text_of(message).startswith("one")
    assert text_of(message).endswith("and the rest")
