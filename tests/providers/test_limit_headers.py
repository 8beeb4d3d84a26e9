"""What the headers of answers say is left of the limits; the sets of headers are those of real answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPHeaderDict

from failsafe.learnt_limits import LearntLimits, Reading
from failsafe.providers.limit_headers import readings
from failsafe.sim import identity
from failsafe.testing import FakeClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
PLENTY = {name: Reading(name, math.inf) for name in ("requests", "tokens", "input_tokens", "output_tokens")}
KINDS: list[Callable[[Mapping[str, str]], Any]] = [dict, CaseInsensitiveDict, HTTPHeaderDict]

OPENAI = {
    "Date": "Tue, 24 Nov 2026 12:00:00 GMT",
    "Content-Type": "application/json",
    "openai-organization": "user-x",
    "openai-processing-ms": "412",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "199978",
    "x-ratelimit-reset-requests": "8.64s",
    "x-ratelimit-reset-tokens": "6ms",
    "x-request-id": "req_0123456789abcdef",
}
ANTHROPIC = {
    "Date": "Tue, 24 Nov 2026 12:00:00 GMT",
    "request-id": "req_011CQ",
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2026-11-24T12:00:00Z",
    "anthropic-ratelimit-input-tokens-limit": "400000",
    "anthropic-ratelimit-input-tokens-remaining": "399000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-24T12:00:00Z",
    "anthropic-ratelimit-output-tokens-limit": "80000",
    "anthropic-ratelimit-output-tokens-remaining": "80000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-24T12:00:00Z",
    "anthropic-ratelimit-tokens-limit": "480000",
    "anthropic-ratelimit-tokens-remaining": "479000",
    "anthropic-ratelimit-tokens-reset": "2026-11-24T12:00:00Z",
}
AZURE = {
    "apim-request-id": "0f5c",
    "x-ms-region": "Sweden Central",
    "x-ratelimit-limit-requests": "100",
    "x-ratelimit-limit-tokens": "100000",
    "x-ratelimit-remaining-requests": "-1",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "60",
}
GROQ = {
    "x-groq-region": "us-west-1",
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-limit-tokens": "6000",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-remaining-tokens": "5994",
    "x-ratelimit-reset-requests": "23h59m54s",
    "x-ratelimit-reset-tokens": "59.999999ms",
}
OPENROUTER = {
    "x-generation-id": "gen-1",
    "X-RateLimit-Limit": "20",
    "X-RateLimit-Remaining": "0",
    "X-RateLimit-Reset": str(int(NOW * 1000) + 42_000),
}


def read(headers: Mapping[str, str], vendor: str = "openai", dialect: str = "openai") -> tuple[Reading, ...]:
    """The same from every kind of headers."""
    found = {readings(kind(headers), vendor=vendor, dialect=dialect, now=NOW) for kind in KINDS}
    assert len(found) == 1
    return found.pop()


def test_openai_with_plenty_left() -> None:
    assert read(OPENAI) == (PLENTY["requests"], PLENTY["tokens"])


def test_openai_with_little_left() -> None:
    little = OPENAI | {
        "X-RateLimit-Limit-Requests": "500",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "59.64s",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "1m3.5s",
    }
    del little["x-ratelimit-limit-requests"]
    assert read(little) == (
        Reading("requests", 3, 59.64, limit=500, gradual=True),
        Reading("tokens", 10, pytest.approx(63.5), limit=200_000, gradual=True),  # type: ignore[arg-type]
    )


def test_anthropic_with_plenty_left() -> None:
    assert read(ANTHROPIC, "anthropic", "anthropic") == tuple(
        PLENTY[name] for name in ("requests", "tokens", "input_tokens", "output_tokens")
    )


def test_anthropics_resets_are_dates_and_count_from_the_answers_own_date() -> None:
    little = ANTHROPIC | {
        "Date": "Tue, 24 Nov 2026 12:00:10 GMT",
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-24T12:01:00Z",
    }
    assert read(little, "anthropic", "anthropic")[3] == Reading("output_tokens", 0, 50.0, 80_000, gradual=True)
    del little["Date"]
    assert read(little, "", "anthropic")[3] == Reading("output_tokens", 0, 60.0, 80_000, gradual=True)


def test_azures_oddities_mean_nothing_and_its_other_numbers_do() -> None:
    assert read(AZURE, "azure") == ()
    left = AZURE | {"x-ratelimit-remaining-requests": "12"}
    assert read(left, "azure") == (Reading("requests", 12, 1.0, limit=100),)
    assert read(AZURE | {"x-ratelimit-remaining-tokens": "99999"}, "azure") == (PLENTY["tokens"],)


def test_groqs_requests_of_a_day_are_left_to_its_refusals() -> None:
    assert read(GROQ, "groq") == (
        Reading("tokens", 5994, pytest.approx(0.06), limit=6000, gradual=True),  # type: ignore[arg-type]
    )


def test_openrouter_tells_in_its_refusals_when_the_limit_is_reset() -> None:
    assert read(OPENROUTER, "openrouter") == (Reading("requests", 0, 42.0, limit=20),)
    assert read(OPENROUTER | {"X-RateLimit-Reset": "1000"}, "openrouter") == (Reading("requests", 0, 0.0, limit=20),)
    assert read(OPENROUTER | {"X-RateLimit-Reset": "soon"}, "openrouter") == ()
    assert read(OPENAI, "openrouter") == ()


@pytest.mark.parametrize(("vendor", "dialect"), [("gemini", "gemini"), ("deepseek", "openai"), ("", "unheard-of")])
def test_who_states_no_limits_is_not_looked_at(vendor: str, dialect: str) -> None:
    assert read(OPENAI | ANTHROPIC, vendor, dialect) == ()


def test_headers_without_limits_say_nothing() -> None:
    for vendor, dialect in (("openai", "openai"), ("anthropic", "anthropic"), ("", "openai")):
        assert read({"Content-Type": "application/json"}, vendor, dialect) == ()
        assert read({}, vendor, dialect) == ()


def test_a_stranger_is_read_by_its_dialect_and_its_limits_may_come_back_all_at_once() -> None:
    little = {"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "30"}
    assert read(little, "my-own-server") == (Reading("requests", 7, 30.0),)


@pytest.mark.parametrize(
    ("remaining", "limit", "plenty"),
    [
        ("63", "64", False), ("64", "64", True), ("64", "640", True), ("64", "641", False), ("999", "10000", False),
        ("1000", "10000", True), ("1023", "30000", False), ("1024", "30000", True), ("64", None, True),
        ("63", None, False), ("100.9", "100", True), ("64", "junk", True), ("64", "0", True),
    ],
)  # fmt: skip
def test_little_is_below_a_tenth_or_below_64(remaining: str, limit: str | None, plenty: bool) -> None:
    headers = {"x-ratelimit-remaining-requests": remaining, "x-ratelimit-reset-requests": "30s"}
    if limit is not None:
        headers["x-ratelimit-limit-requests"] = limit
    (reading,) = read(headers)
    assert (reading.remaining == math.inf) is plenty


@pytest.mark.parametrize(
    ("remaining", "limit", "plenty"),
    [("65535", "65536", False), ("65536", "65536", True), ("65536", "700000", False), ("1048576", "30000000", True)],
)
def test_little_of_tokens_is_a_thousand_times_that(remaining: str, limit: str, plenty: bool) -> None:
    headers = {
        "x-ratelimit-remaining-tokens": remaining,
        "x-ratelimit-limit-tokens": limit,
        "x-ratelimit-reset-tokens": "30s",
    }
    (reading,) = read(headers)
    assert (reading.remaining == math.inf) is plenty


@pytest.mark.parametrize(
    "garbage",
    ["", " ", "-1", "-0", "+5", "nan", "inf", "1e5", "1_0", "0x1", "5, 10", "٣x", "²", "\x00", "9" * 5000, "none"],
)
def test_garbage_counts_as_not_said(garbage: str) -> None:
    assert read({"x-ratelimit-remaining-requests": garbage, "x-ratelimit-reset-requests": "5s"}) == ()
    assert read({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": garbage}) == ()
    anthropic = {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": garbage}
    assert read(anthropic, "anthropic", "anthropic") == ()


def test_little_without_a_reset_is_left_out() -> None:
    assert read({"x-ratelimit-remaining-requests": "0"}) == ()


def test_a_header_said_twice_counts_once() -> None:
    headers = HTTPHeaderDict({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5s"})
    headers.add("x-ratelimit-remaining-requests", "7")
    found = readings(headers, vendor="openai", dialect="openai", now=NOW)
    assert found == (Reading("requests", 0, 5.0, gradual=True),)


names = st.sampled_from([*OPENAI, *ANTHROPIC, *OPENROUTER])
values = st.text(max_size=40) | st.sampled_from(["0", "1", "99999", "5s", "1m", "2026-11-24T12:00:30Z", "1" * 400])


@given(
    st.dictionaries(names, values), st.sampled_from(["", "openai", "azure", "groq", "openrouter", "anthropic"]),
    st.sampled_from(["openai", "anthropic", "gemini"]), st.sampled_from(KINDS),
)  # fmt: skip
def test_no_headers_break_it_or_shut_a_provider_for_more_than_an_hour(
    headers: dict[str, str], vendor: str, dialect: str, kind: Callable[[Mapping[str, str]], Any]
) -> None:
    found = readings(kind(headers), vendor=vendor, dialect=dialect, now=NOW)
    assert all(reading.remaining >= 0 and 0 <= reading.reset < math.inf for reading in found)
    learnt = LearntLimits(FakeClock())
    learnt.update(None, "model", found, 1000.0)
    assert 0.0 <= learnt.wait(None, "model", 10) <= 3600.0


@pytest.mark.parametrize(("vendor", "dialect"), [("openai", "openai"), ("anthropic", "anthropic")])
def test_what_the_simulated_providers_state_is_understood(vendor: str, dialect: str) -> None:
    used_up = dict(identity.rate_limit_headers(vendor, NOW, 30.0))
    learnt = LearntLimits(FakeClock())
    learnt.update(None, "model", read(used_up, vendor, dialect), 1000.0)
    assert learnt.wait(None, "model") == pytest.approx(30.0)
    learnt.update(None, "model", read(dict(identity.rate_limit_headers(vendor, NOW, None)), vendor, dialect), 1001.0)
    assert learnt.wait(None, "model") == 0.0
