"""What a provider itself says that an answer costs, and what an answer costs whose price or tokens are not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from failsafe.catalog import Quirks
from failsafe.models import Answer, Attempt, Usage
from failsafe.pricing import Rates
from failsafe.providers.base import Target
from failsafe.providers.openai_answer import read_answer
from failsafe.providers.openai_embeddings import read as read_embeddings
from failsafe.providers.openai_stream import OpenAIStream
from failsafe.testing import answer
from failsafe.transport.base import RawAnswer
from tests.router_bench import Bench


def target(vendor: str = "generic") -> Target:
    return Target(provider="p", vendor=vendor, model="m", info=None, quirks=Quirks(), extra={})  # type: ignore[arg-type]


def whole(usage: str, vendor: str = "generic") -> Decimal | None:
    body = msgspec.json.decode(
        f'{{"choices": [{{"message": {{"content": "hi"}}, "finish_reason": "stop"}}], "usage": {usage}}}'
    )
    read = read_answer(body, target(vendor))
    assert isinstance(read, Answer)
    return read.usage.cost_usd


def streamed(usage: str, vendor: str = "generic") -> Decimal | None:
    stream = OpenAIStream(target(vendor))
    stream.read("", b'{"id": "1", "model": "m", "choices": [{"delta": {"content": "hi"}}]}')
    stream.read("", b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}')
    stream.read("", f'{{"choices": [], "usage": {usage}}}'.encode())
    read = read_answer(stream.body(), target(vendor))
    assert isinstance(read, Answer)
    return read.usage.cost_usd


both_ways = pytest.mark.parametrize("ask", [whole, streamed])


@both_ways
@pytest.mark.parametrize("text", ["0.00014", "0", "3", "1e-7", "0.1", "12.345678901234567", "9999.99"])
def test_the_digits_of_the_answer_are_kept(ask: Any, text: str) -> None:
    assert ask(f'{{"prompt_tokens": 3, "completion_tokens": 2, "cost_usd": {text}}}') == Decimal(text)


@both_ways
@pytest.mark.parametrize("text", ["-0.1", "1e5", "10000.01", "true", '"0.1"', "null", "{}", "[1]"])
def test_what_is_no_sane_price_is_left_out(ask: Any, text: str) -> None:
    assert ask(f'{{"prompt_tokens": 3, "cost_usd": {text}}}') is None


@both_ways
def test_openrouters_credits_are_dollars_and_nobody_elses(ask: Any) -> None:
    assert ask('{"prompt_tokens": 3, "cost": 0.95}', "openrouter") == Decimal("0.95")
    assert ask('{"prompt_tokens": 3, "cost": 0.95}', "generic") is None
    assert ask('{"prompt_tokens": 3, "cost": {"total": 1}}', "openrouter") is None


@both_ways
def test_with_a_key_of_ones_own_the_vendors_cost_comes_on_top_of_openrouters_fee(ask: Any) -> None:
    usage = '{"prompt_tokens": 3, "cost": 0.95, "is_byok": true, "cost_details": {"upstream_inference_cost": 19}}'
    assert ask(usage, "openrouter") == Decimal("19.95")
    assert ask('{"prompt_tokens": 3, "cost": 0.95, "is_byok": true}', "openrouter") is None
    others = '{"prompt_tokens": 3, "cost": 0.95, "is_byok": false, "cost_details": {"upstream_inference_cost": 0.9}}'
    assert ask(others, "openrouter") == Decimal("0.95")


def test_embeddings_say_it_too() -> None:
    body = {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3, "cost_usd": 0.0002}}
    read: Any = read_embeddings(body, target())
    assert read.usage.cost_usd == Decimal("0.0002")


def said(answered: str = "", /, **usage: Any) -> RawAnswer:
    body = msgspec.json.decode(answer().body)
    body["usage"] = usage
    body["model"] = answered
    return RawAnswer(status=200, headers={}, body=msgspec.json.encode(body))


PRICES = {"gpt-4.1": {"input": 2, "output": 8}}


def test_the_providers_word_comes_before_the_price_list() -> None:
    usage: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 500}
    by_list = Bench(said(**usage), each={"a": {"prices": PRICES}}).ask()
    by_word = Bench(said(**usage, cost_usd=0.0123), each={"a": {"prices": PRICES}}).ask()
    assert (by_list.cost_usd, by_word.cost_usd) == (Decimal("0.006"), Decimal("0.0123"))


def test_an_answer_that_does_not_say_how_many_tokens_costs_unknown_and_not_nothing() -> None:
    assert Bench(said(), each={"a": {"prices": PRICES}}).ask().cost_usd is None
    free = {"gpt-4.1": {"input": 0, "output": 0}}
    assert Bench(said(), each={"a": {"prices": free}}).ask().cost_usd == 0


def test_a_failed_attempt_costs_unknown() -> None:
    assert Attempt(provider="a", model="m", maybe_billed=True).cost_usd is None
    assert Attempt(provider="a", model="m", usage=Usage(prompt_tokens=1)).cost_usd is None
    free = Rates(input=Decimal(0), output=Decimal(0))
    assert Attempt(provider="a", model="m", usage=Usage(prompt_tokens=1), rates=free).cost_usd == 0


# Another model answers than the one that was asked for.


def cost_of(asked: str, answered: str, **provider: Any) -> Decimal | None:
    bench = Bench(
        said(answered, prompt_tokens=1_000_000, completion_tokens=0), each={"a": {"api_key": "marked-key", **provider}}
    )
    return bench.ask(model=asked).cost_usd


@pytest.mark.usefixtures("expect_logs")
def test_an_answer_costs_what_the_model_costs_that_gave_it() -> None:
    assert cost_of("gemini-2.5-pro", "gemini-3.5-flash-lite", preset="openai", models=["gemini-2.5-pro"]) == Decimal(
        "0.3"
    )


def test_a_dated_version_costs_what_was_asked_for() -> None:
    assert cost_of("gpt-4o", "gpt-4o-2024-08-06", preset="openai") == Decimal("2.5")


@pytest.mark.usefixtures("expect_logs")
def test_where_the_other_models_price_is_not_known_that_of_the_one_asked_for_stands() -> None:
    assert cost_of("gpt-4o", "something-new", preset="openai") == Decimal("2.5")


@pytest.mark.usefixtures("expect_logs")
def test_a_deployment_costs_what_the_model_behind_it_does() -> None:
    assert cost_of("our-deployment", "gpt-4.1-2025-04-14", preset="azure", models=["our-deployment"]) == 2


@pytest.mark.usefixtures("expect_logs")
def test_your_own_price_for_what_you_asked_for_holds_whoever_answers() -> None:
    own = {"gemini-2.5-pro": {"input": 7, "output": 9}}
    assert cost_of("gemini-2.5-pro", "gemini-3.8-flash", preset="openai", prices=own, models=["gemini-2.5-pro"]) == 7
