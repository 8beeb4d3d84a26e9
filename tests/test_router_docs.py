"""The guide to the router names the real stats, events, levels and statuses."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

import failsafe
from failsafe import events
from failsafe.health import ProviderStatus
from failsafe.testing import answer
from tests.router_bench import Bench
from tests.test_logs import CASES

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "router.md").read_text(encoding="utf-8")


def rows(title: str) -> dict[str, str]:
    """The table below the heading *title*: the name in each row's first column, and the rest of the row."""
    section = GUIDE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))


def test_the_keys_of_the_stats_are_those_of_the_guide_in_its_order() -> None:
    assert list(rows("Stats")) == list(Bench(answer()).router.stats()["a"])


def test_the_events_are_those_of_the_guide() -> None:
    kinds = {
        kind.__name__ for kind in vars(events).values() if isinstance(kind, type) and kind.__base__ is events.Event
    }
    assert set(rows("Events and log")) == kinds


@pytest.mark.parametrize("name", list(rows("Events and log")))
def test_the_levels_are_those_of_the_guide(name: str) -> None:
    used = {logging.getLevelName(level) for event, level, _ in CASES if type(event).__name__ == name}
    assert set(re.findall(r"\b(?:DEBUG|INFO|WARNING|ERROR)\b", rows("Events and log")[name])) == used


def test_the_statuses_are_those_of_the_guide() -> None:
    assert set(re.findall(r"`(\w+)`", rows("Stats")["status"])) == set(ProviderStatus)


def test_every_error_of_the_guide_exists() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", GUIDE)) - {"KeyboardInterrupt", "BreakerStats"}
    assert named <= set(failsafe.__all__)
