"""The examples in the guides of the policies run, in the order in which they are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


def run_examples(page: str) -> dict[str, Any]:
    """Execute the Python blocks of *page* one after the other; the names they leave."""
    names: dict[str, Any] = {"__name__": page}
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, example {number}", "exec"), names)
    return names


def test_the_examples_of_the_breaker_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_examples("breaker.md")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "billing closed -> open because maintenance"
    assert re.fullmatch(r"<CircuitBreaker billing open retry in (60\.0|59\.9) s>", printed[1])
    assert names["breaker"].stats().successes == 3


def test_the_examples_of_the_retry_guide_run() -> None:
    names = run_examples("retry.md")
    assert names["breaker"].stats().successes == 1


def test_the_examples_of_the_composition_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("composition.md")
    assert capsys.readouterr().out.splitlines() == [
        "<Policy Timeout 10 s > Retry max_retries=3 > CircuitBreaker search > AttemptTimeout 3 s>",
        "no result within the deadline of 0.05 s; the function was left running and its result will be dropped",
        "/news within 10 s",
    ]


def test_the_examples_of_the_limits_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_examples("limits.md")
    printed = capsys.readouterr().out.splitlines()
    assert "<AdaptiveConcurrency billing 0/5 in flight, 0 waiting>" in printed
    assert names["bulkhead"].stats().in_flight == names["limit"].stats().in_flight == 0
    assert "<RateLimiter openai 500 requests a minute, 200,000 tokens a minute>" in printed
    assert names["limiter"].stats().granted == 5


def test_the_examples_of_the_hedging_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_examples("hedging.md")
    assert capsys.readouterr().out.splitlines() == ["from the replica"]
    assert names["hedge"].stats().running == 0


def test_the_examples_of_the_testing_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("testing.md")
    assert capsys.readouterr().out.splitlines() == [
        "backup hello",
        "['timeout', 'overloaded', 'timeout', 'None']",
        "2 2",
        "gpt-4.1",
        "openai delta 'Hel'",
        "backup restarted ''",
        "backup delta 'Good '",
        "backup delta 'day'",
        "backup delta ''",
        "'Hel' timeout",
        "['open', 'half_open']",
        "[0.5, 1.0]",
    ]


def test_the_examples_of_the_selection_guide_run() -> None:
    names = run_examples("selection.md")
    assert names["config"].selection.strategy is names["newest_last"]


def test_the_examples_of_the_embeddings_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("embeddings.md")
    assert capsys.readouterr().out.splitlines() == ["azure [0.3, 0.4]", "['overloaded', 'None']"]


def test_the_examples_of_the_health_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("health.md")
    assert capsys.readouterr().out.splitlines() == [
        "{'openai': <ProviderStatus.HEALTHY: 'healthy'>, 'backup': <ProviderStatus.HEALTHY: 'healthy'>}",
        "models server 500 True",
        "down - 3 failures without an answer between (3 make it down)",
        "False",
        "watching it is paused (we move it)",
    ]


def test_the_examples_of_the_streaming_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_examples("streaming.md")
    assert capsys.readouterr().out.splitlines() == [
        "Good morning! (backup)",
        "It is 42.",
        "The answer is disconnected",
        "Good morning! 0.0",
    ]


def test_the_examples_of_the_cost_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_examples("cost.md")
    assert "a cap on what may be spent leaves nobody to ask for 'gpt-4.1'; nothing was sent" in capsys.readouterr().out
    assert names["ledger"].total().answers == 3
