"""
The mutants, module by module, and the tests that must notice them.

Each is a mistake that somebody has made in a library of this kind, or could make here in one line.
"""

from __future__ import annotations

from tools.mutants import (
    of_alerts,
    of_breaker,
    of_flow,
    of_hedging,
    of_limits,
    of_recording,
    of_retrying,
    of_router,
    of_spending,
    of_store,
    of_streams,
)

_BREAKER = (
    "tests/test_breaker.py",
    "tests/lessons/test_*.py",
    "tests/test_breaker_[!m]*.py",
    "tests/test_forking.py",
    "tests/test_rules.py",
    "tests/test_windows.py",
    "tests/test_breaker_model.py",
)
_LIMITS = ("tests/test_bulkhead.py", "tests/test_adaptive.py", "tests/test_slots_model.py", "tests/lessons/test_*.py")
_HEDGE = ("tests/test_hedg*.py", "tests/lessons/test_lessons_hedging.py", "tests/lessons/test_lessons_budgets.py")
_STREAMS = ("tests/test_stream.py", "tests/test_stream_[ci]*.py", "tests/test_progress.py")
_ALERTS = ("tests/alerts/test_*.py",)
_READER = ("tests/telemetry/test_reader.py",)
_BATCH = ("tests/telemetry/test_batch.py",)
_ROUTER = ("tests/test_failover*.py", "tests/test_router.py", "tests/lessons/test_*.py")

_TESTS = {
    "adaptive.py": _LIMITS,
    "admission.py": ("tests/test_spend_caps.py", *_ROUTER),
    "aimd.py": _LIMITS,
    "alerts/command.py": ("tests/alerts/test_alert_command.py",),
    "alerts/facade.py": ("tests/alerts/test_alerts.py",),
    "alerts/formats.py": ("tests/alerts/test_alert_formats.py",),
    "alerts/grouping.py": ("tests/alerts/test_alert_grouping.py", "tests/alerts/test_quiet_hours.py"),
    "alerts/quiet.py": ("tests/alerts/test_quiet_hours.py",),
    "alerts/rules.py": ("tests/alerts/test_alert_rules.py",),
    "alerts/sinks.py": _ALERTS,
    "alerts/webhook.py": ("tests/alerts/test_webhook.py",),
    "alerts/wording.py": ("tests/alerts/test_alert_rules.py",),
    "attempts.py": (*_STREAMS, *_ROUTER, "tests/test_spend_caps.py"),
    "backoff.py": ("tests/test_backoff.py", "tests/test_retry.py", "tests/lessons/test_lessons_backoff.py"),
    "breaker.py": _BREAKER,
    "budget.py": ("tests/test_budget.py", "tests/lessons/test_lessons_budgets.py", "tests/test_forking.py"),
    "circuit.py": _BREAKER,
    "composition.py": ("tests/test_composition.py", "tests/lessons/test_*.py"),
    "cooldown.py": ("tests/test_cooldown.py", "tests/lessons/test_lessons_retry_after.py"),
    "deadline.py": (
        "tests/test_patience.py",
        "tests/test_retry.py",
        "tests/test_timeouts.py",
        "tests/lessons/test_*.py",
    ),
    "failover.py": (*_ROUTER, "tests/test_spend_caps.py"),
    "first_content.py": ("tests/test_first_content.py",),
    "flow.py": ("tests/test_flow.py", "tests/test_flow_broken.py", *_STREAMS),
    "hedge.py": _HEDGE,
    "hedge_delay.py": _HEDGE,
    "latency.py": ("tests/test_latency.py",),
    "ledger.py": ("tests/test_ledger.py",),
    "limiter.py": ("tests/test_limiter*.py", "tests/lessons/test_lessons_budgets.py"),
    "listeners.py": _BREAKER,
    "manner.py": _STREAMS,
    "models.py": ("tests/test_stated_cost.py",),
    "ordering.py": ("tests/test_spend_caps.py",),
    "outcome.py": ("tests/test_outcome.py", "tests/lessons/test_*.py"),
    "patience.py": ("tests/test_patience.py", *_ROUTER),
    "phases.py": _BREAKER,
    "pricing.py": ("tests/test_catalog_prices.py",),
    "providers/openai_answer.py": ("tests/test_stated_cost.py",),
    "race.py": ("tests/test_race.py", "tests/acceptance/test_acceptance_hedging.py"),
    "racing.py": _HEDGE,
    "retrying.py": ("tests/test_retry.py", "tests/lessons/test_*.py"),
    "router.py": _STREAMS,
    "rules.py": _BREAKER,
    "savings.py": ("tests/test_savings.py",),
    "shared_spending.py": ("tests/test_spend_caps.py",),
    "slots.py": _LIMITS,
    "spending.py": ("tests/test_spending.py", "tests/test_spend_caps.py"),
    "sse.py": ("tests/test_sse.py",),
    "stream.py": _STREAMS,
    "telemetry/batch.py": _BATCH,
    "telemetry/bookkeeping.py": _READER,
    "telemetry/breakdowns.py": _READER,
    "telemetry/costs.py": ("tests/telemetry/test_costs.py", *_BATCH),
    "telemetry/coverage.py": ("tests/telemetry/test_coverage.py", *_READER),
    "telemetry/feed.py": _READER,
    "telemetry/histogram.py": ("tests/telemetry/test_histogram.py",),
    "telemetry/numbering.py": _BATCH,
    "telemetry/outcomes.py": ("tests/telemetry/test_outcomes.py",),
    "telemetry/reader.py": _READER,
    "telemetry/records.py": _BATCH,
    "telemetry/retention.py": ("tests/telemetry/test_retention.py",),
    "telemetry/rows.py": _BATCH,
    "telemetry/settling.py": ("tests/telemetry/test_settling.py",),
    "telemetry/snapshots.py": _READER,
    "telemetry/statements.py": _BATCH,
    "telemetry/uptime.py": ("tests/telemetry/test_uptime.py", "tests/telemetry/test_settling.py"),
    "telemetry/varints.py": ("tests/telemetry/test_rollups.py",),
    "windows.py": _BREAKER,
}


def tests_for(file: str) -> tuple[str, ...]:
    """Patterns of the files of tests that must notice a mutant of *file*, the likeliest first."""
    return _TESTS[file]


MUTANTS = (
    *(*of_breaker.MUTANTS, *of_retrying.MUTANTS, *of_limits.MUTANTS),
    *(*of_hedging.MUTANTS, *of_router.MUTANTS, *of_streams.MUTANTS, *of_flow.MUTANTS, *of_alerts.MUTANTS),
    *(*of_store.MUTANTS, *of_recording.MUTANTS, *of_spending.MUTANTS),
)
"""Every mutant; a name is used once within a file."""
