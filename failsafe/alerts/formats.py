"""Groups of alerts as the bodies that webhooks and commands are given."""

from __future__ import annotations

from typing import Any

import msgspec

from failsafe.alerts.grouping import Group
from failsafe.alerts.severity import CRITICAL, WARNING
from failsafe.alerts.wording import LONGEST_TITLE
from failsafe.events import Alert
from failsafe.masking import shorten

VERSION = 1
"""Of the JSON form; it grows when a field changes its meaning or goes, not when one is added."""

LARGEST_BODY = 30_000
"""Bytes; alerts that do not fit are counted in ``left_out``."""

MOST_ATTACHMENTS = 20
"""What Slack recommends not to go beyond (https://docs.slack.dev/messaging, message attachments)."""

_FRAME = 1_000  # bytes for what stands around the alerts
_COLOURS = {CRITICAL: "danger", WARNING: "warning"}
_OVER = "good"
_OTHER = "#439fe0"


def title(group: Group) -> str:
    """The group in one line."""
    first, more = group.alerts[0], len(group.alerts) - 1
    return shorten(first.title, LONGEST_TITLE) + (f" (and {more} more)" if more else "")


def as_json(group: Group, name: str, host: str) -> bytes:
    """
    The form that ``docs/alerts.md`` describes, at most 30,000 bytes.

    Args:
        group: What to tell; at least one alert.
        name: Tells this group from all others, so that one that comes twice can be dropped.
        host: The machine's name.
    """
    alerts, left_out = _fitting([msgspec.json.encode(_as_object(alert)) for alert in group.alerts], len(group.alerts))
    return msgspec.json.encode(
        {
            "version": VERSION,
            "id": name,
            "at": group.at,
            "host": shorten(host, 255),
            "severity": group.severity,
            "title": title(group),
            "alerts": alerts,
            "left_out": left_out,
            "withheld": group.withheld,
        }
    )


def _as_object(alert: Alert) -> dict[str, Any]:
    return {field: getattr(alert, field) for field in alert.__struct_fields__}


def _fitting(bodies: list[bytes], most: int) -> tuple[list[msgspec.Raw], int]:
    """As many of *bodies*, in their order and at most *most*, as fit into a body; and how many are left out."""
    room, fitting = LARGEST_BODY - _FRAME, []
    for body in bodies[:most]:
        room -= len(body) + 1
        if room < 0:
            break
        fitting.append(msgspec.Raw(body))
    return fitting, len(bodies) - len(fitting)


def as_slack(group: Group, name: str, host: str) -> bytes:  # noqa: ARG001 -- as every form
    """
    A message as Slack's incoming webhooks take it, and Mattermost's, Discord's (``/slack``) and others'.

    One attachment an alert, at most 20, and at most 30,000 bytes. Nothing in a text of a provider's becomes a mention,
    a link under another name, or markup.
    """
    attachments, left_out = _fitting(
        [msgspec.json.encode(_attachment(alert)) for alert in group.alerts], MOST_ATTACHMENTS
    )
    notes = [
        f"[{group.severity}] {title(group)}",
        f"{left_out} more are not shown" if left_out else "",
        f"{group.withheld} came while no more could be sent" if group.withheld else "",
    ]
    text = escaped("; ".join(filter(None, notes)) + f" ({shorten(host, 100)})")
    return msgspec.json.encode({"text": text, "mrkdwn": False, "attachments": attachments})


def _attachment(alert: Alert) -> dict[str, Any]:
    heading = escaped(alert.title)
    return {
        "fallback": heading,
        "color": _OVER if alert.resolves else _COLOURS.get(alert.severity, _OTHER),
        "title": heading,
        "text": escaped(alert.message),
        "mrkdwn_in": [],
        "ts": int(alert.at),
    }


_NO_MENTION = "\u200b"  # a space of no width


def escaped(text: str) -> str:
    """
    *text* so that Slack, and what imitates it, shows it as it is.

    Slack reads ``<...>`` as mentions and links and asks for three characters to be replaced; others mention whoever
    stands behind an ``@`` and make links of ``[...](...)``: these are broken up by a space of no width.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", f"@{_NO_MENTION}").replace("](", f"]{_NO_MENTION}(")
