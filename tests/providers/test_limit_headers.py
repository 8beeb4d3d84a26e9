"""What the headers of an answer say is left of the rate limits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from failsafe.learnt_limits import Reading
from failsafe.providers.limit_headers import readings

NOW = 1_800_000_000.0


def read(headers: Mapping[str, str], vendor: str = "openai", dialect: str = "openai") -> dict[str, tuple[float, float]]:
    found = readings(CaseInsensitiveDict(headers), vendor=vendor, dialect=dialect, now=NOW)
    return {reading.dimension: (reading.remaining, reading.reset) for reading in found}


def openai(requests: str, tokens: str = "29990", reset: str = "12ms") -> dict[str, str]:
    return {
        "X-RateLimit-Limit-Requests": "500",
        "X-RateLimit-Limit-Tokens": "30000",
        "X-RateLimit-Remaining-Requests": requests,
        "X-RateLimit-Remaining-Tokens": tokens,
        "X-RateLimit-Reset-Requests": reset,
        "X-RateLimit-Reset-Tokens": "6m0s",
    }


ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "3",
    "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:30Z",
    "anthropic-ratelimit-input-tokens-limit": "400000",
    "anthropic-ratelimit-input-tokens-remaining": "399000",
    "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:01Z",
    "anthropic-ratelimit-output-tokens-remaining": "0",
    "anthropic-ratelimit-output-tokens-reset": "2027-01-15T08:00:45Z",
}


def test_plenty_is_infinite_and_nothing_else_is_looked_at() -> None:
    assert read(openai("499", "250000")) == {"requests": (math.inf, 0.0), "tokens": (math.inf, 0.0)}


def test_little_of_openais_limits_is_read_with_its_reset() -> None:
    assert read(openai("2", reset="1m4.5s")) == {"requests": (2.0, 64.5), "tokens": (29990.0, 360.0)}


def test_groqs_reset_in_seconds() -> None:
    assert read(openai("0", "250000", reset="7.66s"), vendor="groq")["requests"] == (0.0, 7.66)


def test_anthropics_limits_have_moments() -> None:
    found = read(ANTHROPIC, "anthropic", "anthropic")
    assert found["requests"] == (3.0, 30.0)
    assert found["input_tokens"] == (math.inf, 0.0)
    assert found["output_tokens"] == (0.0, 45.0)


def test_the_moment_counts_from_the_answers_own_date() -> None:
    skewed = {**ANTHROPIC, "Date": "Fri, 15 Jan 2027 08:00:20 GMT"}
    assert read(skewed, "anthropic", "anthropic")["requests"] == (3.0, 10.0)


def test_azure_means_nothing_by_its_numbers() -> None:
    assert read({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-remaining-tokens": "0"}, vendor="azure") == {}


def test_who_says_nothing_is_asked_for_nothing_more() -> None:
    asked: list[str] = []

    class Headers(dict[str, str]):
        def get(self, name: str, default: object = None) -> None:  # type: ignore[override]
            asked.append(name)

    assert readings(Headers(), vendor="openai", dialect="openai", now=NOW) == ()
    assert len(asked) == 1
    assert readings(Headers(), vendor="gemini", dialect="gemini", now=NOW) == ()
    assert len(asked) == 1


@pytest.mark.parametrize("said", ["", "-1", "none", "1.5", "1_0", "٣", "9" * 400, "Infinity", "NaN"])
def test_what_is_no_plain_number_holds_no_request_back(said: str) -> None:
    found = readings({"x-ratelimit-remaining-requests": said}, vendor="openai", dialect="openai", now=NOW)
    assert all(reading.remaining == math.inf for reading in found)


@pytest.mark.parametrize("reset", ["", "soon", "-5s", "nan"])
def test_little_without_a_reset_says_nothing(reset: str) -> None:
    assert "requests" not in read(openai("0", reset=reset))


@given(st.dictionaries(st.sampled_from([*openai("1"), *ANTHROPIC, "date"]), st.text(max_size=30)))
def test_whatever_a_server_sends_is_read_without_an_exception(headers: dict[str, str]) -> None:
    for vendor, dialect in (("openai", "openai"), ("anthropic", "anthropic")):
        for reading in readings(CaseInsensitiveDict(headers), vendor=vendor, dialect=dialect, now=NOW):
            assert isinstance(reading, Reading)
            assert reading.remaining >= 0
            assert 0 <= reading.reset < math.inf
