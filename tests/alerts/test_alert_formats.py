"""What webhooks and commands are given: within its size, and as harmless as it looks."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.alerts.formats import LARGEST_BODY, MOST_ATTACHMENTS, as_json, as_slack, escaped
from failsafe.alerts.grouping import Group
from failsafe.alerts.severity import highest
from failsafe.events import Alert
from tests.alerts.alarms import alarm, critical, over


def group(*alerts: Alert, **details: Any) -> Group:
    return Group(at=1_800_000_000.0, alerts=alerts or (critical(),), **details)


def test_the_json_form_is_the_one_of_the_guide() -> None:
    told = group(critical(details={"since": 3.0}), over(), withheld=2)
    assert json.loads(as_json(told, "00ff", "host-1")) == {
        "version": 1,
        "id": "00ff",
        "at": 1_800_000_000.0,
        "host": "host-1",
        "severity": "critical",
        "title": "openai: down (and 1 more)",
        "alerts": [
            {
                "at": 0.0,
                "rule": "down",
                "provider": "openai",
                "severity": "critical",
                "title": "openai: down",
                "message": "It is so.",
                "resolves": False,
                "details": {"since": 3.0},
            },
            {
                "at": 0.0,
                "rule": "breaker_open",
                "provider": "openai",
                "severity": "info",
                "title": "openai: breaker_open over",
                "message": "It is over.",
                "resolves": True,
                "details": {},
            },
        ],
        "left_out": 0,
        "withheld": 2,
    }


def test_the_slack_form() -> None:
    told = group(critical(), alarm(), over(), alarm(severity="info"), withheld=2)
    body = json.loads(as_slack(told, "00ff", "host-1"))
    assert body["text"] == ("[critical] openai: down (and 3 more); 2 came while no more could be sent (host-1)")
    assert body["mrkdwn"] is False
    assert [each["color"] for each in body["attachments"]] == ["danger", "warning", "good", "#439fe0"]
    assert body["attachments"][0] == {
        "fallback": "openai: down",
        "color": "danger",
        "title": "openai: down",
        "text": "It is so.",
        "mrkdwn_in": [],
        "ts": 0,
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel> <@U123> <#C123|x>", "&lt;!channel&gt; &lt;@\u200bU123&gt; &lt;#C123|x&gt;"),
        ("<https://evil.example|your bank>", "&lt;https://evil.example|your bank&gt;"),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
        ("@channel @here @all", "@\u200bchannel @\u200bhere @\u200ball"),
        ("[your bank](https://evil.example)", "[your bank]\u200b(https://evil.example)"),
        ("plain", "plain"),
    ],
)
def test_no_text_of_a_provider_s_mentions_anybody_or_hides_a_link(text: str, shown: str) -> None:
    assert escaped(text) == shown
    body = json.loads(as_slack(group(critical(title=text, message=text)), "n", text))
    assert body["attachments"][0]["text"] == body["attachments"][0]["title"] == shown
    assert "<" not in body["text"]
    assert "](" not in body["text"]
    assert not any(body["text"].partition("@")[2].startswith(word) for word in ("channel", "here", "all"))


TEXTS = st.text(max_size=1000).filter(lambda text: text.isprintable())
ALERTS = st.lists(
    st.builds(
        alarm,
        provider=TEXTS.map(lambda text: text[:100]),
        severity=st.sampled_from(["info", "warning", "critical"]),
        title=TEXTS.map(lambda text: text[:200]),
        message=st.sampled_from(["short", "\U0001f4a5" * 1000, "&<>@" * 250]),
        details=st.dictionaries(st.sampled_from(["key", "model"]), st.just("\U0001f4a5" * 100)),
    ),
    min_size=1,
    max_size=100,
)


@given(ALERTS, st.sampled_from([as_json, as_slack]))
def test_no_body_is_larger_than_is_promised_and_what_is_left_out_is_counted(alerts: list[Alert], form: Any) -> None:
    body = form(group(*alerts), "n" * 16, "h" * 1000)
    assert len(body) <= LARGEST_BODY
    read = json.loads(body)
    listed = len(read["alerts"] if form is as_json else read["attachments"])
    assert listed > 0
    if form is as_json:
        assert read["left_out"] == len(alerts) - listed
        assert [each["title"] for each in read["alerts"]] == [alert.title for alert in alerts[:listed]]
    else:
        assert listed <= MOST_ATTACHMENTS
        assert (f"{len(alerts) - listed} more are not shown" in read["text"]) == (listed < len(alerts))


@pytest.mark.parametrize("form", [as_json, as_slack])
def test_a_hundred_large_alerts_make_one_body_of_the_largest_size(form: Any) -> None:
    large = critical(title="\U0001f4a5" * 200, message="\U0001f4a5" * 1000)
    body = form(group(*[large] * 100), "n", "h")
    assert LARGEST_BODY - 6000 <= len(body) <= LARGEST_BODY


def test_an_alert_comes_back_from_its_json() -> None:
    alert = critical(details={"key": "1a2b3c4d", "since": 1.5})
    (read,) = json.loads(as_json(group(alert), "n", "h"))["alerts"]
    assert msgspec.convert(read, Alert) == alert


def test_the_most_urgent_says_how_urgent_the_group_is() -> None:
    assert highest([over(), alarm(), over()]) == "warning"
    assert highest([]) == "info"
