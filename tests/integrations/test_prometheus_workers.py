"""The client library's multiprocess mode, in processes of its own: the library looks for it when it is first loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from failsafe.integrations.metrics import COUNTER, HISTOGRAM, KINDS_BY_NAME

ROOT = Path(__file__).resolve().parents[2]
HARD_CAP = 40.0

PROGRAM = """
import os
from failsafe.errors import ConfigError
from failsafe.events import ProbeFinished
from failsafe.faults import Fault
from failsafe.integrations import prometheus
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.pricing import Price
from failsafe.testing import answer, refusal, streaming
from tests.router_bench import BROKEN, LIMITED, Bench

prices = {"gpt-4.1": Price(input=2, output=8)}
bench = Bench(
    (BROKEN, answer(), streaming("one", "two"), streaming("one", "two"), LIMITED, answer()),
    (answer(), answer()),
    of_provider={"prices": prices},
    breaker=CircuitBreakerConfig(failure_threshold=1, timeout=1),
)
end = prometheus.register(bench.router, name="front")
try:
    prometheus.register(bench.router)
except ConfigError as error:
    assert "exported already" in str(error)
else:
    raise SystemExit("registered twice")

def work():
    bench.ask()                                          # a fails, its breaker opens, b answers
    bench.clock.advance(2)
    bench.ask()                                          # the probe is answered
    list(bench.router.stream("hi", model="gpt-4.1"))
    bench.router.stream("hi", model="gpt-4.1").close()
    bench.ask()                                          # a is limited, which fails its probe; b answers
    bench.router._reporter.emit(ProbeFinished(at=1.0, provider="b", kind="models", fault=Fault.NETWORK))

children = []
for _ in range(2):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
work()
end()
end()
bench.ask()                                              # not counted any more
prometheus.register(bench.router, name="front")()
"""


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> CollectorRegistry:
    """What three processes, two of them forked, have told of five calls each."""
    folder = tmp_path_factory.mktemp("metrics")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=HARD_CAP, check=False
    )
    assert done.returncode == 0, done.stderr
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

OF_A = {"provider": "a", "model": "gpt-4.1"}


@pytest.mark.parametrize(
    ("sample", "labels", "each"),
    [
        ("calls_total", {"model": "gpt-4.1", "outcome": "answered"}, 4),
        ("calls_total", {"model": "gpt-4.1", "outcome": "closed"}, 1),
        ("call_duration_seconds_count", {"outcome": "answered"}, 4),
        ("attempts_total", {**OF_A, "fault": "server"}, 1),
        ("attempts_total", {**OF_A, "fault": "none"}, 2),
        ("attempt_duration_seconds_count", {**OF_A, "outcome": "answered"}, 2),
        ("attempt_duration_seconds_bucket", {**OF_A, "outcome": "answered", "le": "0.05"}, 2),
        ("time_to_first_content_seconds_count", OF_A, 2),
        ("maybe_billed_attempts_total", OF_A, 1),
        ("tokens_total", {**OF_A, "kind": "output"}, None),
        ("cost_usd_total", OF_A, None),
        ("breaker_opened_total", {"provider": "a", "model": ""}, 2),
        ("put_offs_total", {"provider": "a", "fault": "rate_limit"}, 1),
        ("probes_total", {"provider": "b", "kind": "models", "fault": "network"}, 1),
    ],
)  # fmt: skip
def test_the_counts_of_all_workers_are_added_up(
    collected: CollectorRegistry, sample: str, labels: dict[str, str], each: int | None
) -> None:
    value = collected.get_sample_value(f"failsafe_{sample}", {"router": "front", **labels})
    assert value is not None
    assert value == 3 * each if each is not None else value > 0


def test_each_process_tells_the_state_of_its_own_breakers(collected: CollectorRegistry) -> None:
    (family,) = [each for each in collected.collect() if each.name == "failsafe_breaker_state"]
    states: dict[str, Any] = {}
    for sample in family.samples:
        if sample.value:
            states.setdefault(sample.labels["pid"], []).append(sample.labels["state"])
    assert len(states) == 3
    assert all(each == ["open"] for each in states.values())


def test_the_names_and_texts_are_those_of_a_single_process(collected: CollectorRegistry) -> None:
    kinds = {kind.name: kind for kind in KINDS_BY_NAME.values()}
    for family in collected.collect():
        kind = kinds[family.name]
        assert family.type == kind.type
        names = {label for sample in family.samples for label in sample.labels}
        assert names - {"le", "pid"} == set(kind.labels)
        assert kind.type in (COUNTER, HISTOGRAM) or kind.name == "failsafe_breaker_state"
