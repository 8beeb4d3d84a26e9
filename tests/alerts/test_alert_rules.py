"""What is worth an alert, and what it says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from failsafe.alerts.rules import FAST_BURN, SLOW_BURN, Rules, burn_rate
from failsafe.alerts.wording import LONGEST_MESSAGE, LONGEST_TITLE
from failsafe.events import (
    Alert,
    AttemptFinished,
    CallFinished,
    CircuitState,
    Event,
    ModelSubstituted,
    ProbeFinished,
    PutOff,
    StateChanged,
    StatusChanged,
)
from failsafe.faults import REACTIONS, Fault
from failsafe.models import Attempt
from failsafe.monitoring_config import ALERT_RULES, SpendConfig
from failsafe.secret import Secret
from failsafe.telemetry.views import ErrorBudget, TargetState, Uptime

AT = 1_800_000_000.0
KEY = "sk-live-0123456789abcdefghij"


def put_off(fault: Fault, **details: Any) -> PutOff:
    usual: dict[str, Any] = {
        "at": AT,
        "provider": "openai",
        "key": "1a2b3c4d",
        "model": None,
        "fault": fault,
        "seconds": 60.0,
        "message": "the provider said no",
        "alert": REACTIONS[fault].alert,
        "advice": REACTIONS[fault].advice,
    }
    return PutOff(**{**usual, **details})


def state(new: CircuitState, old: CircuitState = CircuitState.CLOSED, **details: Any) -> StateChanged:
    return StateChanged(**{"at": AT, "name": "openai", "old": old, "new": new, "reason": "five in a row", **details})


def attempt(provider: str = "openai", **details: Any) -> AttemptFinished:
    return AttemptFinished(
        at=AT, call_id="call-1", attempt=Attempt(**{"provider": provider, "model": "gpt-4.1", **details})
    )


def status(old: str, new: str) -> StatusChanged:
    return StatusChanged(at=AT, provider="openai", old=old, new=new, reason="3 failures in a row")


def only(alerts: list[Alert]) -> Alert:
    assert len(alerts) == 1
    return alerts[0]


def test_a_provider_that_goes_down_is_critical_and_says_what_happened() -> None:
    alert = only(Rules().of(status("healthy", "down")))
    assert (alert.rule, alert.provider, alert.severity, alert.resolves) == ("down", "openai", "critical", False)
    assert alert.title == "openai went down"
    assert alert.message.startswith("3 failures in a row. What to do: see the provider's status page")
    assert alert.at == AT


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.NETWORK, Fault.SERVER])
def test_what_went_wrong_last_says_what_to_do(fault: Fault) -> None:
    rules = Rules()
    assert rules.of(attempt(fault=fault, blamed=True)) == []
    assert f"What to do: {REACTIONS[fault].advice}." in only(rules.of(status("healthy", "down"))).message
    assert f"What to do: {REACTIONS[fault].advice}." in only(rules.of(state(CircuitState.OPEN))).message


def test_a_failure_that_is_not_the_provider_s_gives_no_advice_about_it() -> None:
    rules = Rules()
    rules.of(attempt(fault=Fault.BAD_REQUEST))
    assert REACTIONS[Fault.BAD_REQUEST].advice not in only(rules.of(state(CircuitState.OPEN))).message


@pytest.mark.parametrize(
    ("new", "title"),
    [
        ("healthy", "openai is up again"),
        ("up", "openai is up again"),
        ("degraded", "openai is up again, with reservations"),
    ],
)
def test_whoever_works_again_has_recovered(new: str, title: str) -> None:
    for old in ("down", "unknown", "maintenance"):
        alert = only(Rules().of(status(old, new)))
        assert (alert.rule, alert.severity, alert.resolves, alert.title) == ("recovered", "info", True, title)


@pytest.mark.parametrize("new", ["unknown", "paused", "maintenance"])
def test_whoever_is_no_longer_observed_has_neither_gone_down_nor_recovered(new: str) -> None:
    assert Rules().of(status("down", new)) == []


def test_a_breaker_that_opens_is_told_with_its_reason_and_when_it_is_tried_again() -> None:
    alert = only(Rules().of(state(CircuitState.OPEN, name="openai:gpt-4.1", retry_after=60.0)))
    assert (alert.rule, alert.provider, alert.severity) == ("breaker_open", "openai", "warning")
    assert alert.title == "openai:gpt-4.1: breaker opened"
    assert alert.message.startswith("Five in a row. No call goes there meanwhile. It is tried again in 60 s. What to")
    assert alert.details == {"breaker": "openai:gpt-4.1", "retry_after": 60.0}


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (CircuitState.CLOSED, "closed again"),
        (CircuitState.DISABLED, "disabled, by hand"),
        (CircuitState.FORCED_OPEN, "forced open, by hand"),
    ],
)
def test_a_breaker_that_closes_or_is_set_by_hand_is_told_as_the_end(new: CircuitState, words: str) -> None:
    alert = only(Rules().of(state(new, CircuitState.HALF_OPEN)))
    assert (alert.rule, alert.severity, alert.resolves) == ("breaker_open", "info", True)
    assert alert.title == f"openai: breaker is {words}"


def test_a_breaker_that_probes_is_no_news() -> None:
    assert Rules().of(state(CircuitState.HALF_OPEN, CircuitState.OPEN)) == []


@pytest.mark.parametrize(
    ("fault", "details", "rule", "severity", "title"),
    [
        (Fault.AUTH, {}, "key_rejected", "critical", "openai: key 1a2b3c4d was rejected"),
        (Fault.AUTH, {"key": None}, "key_rejected", "critical", "openai: the key was rejected"),
        (
            Fault.PERMISSION,
            {"model": "gpt-5"},
            "key_rejected",
            "warning",
            "openai: key 1a2b3c4d may not use gpt-5",
        ),
        (
            Fault.QUOTA,
            {},
            "quota_gone",
            "critical",
            "openai: the account of key 1a2b3c4d has no money or allowance left",
        ),
        (Fault.MODEL, {"key": None, "model": "gpt-5"}, "misconfigured", "warning", "openai does not serve gpt-5"),
        (
            Fault.MISCONFIGURED,
            {"key": None},
            "misconfigured",
            "critical",
            "openai: its address or another setting is wrong",
        ),
    ],
)
def test_what_a_person_must_put_right(
    fault: Fault, details: dict[str, Any], rule: str, severity: str, title: str
) -> None:
    alert = only(Rules().of(put_off(fault, **details)))
    assert (alert.rule, alert.severity, alert.title, alert.resolves) == (rule, severity, title, False)
    assert alert.message == (f"The provider said no. It is left alone for 60 s. What to do: {REACTIONS[fault].advice}.")
    assert alert.details["fault"] == fault


def test_every_fault_that_the_table_says_a_person_should_hear_of_is_reported() -> None:
    for fault, reaction in REACTIONS.items():
        assert len(Rules().of(put_off(fault))) == reaction.alert
        if reaction.alert:
            assert only(Rules().of(put_off(fault))).rule in ALERT_RULES


@pytest.mark.parametrize(
    "event",
    [
        put_off(Fault.RATE_LIMIT),
        attempt(),
        CallFinished(
            at=AT, call_id="c", asked_model="m", provider=None, model=None, error=None, attempts=1, latency_ms=1.0
        ),
        ModelSubstituted(at=AT, provider="openai", asked_model="a", model="b"),
        ProbeFinished(at=AT, provider="openai", kind="models"),
        ProbeFinished(at=AT, provider="openai", kind="models", fault=Fault.TIMEOUT, blamed=True),
        Alert(at=AT, rule="down", provider="openai", severity="critical", title="t", message="m"),
        Event(at=AT),
    ],
)
def test_everything_else_is_passed_over(event: Event) -> None:
    assert Rules().of(event) == []


def test_a_key_that_is_accepted_again_ends_what_was_reported_of_it_and_nothing_else() -> None:
    rules = Rules()
    rules.of(put_off(Fault.AUTH))
    rules.of(put_off(Fault.AUTH, key="99999999"))
    rules.of(put_off(Fault.QUOTA, provider="groq"))
    alert = only(rules.of(attempt(key="1a2b3c4d")))
    assert (alert.rule, alert.severity, alert.resolves) == ("key_rejected", "info", True)
    assert alert.title == "openai: key 1a2b3c4d is accepted again"
    assert alert.details == {"key": "1a2b3c4d"}
    assert rules.of(attempt(key="1a2b3c4d")) == []
    assert only(rules.of(attempt("groq", key="1a2b3c4d"))).rule == "quota_gone"
    assert only(rules.of(attempt(key="99999999"))).title == "openai: key 99999999 is accepted again"


def test_an_answer_of_another_model_says_nothing_about_a_model_that_a_key_may_not_use() -> None:
    rules = Rules()
    rules.of(put_off(Fault.PERMISSION, model="gpt-5"))
    rules.of(put_off(Fault.MODEL, key=None, model="o9"))
    assert rules.of(attempt(key="1a2b3c4d", model="gpt-4.1")) == []
    assert rules.of(attempt(key="99999999", model="gpt-5")) == []
    assert only(rules.of(attempt(key="1a2b3c4d", model="gpt-5"))).title.startswith("openai: key 1a2b3c4d on gpt-5 is")
    assert only(rules.of(attempt(key="99999999", model="o9"))).title == "openai: o9 is accepted again"


def test_an_address_that_is_put_right_is_told() -> None:
    rules = Rules()
    rules.of(put_off(Fault.MISCONFIGURED, key=None))
    assert only(rules.of(attempt())).title == "openai: it is accepted again"


def test_where_nobody_calls_a_probe_tells_of_the_key() -> None:
    rules = Rules()
    rejected = ProbeFinished(at=AT, provider="openai", kind="models", fault=Fault.AUTH, message="invalid key")
    alert = only(rules.of(rejected))
    assert (alert.rule, alert.severity, alert.title) == ("key_rejected", "critical", "openai: the key was rejected")
    assert rules.of(rejected) == []  # told by then
    assert rules.of(ProbeFinished(at=AT, provider="openai", kind="connect")) == []  # which shows no key
    assert only(rules.of(ProbeFinished(at=AT, provider="openai", kind="models"))).resolves


def test_a_probe_adds_nothing_to_what_a_call_has_told() -> None:
    rules = Rules()
    rules.of(put_off(Fault.AUTH))
    assert rules.of(ProbeFinished(at=AT, provider="openai", kind="models", fault=Fault.AUTH)) == []
    assert rules.of(ProbeFinished(at=AT, provider="openai", kind="models")) == []  # maybe with another key


def test_a_list_of_models_that_a_key_may_not_read_is_no_news() -> None:
    assert Rules().of(ProbeFinished(at=AT, provider="openai", kind="models", fault=Fault.PERMISSION)) == []


BUDGET = ErrorBudget(sla=99.9, allowed=2592.0, used=60.0, left=2532.0, burn_rate=1.0)


def uptime(down: float, seconds: float = 21_600.0) -> Uptime:
    return Uptime(
        began=AT - seconds,
        ended=AT,
        percentage=100 * (1 - down / seconds),
        coverage=1.0,
        seconds={TargetState.DOWN: down, TargetState.UP: seconds - down},
    )


def budget(burning: float | None) -> ErrorBudget:
    return ErrorBudget(sla=99.9, allowed=2592.0, used=60.0, left=2532.0, burn_rate=burning)


def test_a_budget_that_burns_fast_pages() -> None:
    alert = Rules().budget("openai", budget(FAST_BURN), AT)
    assert alert is not None
    assert (alert.rule, alert.severity, alert.resolves) == ("budget_burn", "critical", False)
    assert alert.title == "openai: error budget runs out 14.4 times too fast"
    assert "42.2 min are left" in alert.message
    assert "At this rate that lasts for 48.8 h" in alert.message  # 2532 s / (14.4 * 0.001)
    assert alert.details["burn_rate"] == 14.4


def test_a_budget_that_burns_slowly_for_long_is_a_warning() -> None:
    below, above = uptime(0.0599 * 21_600 / 10), uptime(0.0601 * 21_600 / 10)
    assert Rules().budget("openai", budget(1.0), AT, below).resolves  # type: ignore[union-attr]
    alert = Rules().budget("openai", budget(1.0), AT, above)
    assert alert is not None
    assert (alert.severity, alert.details["hours"]) == ("warning", 6)
    assert burn_rate(above, 99.9) == pytest.approx(6.01)
    assert burn_rate(below, 99.9) < SLOW_BURN  # type: ignore[operator]


def test_the_faster_of_two_fires_is_told_and_either_alone_is_enough() -> None:
    assert Rules().budget("openai", budget(20.0), AT, uptime(3600)).severity == "critical"  # type: ignore[union-attr]
    assert Rules().budget("openai", budget(None), AT, uptime(3600)).severity == "warning"  # type: ignore[union-attr]


def test_nothing_is_said_about_a_budget_of_which_nothing_is_known() -> None:
    unknown = Uptime(began=AT - 10, ended=AT, percentage=None, coverage=0.0, seconds={})
    assert Rules().budget("openai", budget(None), AT) is None
    assert Rules().budget("openai", budget(None), AT, unknown) is None
    assert burn_rate(unknown, 99.9) is None


def test_a_budget_that_is_broken_says_so_and_promises_no_time() -> None:
    gone = ErrorBudget(sla=99.9, allowed=2592.0, used=3000.0, left=-408.0, burn_rate=30.0)
    alert = Rules().budget("openai", gone, AT)
    assert alert is not None
    assert "nothing is left: it was down for 50 min" in alert.message
    assert "lasts" not in alert.message


CAPS = SpendConfig(per_day=10.0, per_month=100.0, warn_at=0.8)


def test_spending_is_told_from_the_share_that_was_set_and_when_the_cap_is_reached() -> None:
    rules = Rules()
    day, month = rules.spend("", CAPS, day=Decimal("7.99"), month=Decimal(80), at=AT)
    assert (day.resolves, day.details["period"]) == (True, "day")
    assert (month.severity, month.title) == ("warning", "all providers: 80 % of the cap of the month is spent")
    assert month.message.startswith(
        "$80.00 of $100.00 for this month (UTC). What to do: look at `failsafe cost`; raise"
    )
    day, _ = rules.spend("openai", CAPS, day=10.0, month=0, at=AT)
    assert (day.severity, day.title) == ("critical", "openai: 100 % of the cap of the day is spent")
    assert "refused; raise per_day in [providers.openai.spend]" in day.message
    assert day.details == {"period": "day", "spent": 10.0, "cap": 10.0, "share": 1.0}


def test_a_cap_that_is_nearly_reached_is_not_called_reached() -> None:
    day, _ = Rules().spend("", CAPS, day=9.9999, month=0, at=AT)
    assert (day.severity, day.title) == ("warning", "all providers: 99 % of the cap of the day is spent")


def test_without_a_cap_nothing_is_said_about_spending() -> None:
    assert Rules().spend("", SpendConfig(per_call=1.0), day=1e9, month=1e9, at=AT) == []


HOSTILE = [
    f"your key {KEY} is wrong",
    "one\ntwo\r\nthree\x1b[31m\x00",
    "lone surrogate \udc80 and <!channel>",
    "x" * 1_000_000,
    f"{'word ' * 200_000}{KEY}",
    f"{'a' * 3990} {KEY}",  # the key lies across the place where reading ends
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_from_outside_shows_a_key_breaks_a_line_or_grows(text: str) -> None:
    rules = Rules([Secret(KEY)])
    events: list[Event] = [
        put_off(Fault.AUTH, message=text, provider=text, model=text),
        state(CircuitState.OPEN, reason=text, name=text),
        StatusChanged(at=AT, provider=text, old="healthy", new="down", reason=text),
    ]
    for event in events:
        alert = only(rules.of(event))
        for said in (alert.title, alert.message, alert.provider, *map(str, alert.details.values())):
            said.encode()
            assert said.isprintable()
            assert not any(KEY[at : at + 8] in said for at in range(len(KEY) - 8))
        assert len(alert.title) <= LONGEST_TITLE
        assert len(alert.message) <= LONGEST_MESSAGE


def test_no_half_of_a_key_is_left_where_a_text_is_cut() -> None:
    token = f"eyJ{'a' * 150}.{'b' * 150}"  # its first half alone looks like nothing
    said = only(Rules().of(put_off(Fault.AUTH, message=f"{token} " * 1000))).message
    assert "[masked]" in said
    assert "eyJ" not in said


def test_what_to_do_is_not_pushed_out_by_what_happened() -> None:
    said = only(Rules().of(put_off(Fault.AUTH, message="blah " * 1000))).message
    assert said.endswith("What to do: replace the key.")


def test_a_secret_that_looks_like_none_is_masked_if_it_is_named() -> None:
    alert = only(Rules([Secret("plain-words-secret")]).of(put_off(Fault.AUTH, message="no: plain-words-secret")))
    assert "plain-words" not in alert.message


def test_what_is_remembered_stays_bounded() -> None:
    rules = Rules()
    for number in range(3000):
        rules.of(put_off(Fault.AUTH, provider=f"p{number}"))
        rules.of(put_off(Fault.AUTH, key=f"{number:08x}"))
        rules.of(attempt(f"p{number}", fault=Fault.TIMEOUT, blamed=True))
    assert len(rules._blocked) <= 1000
    assert len(rules._last_fault) <= 1000
    assert max(len(each) for each in rules._blocked.values()) <= 100
