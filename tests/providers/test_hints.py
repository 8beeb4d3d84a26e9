"""How long an answer asks to wait, and what it says besides."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.providers import hints
from failsafe.providers.error_body import ErrorBody
from failsafe.providers.hints import retry_after, should_retry, stated_wait
from failsafe.providers.request_ids import request_id

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
SILENT = ErrorBody(kind="empty")


def saying(message: str) -> ErrorBody:
    return ErrorBody(kind="json", message=message)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "20"}, 20.0),
        ({"RETRY-AFTER": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "36s"}, 36.0),
        ({"retry-after-ms": "1250"}, 1.25),
        ({"retry-after-ms": "0.5"}, 0.0005),
        ({"retry-after-ms": "1250", "Retry-After": "20"}, 1.25),
        ({"retry-after-ms": "soon", "Retry-After": "20"}, 20.0),
        ({"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 13:00:30 +0100"}, 30.0),
        ({"Retry-After": "Tuesday, 24-Nov-26 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:30 GMT", "Date": "Tue, 24 Nov 2026 09:00:00 GMT"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT", "Date": "yesterday"}, 30.0),
    ],
)
def test_a_stated_wait_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float) -> None:
    assert stated_wait(headers, SILENT, NOW) == pytest.approx(seconds)
    assert retry_after(headers, SILENT, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "garbage",
    [
        "", " ", "soon", "-1", "-0.5", "+5", "nan", "NaN", "inf", "Infinity", "1e400", "1_000", "0x10", "5, 10", "٣",
        "9" * 5000, "1." + "0" * 5000 + "x", "Tue, 24 Nov 2026 11:00:00 GMT", "Fri, 01 Jan 99999 00:00:00 GMT",
        "Tue, 99 Nov 2026 99:99:99 GMT", "Tue, 24 Nov 2026 12:00:30 +999999999999", "\x00", "%", "s", "9" * 400 + "s",
    ],
)  # fmt: skip
def test_garbage_counts_as_absent(garbage: str) -> None:
    everywhere = {
        "retry-after-ms": garbage,
        "Retry-After": garbage,
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": garbage,
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": garbage,
    }
    assert retry_after(everywhere, saying(f"try again in {garbage}"), NOW) is None


def test_nothing_is_capped_here() -> None:
    assert retry_after({"Retry-After": "999999999"}, SILENT, NOW) == 999_999_999.0


def test_the_bodys_own_field_comes_after_the_headers() -> None:
    body = ErrorBody(kind="json", retry_delay=36.0, message="retry in 9s")
    assert retry_after({}, body, NOW) == 36.0
    assert retry_after({"Retry-After": "2"}, body, NOW) == 2.0
    assert retry_after({"Retry-After": "garbage"}, body, NOW) == 36.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("12ms", 0.012), ("1s", 1.0), ("6m0s", 360.0), ("1h2m3.5s", 3723.5), ("7.66", 7.66), ("1d2h", 93_600.0)],
)  # fmt: skip
def test_a_used_up_limit_says_when_it_is_reset(reset: str, seconds: float) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    assert retry_after(headers, SILENT, NOW) == pytest.approx(seconds)


def test_a_limit_that_is_not_used_up_says_nothing() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "1h",
        "x-ratelimit-reset-tokens": "2h",
        "anthropic-ratelimit-requests-remaining": "3",
        "anthropic-ratelimit-requests-reset": "2026-11-24T13:00:00Z",
        "anthropic-ratelimit-tokens-reset": "2026-11-24T13:00:00Z",
    }
    assert retry_after(headers, SILENT, NOW) is None


def test_the_last_of_several_used_up_limits_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert retry_after(headers, SILENT, NOW) == 2.0


def test_azures_numbers_of_what_remains_are_not_believed() -> None:
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "50s"}
    assert retry_after(headers, SILENT, NOW, vendor="azure") is None
    assert retry_after(headers, saying("Please retry after 23 seconds."), NOW, vendor="azure") == 23.0


@pytest.mark.parametrize("dimension", ["requests", "tokens", "input-tokens", "output-tokens"])
def test_anthropics_limits_are_reset_at_a_date(dimension: str) -> None:
    headers = {
        f"anthropic-ratelimit-{dimension}-remaining": "0",
        f"anthropic-ratelimit-{dimension}-reset": "2026-11-24T12:01:00Z",
    }
    assert retry_after(headers, SILENT, NOW) == 60.0
    assert retry_after({**headers, "date": "Tue, 24 Nov 2026 12:00:50 GMT"}, SILENT, NOW) == 10.0


@pytest.mark.parametrize(
    "reset", ["2026-11-24T11:59:00Z", "99999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "tomorrow"]
)
def test_a_reset_in_the_past_or_out_of_the_calendar_counts_as_absent(reset: str) -> None:
    headers = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": reset}
    assert retry_after(headers, SILENT, NOW) is None


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 9m38.4s. Visit our site.", 578.4),
        ("Please retry in 36.4s.", 36.4),
        ("Please try again in 20 seconds.", 20.0),
        ("Please retry after 1 minute, then relax", 60.0),
        ("Try again in 1 hour and 30 minutes", 5400.0),
        ("try again in 250ms", 0.25),
        ("try again in 250 milliseconds", 0.25),
        ("try again in 1h2m3.5s", 3723.5),
        ("try again in 2 days", 172_800.0),
        ("try again in 6 months", None),
        ("try again in a moment", None),
        ("try again later", None),
        ("you tried in 20 seconds", None),
        ("", None),
    ],
)
def test_a_wait_said_in_words_is_understood(message: str, seconds: float | None) -> None:
    assert retry_after({}, saying(message), NOW) == (None if seconds is None else pytest.approx(seconds))
    assert stated_wait({}, saying(message), NOW) is None


PER_DAY = ErrorBody(kind="json", reasons=("GenerateRequestsPerDayPerProjectPerModel-FreeTier",))


def test_a_daily_quota_of_geminis_lasts_until_midnight_in_california() -> None:
    assert retry_after({}, PER_DAY, NOW) == 20 * 3600.0  # noon UTC is 4 in the morning there
    before_the_clocks_go_forward = datetime(2027, 3, 14, 8, 30, tzinfo=UTC).timestamp()  # half past midnight there
    assert retry_after({}, PER_DAY, before_the_clocks_go_forward) == 22.5 * 3600


def test_without_time_zone_data_the_wait_is_an_hour_too_long_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr("zoneinfo.ZoneInfo", missing)
    hints._pacific.cache_clear()
    try:
        summer = datetime(2027, 7, 1, 12, 0, tzinfo=UTC).timestamp()
        assert retry_after({}, PER_DAY, NOW) == 20 * 3600.0
        assert retry_after({}, PER_DAY, summer) == (19 + 1) * 3600.0
    finally:
        hints._pacific.cache_clear()


@pytest.mark.parametrize("now", [1e300, -1e300, float("inf")])
def test_a_mad_clock_does_not_raise(now: float) -> None:
    assert retry_after({}, PER_DAY, now) is None


def test_the_request_id_is_masked_and_cut() -> None:
    assert request_id({"x-request-id": "sk-proj-0123456789abcdef"}) == "[masked]"
    assert len(request_id({"x-request-id": "a" * 5000}) or "") == 200
    assert request_id({"x-request-id": "\x00", "cf-ray": "8f"}) == "8f"
    assert request_id({}) is None


def test_should_retry_asks_the_header_before_the_body() -> None:
    body = ErrorBody(kind="json", retryable=True)
    assert should_retry({"X-Should-Retry": "False"}, body) is False
    assert should_retry({"x-should-retry": "?"}, body) is True
    assert should_retry({}, SILENT) is None


names = st.sampled_from(
    ["retry-after", "retry-after-ms", "date", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
     "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"]
)  # fmt: skip
pieces = st.sampled_from(
    ["0", "9", "-", ".", ":", " ", "GMT", "Nov", "Tue,", "2026", "h", "ms", "T", "Z", "+", "inf", "e"]
)


@given(
    headers=st.dictionaries(names, st.text(max_size=30) | st.lists(pieces, max_size=12).map("".join)),
    message=st.lists(pieces | st.just("try again in "), max_size=12).map("".join),
    now=st.floats(),
)
def test_whatever_comes_is_a_finite_wait_or_none(headers: dict[str, str], message: str, now: float) -> None:
    wait = retry_after(headers, saying(message), now)
    assert wait is None or 0 <= wait < float("inf")
