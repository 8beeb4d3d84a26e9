"""Request ids, rate limits and hints on when to come back, as each vendor gives them."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from failsafe.faults import Fault
from failsafe.sim import BEHAVIOURS, VENDORS, Behaviour, Error, FakeProvider
from tests.sim.sim_client import ask

ID_HEADERS = {
    "openai": "x-request-id",
    "anthropic": "request-id",
    "azure": "apim-request-id",
    "openrouter": "X-Generation-Id",
    "mistral": "mistral-correlation-id",
}


@pytest.mark.parametrize("vendor", ID_HEADERS)
def test_every_answer_names_its_request_once(vendor: str) -> None:
    with FakeProvider(vendor) as provider:
        ids = [ask(provider).headers[ID_HEADERS[vendor]] for _ in range(2)]
        provider.behave(Behaviour(Error(fault=Fault.SERVER)))
        ids.append(ask(provider).headers[ID_HEADERS[vendor]])
    assert len(set(ids)) == 3


def test_anthropics_error_body_names_the_request_too() -> None:
    with FakeProvider("anthropic", behaviour=Behaviour(Error(fault=Fault.SERVER))) as provider:
        answer = ask(provider)
    assert answer.json()["request_id"] == answer.headers["request-id"]


def test_rate_limits_are_stated_by_those_who_state_them() -> None:
    found = {}
    for vendor in VENDORS:
        with FakeProvider(vendor) as provider:
            found[vendor] = {name.lower() for name in ask(provider).headers if "ratelimit" in name.lower()}
    assert "x-ratelimit-remaining-requests" in found["openai"]
    assert "x-ratelimit-reset-tokens" in found["groq"]
    assert "anthropic-ratelimit-requests-reset" in found["anthropic"]
    assert found["gemini"] == found["deepseek"] == set()


def test_a_used_up_limit_shows_in_the_headers() -> None:
    behaviour = Behaviour(Error(fault=Fault.RATE_LIMIT, retry_after=90))
    with FakeProvider("openai", behaviour=behaviour) as provider:
        headers = ask(provider).headers
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "1m30s"
    assert headers["Retry-After"] == "90"


def test_a_429_about_money_says_nothing_of_rates() -> None:
    with FakeProvider("openai", behaviour=BEHAVIOURS["quota"]) as provider:
        answer = ask(provider)
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert not [name for name in answer.headers if "ratelimit" in name.lower() or "retry" in name.lower()]


@pytest.mark.parametrize(
    ("details", "header", "value"),
    [
        ({"retry_after": 20}, "Retry-After", "20"),
        ({"retry_after": 1.5}, "Retry-After", "1.5"),
        ({"retry_after": 1.5, "retry_after_style": "ms"}, "retry-after-ms", "1500"),
        ({"should_retry": True}, "x-should-retry", "true"),
        ({"should_retry": False}, "x-should-retry", "false"),
        ({"headers": (("Retry-After", "soon"),), "retry_after": 3}, "Retry-After", "soon"),
    ],
)
def test_hints_are_given_as_asked(details: dict[str, Any], header: str, value: str) -> None:
    with FakeProvider("openai", behaviour=Behaviour(Error(fault=Fault.RATE_LIMIT, **details))) as provider:
        assert ask(provider).headers[header] == value


def test_a_date_lies_as_far_ahead_of_the_answers_own_date_as_asked() -> None:
    behaviour = Behaviour(Error(fault=Fault.RATE_LIMIT, retry_after=20, retry_after_style="date"))
    with FakeProvider("openai", behaviour=behaviour) as provider:
        headers = ask(provider).headers
    ahead = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert ahead.total_seconds() == 20


def test_gemini_gives_its_hint_in_the_body() -> None:
    with FakeProvider("gemini", behaviour=BEHAVIOURS["rate-limit"]) as provider:
        answer = ask(provider)
    assert "Retry-After" not in answer.headers
    (detail,) = answer.json()["error"]["details"]
    assert detail["retryDelay"] == "20s"


def test_azure_gives_both_headers() -> None:
    with FakeProvider("azure", behaviour=BEHAVIOURS["rate-limit"]) as provider:
        headers = ask(provider).headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("20", "20000")


@pytest.mark.parametrize(("seconds", "text"), [(0.012, "12ms"), (1.5, "1.5s"), (360, "6m0s"), (3723, "1h2m3s")])
def test_a_reset_time_is_written_as_go_writes_a_duration(seconds: float, text: str) -> None:
    behaviour = Behaviour(Error(fault=Fault.RATE_LIMIT, retry_after=seconds))
    with FakeProvider("groq", behaviour=behaviour) as provider:
        assert ask(provider).headers["x-ratelimit-reset-requests"] == text
