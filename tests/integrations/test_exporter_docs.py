"""The guides of the exporters: examples run, tables are complete, and queries ask for what there is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from failsafe import errors
from failsafe.events import CLOSED, CircuitState
from failsafe.faults import Fault
from failsafe.health import ProviderStatus
from failsafe.integrations import tally
from failsafe.integrations.metrics import COUNTER, HISTOGRAM, INFO, KINDS_BY_NAME, WINDOWS
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import streaming
from tests.integrations.test_opentelemetry import MODEL, Traced, of
from tests.router_bench import BROKEN, LIMITED, Bench
from tests.test_policy_docs import DOCS, run_examples

PROMETHEUS = (DOCS / "prometheus.md").read_text(encoding="utf-8")
OPENTELEMETRY = (DOCS / "opentelemetry.md").read_text(encoding="utf-8")

SUFFIXES = {COUNTER: ["_total"], HISTOGRAM: ["_bucket", "_sum", "_count"], INFO: ["_info"]}
SAMPLES = {
    kind.name + suffix: set(kind.labels)
    for kind in KINDS_BY_NAME.values()
    for suffix in SUFFIXES.get(kind.type, [""])
}  # fmt: skip
VALUES: dict[str, set[str]] = {
    "fault": {tally.NONE, *(fault.value for fault in Fault)},
    "outcome": {tally.ANSWERED, tally.FAILED, tally.FALLBACK, CLOSED, *vars(errors)},
    "state": {state.value for state in CircuitState},
    "status": {status.value for status in ProviderStatus},
    "window": set(WINDOWS),
}


def printed_after(page: str, captured: str) -> None:
    """The page shows what its examples print."""
    shown = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert captured == "".join(shown)


def test_the_examples_of_prometheus_run(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_examples("prometheus.md")
    printed_after(PROMETHEUS, capsys.readouterr().out)
    assert callable(names["metrics"])


def test_the_examples_of_opentelemetry_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("opentelemetry.md")
    printed_after(OPENTELEMETRY, capsys.readouterr().out)


def test_the_table_has_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(failsafe_\w+)` \| (.*?) \|", PROMETHEUS, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    expected = {}
    for kind in KINDS_BY_NAME.values():
        suffix = {COUNTER: "_total", INFO: "_info"}.get(kind.type, "")
        expected[kind.name + suffix] = set(kind.labels) - {"router"}
    assert listed == expected


def queries() -> list[str]:
    """Every expression of the tables and the alerts."""
    dashboards = PROMETHEUS.partition("\n## Queries\n")[2]
    tables = [query.replace("\\|", "|") for query in re.findall(r"^\| .*? \| `(.*)` \|$", dashboards, re.MULTILINE)]
    alerts = re.findall(r"expr: (?:>\n((?: {10}.*\n)+)|(.*)\n)", dashboards)
    found = [*tables, *(folded or plain for folded, plain in alerts)]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_what_there_is(query: str) -> None:
    assert query.count("(") == query.count(")")
    used = re.findall(r"(failsafe_\w+)(?:\{([^}]*)\})?", query)
    assert used
    for name, matchers in used:
        labels = SAMPLES[name]
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert label in labels
            values = value.split("|") if "~" in operator else [value]
            assert set(values) <= VALUES[label]
    grouped = {label for group in re.findall(r" by \(([^)]*)\)", query) for label in group.split(", ")}
    assert grouped - {"le"} <= set().union(*(SAMPLES[name] for name, _ in used))


def test_every_attribute_and_metric_of_opentelemetry_is_listed(expect_logs: object) -> None:
    told = set(re.findall(r"`((?:gen_ai|failsafe|server|http|error)\.[\w.]+)`", OPENTELEMETRY))
    bench = Bench(
        (BROKEN, LIMITED, streaming("one")), streaming("one"), breaker=CircuitBreakerConfig(failure_threshold=1)
    )
    traced = Traced(bench, name="front")
    for _ in range(3):
        list(bench.router.stream("hi", model=MODEL, tag="nightly"))
        bench.router.reset()
    bench.router.stream("hi", model=MODEL).close()
    names = {name for span in traced.spans for name in of(span)}
    for span in traced.spans:
        for event in span.events:
            names |= {event.name, *(event.attributes or {})}
    data = traced.reader.get_metrics_data()
    assert data is not None
    metrics: list[Any] = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    names |= {metric.name for metric in metrics}
    names |= {name for metric in metrics for point in metric.data.data_points for name in point.attributes}
    assert names - told == set()
