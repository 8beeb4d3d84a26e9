"""Every provider's own errors, row by row: what is answered, and what it is taken for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.faults import Fault
from failsafe.models import Failure
from failsafe.providers.classify import classify, classify_error_in_success
from failsafe.providers.error_body import parse_error
from failsafe.providers.fault_rules import RULES, STATUSES, Answered, by_status, fault_of
from failsafe.secret import Secret
from tests.providers.recorded_errors import ROWS, Row, anthropic, gemini, google_retry, openai, page

NOW = 1_800_000_000.0
DIALECTS = {"anthropic": "anthropic", "gemini": "gemini"}


def body_of(row: Row) -> bytes:
    if isinstance(row.body, bytes):
        return row.body
    return (row.body if isinstance(row.body, str) else json.dumps(row.body)).encode()


def failure_of(row: Row, **options: Any) -> Failure:
    return classify(
        row.status,
        row.headers,
        body_of(row),
        vendor=row.vendor,
        dialect=DIALECTS.get(row.vendor, "openai"),
        model=row.model,
        clock_time=NOW,
        **options,
    )


def name_of(row: Row) -> str:
    return f"{row.vendor}-{row.status}-{row.fault}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_each_answer_of_each_provider_is_taken_for_what_it_is(row: Row) -> None:
    failure = failure_of(row)
    assert failure.fault is row.fault, failure
    assert {name: getattr(failure, name) for name in row.expected} == dict(row.expected)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_each_failure_says_the_status_in_one_short_line_and_was_not_billed(row: Row) -> None:
    failure = failure_of(row)
    assert failure.status == row.status
    assert failure.message.startswith(f"HTTP {row.status}")
    assert failure.message.isprintable()
    assert len(failure.message) <= 300
    assert failure.maybe_billed is False


def rule_of(row: Row) -> object:
    names = frozenset((row.vendor, DIALECTS.get(row.vendor, "openai")))
    return fault_of(Answered(names=names, status=row.status, body=parse_error(body_of(row)), model=row.model))[1]


def test_no_rule_is_without_an_answer_that_needs_it() -> None:
    used = [rule_of(row) for row in ROWS]
    assert [rule.why for rule in RULES if not any(rule is other for other in used)] == []


def test_no_row_of_the_status_table_is_without_an_answer_that_needs_it() -> None:
    by_status_alone = {row.status for row in ROWS if rule_of(row) is None}
    assert set(STATUSES) - by_status_alone == {413}  # a rule, as it comes before the codes for too fast


@pytest.mark.parametrize(
    ("statuses", "fault"),
    [
        (range(100, 300), Fault.MALFORMED),
        (range(300, 400), Fault.MISCONFIGURED),
        ([406, 418, 432, 450, 497], Fault.MALFORMED),
        ([500, 502, 504, 520, 524, 530, 598, 999], Fault.SERVER),
    ],
)
def test_a_status_outside_of_the_table_goes_by_its_hundred(statuses: list[int], fault: Fault) -> None:
    assert {by_status(status) for status in statuses} == {fault}


def test_a_redirect_names_the_host_and_nothing_else_of_the_location() -> None:
    row = Row("openai", 302, "", Fault.MISCONFIGURED, headers={"location": "https://user:pw@evil.example/p?key=abc"})
    assert failure_of(row).message == "HTTP 302: redirected to evil.example, which is not followed"


@pytest.mark.parametrize("location", ["/v2/chat", "", "https://[bad", "::::"])
def test_a_redirect_without_a_host_is_told_all_the_same(location: str) -> None:
    row = Row("openai", 307, "", Fault.MISCONFIGURED, headers={"Location": location})
    assert failure_of(row).message == "HTTP 307: redirected to another path of the same host, which is not followed"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (openai("Too\nfast.", "tokens", "rate_limit_exceeded"), "HTTP 429 rate_limit_exceeded: Too fast"),
        (page("Slow &amp; steady"), "HTTP 429: a web page instead of an API's answer: Slow & steady"),
        ("", "HTTP 429: an empty body"),
        ("too fast", "HTTP 429: too fast"),
        ({"error": {"code": "slow_down"}}, "HTTP 429 slow_down: no message"),
    ],
)  # fmt: skip
def test_the_message_is_the_status_the_code_and_what_the_provider_says(body: Any, message: str) -> None:
    assert failure_of(Row("openai", 429, body, Fault.RATE_LIMIT)).message == message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-Id": "req-1", "cf-ray": "8f-FRA"}, "req-1"),
        ({"request-id": "req_2"}, "req_2"),
        ({"apim-request-id": "3"}, "3"),
        ({"mistral-correlation-id": "4"}, "4"),
        ({"X-Generation-Id": "gen-5"}, "gen-5"),
        ({"CF-RAY": "8f-FRA"}, "8f-FRA"),
        ({}, "req_011"),
    ],
)
def test_the_request_id_is_found_in_each_providers_header_or_in_the_body(
    headers: dict[str, str], expected: str
) -> None:
    row = Row("anthropic", 500, anthropic("api_error", "x"), Fault.SERVER, headers=headers)
    assert failure_of(row).request_id == expected


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [(500, "false", False), (500, "true", True), (400, "true", True), (500, "maybe", None), (429, "false", False)],
)
def test_should_retry_is_what_the_header_says(status: int, said: str, expected: bool | None) -> None:
    row = Row("openai", status, openai("x"), Fault.SERVER, headers={"X-Should-Retry": said})
    assert failure_of(row).should_retry is expected


@pytest.mark.parametrize(
    ("status", "code"), [(401, None), (402, None), (403, None), (404, "model_not_found"), (429, "insufficient_quota")]
)
def test_should_retry_never_turns_a_bad_key_or_an_empty_account_into_a_retry(status: int, code: str | None) -> None:
    wanted = Row("openai", status, openai("x", None, code), Fault.AUTH, headers={"x-should-retry": "true"})
    unwanted = wanted._replace(headers={"x-should-retry": "false"})
    assert failure_of(wanted).should_retry is None
    assert failure_of(unwanted).should_retry is False


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413])
def test_a_time_is_not_taken_from_an_answer_that_waiting_does_not_help(status: int) -> None:
    row = Row("openai", status, openai("Please try again in 5 seconds."), Fault.AUTH, headers={"Retry-After": "5"})
    assert failure_of(row).retry_after is None


def test_rate_limit_headers_say_nothing_about_a_broken_server() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h"}
    assert failure_of(Row("openai", 500, openai("x"), Fault.SERVER, headers=headers)).retry_after is None


def test_a_rejected_key_is_diagnosed_and_shows_nowhere() -> None:
    key = Secret("sk-or-v1-0123456789abcdef0123456789abcdef")
    echo = openai(f"Incorrect API key provided: {key.reveal()}", None, key.reveal(), key.reveal()[:20])
    row = Row("openai", 401, echo, Fault.AUTH, headers={"x-request-id": key.reveal()})
    failure = failure_of(row, secrets=(key,), provider="main")
    assert failure.diagnosis == "main rejected the key: it looks like a key of openrouter, and is set for main"
    assert failure.message.endswith(f"[masked]; {failure.diagnosis}")
    assert "sk-or" not in repr(failure)
    assert "0123456" not in repr(failure)


def test_the_diagnosis_is_part_of_the_message_however_long_the_provider_talks() -> None:
    row = Row("openai", 401, openai("You talk too much. " * 100, None, "invalid_api_key"), Fault.AUTH)
    failure = failure_of(row)
    assert failure.message.startswith("HTTP 401 invalid_api_key: You talk")
    assert failure.message.endswith(f"…; {failure.diagnosis}")
    assert len(failure.message) == 300


def test_with_several_keys_only_the_one_that_was_sent_is_diagnosed() -> None:
    sent, other = Secret("gsk_0123456789abcdef"), Secret("sk-proj-0123456789abcdef")
    row = Row("openai", 401, openai("Incorrect API key provided"), Fault.AUTH)
    assert "groq" in failure_of(row, secrets=(other, sent), key=sent).diagnosis
    assert "nothing is visibly wrong" in failure_of(row, secrets=(other, sent)).diagnosis


# An error inside a success.

SERVER = Failure(fault=Fault.SERVER, message="an error in a success", status=200, maybe_billed=True, partial="so far")


@pytest.mark.parametrize(
    ("vendor", "body", "fault", "billed"),
    [
        ("openrouter", {"error": {"code": 429, "message": "Rate limited upstream"}}, Fault.RATE_LIMIT, False),
        ("openrouter", {"error": {"code": 402, "message": "No credits"}}, Fault.QUOTA, False),
        ("openrouter", {"error": {"code": 502, "message": "Upstream down"}}, Fault.SERVER, True),
        ("openrouter", {"error": {"code": 529, "message": "Overloaded"}}, Fault.OVERLOADED, True),
        ("openrouter", {"error": {"code": 403, "message": "Flagged"}}, Fault.CONTENT_FILTER, True),
        ("openrouter", {"choices": [{"finish_reason": "error", "error": {"code": 503}}]}, Fault.OVERLOADED, True),
        ("openai", {"error": {"message": "x", "type": "server_error"}}, Fault.SERVER, True),
        ("openai", {"error": {"message": "x", "type": "insufficient_quota"}}, Fault.QUOTA, False),
        ("openai", {"error": {"message": "maximum context length", "type": None}}, Fault.CONTEXT, False),
        ("openai", {"error": "broken"}, Fault.SERVER, True),
        ("openai", "broken", Fault.SERVER, True),
        ("mistral", {"object": "error", "message": "x", "type": "rate_limited"}, Fault.RATE_LIMIT, False),
        ("mistral", {"object": "error", "message": "x", "type": "payment_required"}, Fault.QUOTA, False),
        ("mistral", {"object": "error", "message": "x", "type": "unauthorized"}, Fault.AUTH, False),
        ("mistral", {"object": "error", "message": "x", "type": "service_unavailable"}, Fault.OVERLOADED, True),
        ("mistral", {"object": "error", "message": "x", "type": "internal_server_error"}, Fault.SERVER, True),
        ("together", {"error": {"message": "x", "type": "insufficient_funds"}}, Fault.QUOTA, False),
        ("together", {"error": {"message": "x", "code": "overloaded"}}, Fault.OVERLOADED, True),
        ("anthropic", anthropic("overloaded_error", "Overloaded"), Fault.OVERLOADED, True),
        ("anthropic", anthropic("rate_limit_error", "x"), Fault.RATE_LIMIT, False),
        ("anthropic", anthropic("authentication_error", "x"), Fault.AUTH, False),
        ("anthropic", anthropic("invalid_request_error", "x"), Fault.BAD_REQUEST, False),
        ("anthropic", {"type": "overloaded_error", "message": "the error's value alone"}, Fault.OVERLOADED, True),
        ("gemini", [gemini(503, "UNAVAILABLE", "x")], Fault.OVERLOADED, True),
        ("gemini", gemini(429, "RESOURCE_EXHAUSTED", "x", google_retry("3s")), Fault.RATE_LIMIT, False),
    ],
)  # fmt: skip
def test_an_error_inside_a_success_goes_by_its_own_status_or_type(
    vendor: str, body: Any, fault: Fault, *, billed: bool
) -> None:
    failure = classify_error_in_success(body, SERVER, vendor=vendor, dialect=DIALECTS.get(vendor, "openai"))
    assert failure.fault is fault
    assert failure.maybe_billed is billed
    assert (failure.status, failure.partial) == (200, "so far")
    assert failure.message.startswith("an error inside a success")


@pytest.mark.parametrize(
    "body", [{"choices": []}, {"candidates": []}, {"content": [], "type": "message"}, {}, [], None, 7]
)
def test_a_body_without_an_error_leaves_the_dialects_own_failure(body: Any) -> None:
    assert classify_error_in_success(body, SERVER, vendor="openai", dialect="openai") is SERVER


def test_an_error_inside_a_success_masks_the_key() -> None:
    key = Secret("sk-proj-0123456789abcdef")
    failure = classify_error_in_success(
        {"error": {"message": f"{key.reveal()} is bad", "code": 401}},
        SERVER,
        vendor="x",
        dialect="openai",
        secrets=(key,),
    )
    assert failure.fault is Fault.AUTH
    assert "0123456789" not in repr(failure)


# Whatever comes.

header_text = st.text(st.characters(codec="latin-1"), max_size=40)
header_name = st.sampled_from(
    ["Retry-After", "retry-after-ms", "Date", "Location", "x-should-retry", "x-request-id", "content-type",
     "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
)  # fmt: skip
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "message", "code", "type", "status", "details", "detail", "param", "metadata"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(header_name, header_text, max_size=4),
    body=st.binary(max_size=200) | json_value.map(lambda value: json.dumps(value).encode()),
    vendor=st.sampled_from(["openai", "anthropic", "gemini", "azure", "xai", "", "?"]),
)
def test_no_answer_whatever_makes_it_raise(status: int, headers: dict[str, str], body: bytes, vendor: str) -> None:
    failure = classify(
        status, headers, body, vendor=vendor, dialect="openai", model="m", clock_time=NOW, secrets=(Secret("k" * 20),)
    )
    assert failure.message.isprintable()
    assert failure.retry_after is None or failure.retry_after >= 0


@given(body=json_value)
def test_no_error_inside_a_success_makes_it_raise(body: Any) -> None:
    assert classify_error_in_success(body, SERVER, vendor="openai", dialect="openai").status == 200


def test_the_patterns_take_no_time_on_a_long_hostile_message() -> None:
    for piece in ("model ", "api key ", "max_tokens' ", "tool call id was ", "try again in 1s ", "Bearer x", "sk-"):
        failure = failure_of(Row("openai", 400, openai(piece * 100_000), Fault.BAD_REQUEST))
        assert len(failure.message) <= 300


def test_patterns_are_written_without_capital_letters_and_ignore_case() -> None:
    for rule in RULES:
        assert list(rule.words) == [word.lower() for word in rule.words]
        assert rule.text is None or rule.text.flags & re.IGNORECASE
