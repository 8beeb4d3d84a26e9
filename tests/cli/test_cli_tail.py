"""``failsafe tail``: what happened, and what happens next."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.cli.event_lines import KINDS, described, word_of
from failsafe.clock import SYSTEM_CLOCK
from failsafe.telemetry import database
from failsafe.telemetry.views import EventRow
from tests.cli.programs import HARD_CAP, running, until
from tests.cli.recorded import answered, called, failed, record, store_with_past
from tests.cli.terminals import shown_by


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_with_past(tmp_path / "store.db")


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["tail", "--store", str(store), *arguments])


def test_the_last_events_a_line_each_in_order_of_time(store: Path) -> None:
    result = run(store, "-n", "8")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 8
    assert all(re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \w+ \w+: ", line) for line in lines)
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert any(line.endswith("attempt openai: gpt-4.1 answered in 120 ms, 100 + 20 tokens") for line in lines)
    assert any("timeout (HTTP 503) after 80 ms, maybe billed: no answer [2J within 30 s" in line for line in lines)


def test_only_some_kinds_and_only_one_provider(store: Path) -> None:
    rare = run(store, "--kind", "breaker", "-k", "put-off").stdout.splitlines()
    assert [line.split()[1] for line in rare] == ["breaker", "put-off"]
    assert rare[0].endswith("breaker gemini: gemini: closed -> open (5 failures in a row)")
    assert "left alone for 60 s: auth: invalid x-api-key; put in a valid key" in rare[1]
    assert {line.split()[2] for line in run(store, "-p", "gemini").stdout.splitlines()} == {"gemini:"}
    assert run(store, "-n", "0").stdout == ""


def test_a_provider_that_nobody_has_recorded_is_said_and_not_only_silence(store: Path) -> None:
    result = run(store, "-p", "opnai")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing is recorded of a provider 'opnai' so far (did you mean 'openai'?)\n"


def test_json_lines(store: Path) -> None:
    rows = [json.loads(line) for line in run(store, "--json", "-n", "30", "--provider", "openai").stdout.splitlines()]
    assert len(rows) == 30
    attempt = next(row for row in rows if row["kind"] == "AttemptFinished")
    assert attempt["data"]["cost_usd"] == 0.000123456789
    assert attempt["data"]["call_id"].startswith("call-")


def test_an_empty_store_has_no_lines_and_none_is_an_error(tmp_path: Path) -> None:
    database.connect(tmp_path / "store.db").close()
    result = run(tmp_path / "store.db")
    assert (result.exit_code, result.output) == (0, "")
    assert run(tmp_path / "none.db").exit_code == 2


def test_following_shows_what_comes_and_nothing_twice(store: Path) -> None:
    with running("tail", "-f", "-n", "2", "-k", "attempt", "--json", "--store", str(store)) as process:
        assert process.stdout is not None
        before = [json.loads(process.stdout.readline()) for _ in range(2)]
        now = SYSTEM_CLOCK.time()
        record(store, [called(now), answered(now, model="new-model"), answered(now - 600, model="late-model")])
        after = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [row["data"]["model"] for row in after] == ["late-model", "new-model"]
        assert {row["id"] for row in before}.isdisjoint(row["id"] for row in after)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HARD_CAP)
        assert (process.returncode, out, err) == (0, "", "")


def test_following_goes_on_with_a_file_that_takes_the_place_of_the_store(store: Path) -> None:
    with running("tail", "-f", "-n", "1", "--store", str(store)) as process:
        until(process.stdout, "gemini")
        for suffix in ("", *database.BESIDE):
            Path(f"{store}{suffix}").unlink(missing_ok=True)
        until(process.stderr, "waiting for it")
        record(store, [failed(SYSTEM_CLOCK.time(), message="from the new one")])
        assert "from the new one" in until(process.stdout, "overloaded")
        process.send_signal(signal.SIGTERM)
        assert process.wait(HARD_CAP) == 0


def test_following_a_store_that_is_not_there_yet_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with running("tail", "-f", "--store", str(path)) as process:
        assert f"there is no store at {path} yet" in until(process.stderr, "waiting for it")
        record(path, [answered(SYSTEM_CLOCK.time(), model="the-first")])
        until(process.stdout, "the-first")


def test_following_ends_when_nobody_reads_on(store: Path) -> None:
    with running("tail", "-f", "-n", "1", "--store", str(store)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(HARD_CAP) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_terminal_gets_colours_and_the_time_of_the_day(store: Path) -> None:
    code, lines = shown_by("tail", "-n", "3", "--store", str(store), colours=True, columns=60)
    assert code == 0
    assert any(re.match(r"\x1b\[2m(20\S+ )?\d\d:\d\d:\d\d\x1b\[0m (attempt|probe|call) ", line) for line in lines)
    assert any("\x1b[31m" in line for line in lines)


def event(kind: str, /, **data: object) -> EventRow:
    return EventRow(id=1, at=0.0, process=1, kind=kind, provider="openai", data=data)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (event("CallFinished", asked_model="fast", error="DeadlineExceeded", attempts=2, latency_ms=3000, tag="batch"),
         "fast [batch] ended with DeadlineExceeded after 3 s, 2 attempts"),
        (event("AttemptFinished", model="m", latency_ms=80.0, hedge=True), "m answered as a hedge in 80 ms"),
        (event("ProbeFinished", kind="models", fault="auth", status=401, latency_ms=20.0, message="bad key"),
         "models auth (HTTP 401) after 20 ms, not held against it: bad key"),
        (event("StatusChanged", old="healthy", new="down", reason="3 failures"), "healthy -> down (3 failures)"),
        (event("PutOff", key=None, model=None, fault="quota", seconds=3600), "all of it left alone for 60 min: quota"),
        (event("ModelSubstituted", asked_model="a", model="b"), "a was asked for, and b answered"),
        (event("NetworkChanged", up=False, reason="nobody answers"), "is down: nobody answers"),
        (event("NetworkChanged", up=True), "is back"),
        (event("WatchChanged", state="paused", note="deployment"), "paused: deployment"),
        (event("Alert", severity="critical", rule="down", title="openai is down", message="look"),
         "critical down: openai is down: look"),
        (event("CommandCarriedOut", action="reset", origin="me", outcome="closed"), "reset by me: closed"),
        (event("SomethingNewer", at=1.0, provider="x", extra=3, empty=None), "provider x, extra 3"),
    ],
)  # fmt: skip
def test_every_kind_of_event_is_told_in_words(row: EventRow, said: str) -> None:
    assert described(row)[0] == said


def test_events_with_fields_missing_are_told_too() -> None:
    for kind in KINDS.values():
        text, _ = described(event(kind))
        assert text


def test_words_for_kinds() -> None:
    assert [word_of(kind) for kind in KINDS.values()] == [*KINDS]
    assert word_of("SomethingNewer") == "SomethingNewer"
