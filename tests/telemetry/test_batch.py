"""Events become rows, counts and costs, in one transaction or not at all."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from failsafe.circuit import BreakerStats
from failsafe.events import (
    Alert,
    AttemptFinished,
    CallStarted,
    CircuitState,
    CommandCarriedOut,
    Event,
    ModelSubstituted,
    NetworkChanged,
    PutOff,
    StateChanged,
    StatusChanged,
    WatchChanged,
)
from failsafe.faults import Fault
from failsafe.models import Attempt, Phase, Usage
from failsafe.telemetry import batch, database
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.histogram import Histogram
from failsafe.telemetry.numbering import Numbers
from failsafe.telemetry.outcomes import Outcome, outcome_of
from failsafe.telemetry.records import Source
from failsafe.telemetry.rollups import Streams
from failsafe.telemetry.schema import ROLLUPS
from failsafe.telemetry.texts import CallTexts
from tests.telemetry.batches import NOW, PROCESS, RATES, attempt, call, dump, probe, rows, source, write

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def store() -> Iterator[sqlite3.Connection]:
    with closing(database.connect(None)) as connection:
        yield connection


def rollup(store: sqlite3.Connection, width: int = 10) -> list[dict[str, Any]]:
    return rows(store, f"rollup_{width}", "at, target")


# Single rows.


def test_an_answer(store: sqlite3.Connection) -> None:
    usage = Usage(prompt_tokens=300, completion_tokens=20, cached_tokens=100, cache_write_tokens=50, reasoning_tokens=7)
    event = attempt(
        usage=usage,
        request_id="req_1",
        bytes_received=743,
        first_content_ms=90.5,
        hedge=True,
        round=2,
        call_id="call-9",
    )

    write(store, [event])

    (row,) = rows(store, "attempts")
    (target,), (model,) = rows(store, "targets"), rows(store, "models")
    assert (target["name"], target["base_url"]) == ("openai", "https://openai.example/v1")
    assert model["name"] == "gpt-4.1"
    assert row == {
        "id": 1, "at": NOW, "target": target["id"], "model": model["id"], "process": PROCESS, "call": "call-9",
        "latency": 250.0, "first_content": 90.5, "fault": None, "status": 200, "phase": "done", "key": "ab12",
        "round": 2, "flags": 1, "received": 743, "prompt": 300, "cached": 100, "written": 50, "completion": 20,
        "reasoning": 7, "cost": 150 * 2_000_000 + 50 * 2_000_000 + 100 * 500_000 + 20 * 8_000_000,
        "request_id": "req_1", "message": None,
    }  # fmt: skip


def test_a_failure(store: sqlite3.Connection) -> None:
    event = attempt(
        fault=Fault.SERVER, status=500, phase=Phase.READ, message="it broke", maybe_billed=True, blamed=True, key=""
    )

    write(store, [event])

    (row,) = rows(store, "attempts")
    assert row["fault"] == "server"
    assert row["flags"] == 2 | 4
    assert (row["message"], row["phase"], row["status"], row["key"]) == ("it broke", "read", 500, "")
    assert (row["prompt"], row["cost"], row["first_content"]) == (None, None, None)


def test_calls(store: sqlite3.Connection) -> None:
    lost = call(provider=None, error="AllProvidersFailed", attempts=3, maybe_billed=2, tag="nightly")

    write(store, [call(tag="web"), lost])

    answered, failed = rows(store, "calls", "id")
    assert answered["asked"] == "fast"
    assert answered["target"] == rows(store, "targets")[0]["id"]
    assert answered["model"] == rows(store, "models")[0]["id"]
    assert (answered["error"], answered["tag"], answered["latency"], answered["process"]) == (
        None,
        "web",
        260.0,
        PROCESS,
    )
    assert (failed["target"], failed["model"], failed["error"]) == (None, None, "AllProvidersFailed")
    assert (failed["attempts"], failed["maybe_billed"], failed["tag"]) == (3, 2, "nightly")


def test_probes(store: sqlite3.Connection) -> None:
    failed = probe(fault=Fault.TIMEOUT, message="no answer in 10 s", blamed=True, permit=True, kind="completion")

    write(store, [probe(status=200), failed])

    up, down = rows(store, "probes", "id")
    assert (up["fault"], up["status"], up["kind"], up["flags"], up["message"]) == (None, 200, "models", 0, None)
    assert (down["fault"], down["flags"], down["message"]) == ("timeout", 4 | 8, "no answer in 10 s")


def test_texts(store: sqlite3.Connection) -> None:
    write(store, [CallTexts(at=NOW, call_id="c1", prompt='[{"role":"user"}]', answer="h\udc80i")])
    write(store, [CallTexts(at=NOW, call_id="c2", prompt="[]", answer=None)])

    first, second = rows(store, "texts", "id")
    assert (first["call"], first["prompt"], first["answer"]) == ("c1", '[{"role":"user"}]', "h?i")
    assert (second["answer"], second["process"]) == (None, PROCESS)


RARE: list[Event] = [
    StateChanged(at=NOW, name="openai", old=CircuitState.CLOSED, new=CircuitState.OPEN, reason="5 failures"),
    PutOff(
        at=NOW, provider="openai", key="ab12", model=None, fault=Fault.AUTH, seconds=60.0, message="rejected",
        alert=True, advice="replace the key",
    ),
    ModelSubstituted(at=NOW, provider="openai", asked_model="gpt-4.1", model="gpt-4o"),
    StatusChanged(at=NOW, provider="openai", old="healthy", new="down", reason="3 failures"),
    NetworkChanged(at=NOW, up=False, reason="nobody can be reached"),
    WatchChanged(at=NOW, provider="openai", state="paused", note="moving"),
    Alert(at=NOW, rule="down", provider="openai", severity="critical", title="openai is down", message="for 90 s"),
    CommandCarriedOut(at=NOW, action="reset", provider="openai", origin="me@here", outcome="closed"),
]  # fmt: skip


@pytest.mark.parametrize("event", RARE, ids=lambda event: type(event).__name__)
def test_what_is_rare_is_kept_as_json(store: sqlite3.Connection, event: Event) -> None:
    batch = write(store, [event])

    (row,) = rows(store, "events")
    assert batch.refused == 0
    assert row["kind"] == type(event).__name__
    assert (row["at"], row["process"]) == (NOW, PROCESS)
    assert msgspec.convert(json.loads(row["data"]), type(event)) == event
    about_all = isinstance(event, NetworkChanged)
    assert row["target"] == (None if about_all else rows(store, "targets")[0]["id"])


def test_every_kind_of_event_is_known() -> None:
    kinds = {kind for kind in Event.__subclasses__() if kind.__module__.startswith("failsafe.")}

    assert kinds <= set(Batch._HANDLERS)


def test_what_is_for_listeners_alone_is_passed_over(store: sqlite3.Connection) -> None:
    before = dump(store)

    batch = write(store, [CallStarted(at=NOW, call_id="c1", asked_model="fast")])

    assert batch.refused == 0
    assert dump(store) == before


def test_alerts(store: sqlite3.Connection) -> None:
    alert = Alert(
        at=NOW, rule="spend", provider="", severity="warning", title="80 %", message="of 10 USD", resolves=True,
        details={"usd": math.nan},
    )  # fmt: skip

    write(store, [alert])

    (row,) = rows(store, "alerts")
    assert (row["rule"], row["severity"], row["title"], row["message"]) == ("spend", "warning", "80 %", "of 10 USD")
    assert (row["target"], row["resolves"], row["acknowledged_at"], row["process"]) == (None, 1, None, PROCESS)
    assert json.loads(rows(store, "events")[0]["data"])["details"] == {"usd": None}


# Breakers.


def state(new: CircuitState, at: float = NOW, **fields: Any) -> StateChanged:
    given = {"name": "openai", "old": CircuitState.CLOSED, "reason": "why", **fields}
    return StateChanged(at=at, new=new, **given)


def stats(state: CircuitState = CircuitState.CLOSED, **fields: Any) -> BreakerStats:
    counts = dict.fromkeys(("opened", "rejected", "successes", "failures", "soft_failures"), 0)
    return BreakerStats(**{"name": "openai", "state": state, "reason": "", "retry_after": None, **counts, **fields})


def look(store: sqlite3.Connection, how: BreakerStats, at: float = NOW, threshold: int | None = 5) -> None:
    batch = Batch()
    batch.breaker_snapshot(source(router=3), how.name, how, threshold, at)
    assert batch.events == 1
    batch.write(store, PROCESS, NOW)


def test_a_breaker_that_changes(store: sqlite3.Connection) -> None:
    of = source(router=3)
    write(store, [state(CircuitState.OPEN, retry_after=60.0)], of)

    (row,) = rows(store, "breakers")
    assert (row["process"], row["router"], row["name"], row["state"]) == (PROCESS, 3, "openai", "open")
    assert (row["changed_at"], row["retry_at"], row["opened"], row["reason"]) == (NOW, NOW + 60, 1, "why")

    write(store, [state(CircuitState.HALF_OPEN, NOW + 60), state(CircuitState.OPEN, NOW + 61, reason="again")], of)

    (row,) = rows(store, "breakers")
    assert (row["state"], row["reason"], row["opened"], row["changed_at"]) == ("open", "again", 2, NOW + 61)
    assert row["retry_at"] is None


def test_a_breaker_that_is_looked_at(store: sqlite3.Connection) -> None:
    look(store, stats(streak=3, opened=2))
    (row,) = rows(store, "breakers")
    assert (row["streak"], row["threshold"], row["opened"], row["seen_at"], row["changed_at"]) == (3, 5, 2, NOW, NOW)

    look(store, stats(streak=4), NOW + 5)
    (row,) = rows(store, "breakers")
    assert (row["streak"], row["seen_at"], row["changed_at"]) == (4, NOW + 5, NOW)

    look(store, stats(CircuitState.OPEN, retry_after=30.0), NOW + 10)
    (row,) = rows(store, "breakers")
    assert (row["state"], row["changed_at"], row["retry_at"]) == ("open", NOW + 10, NOW + 40)


def test_a_change_that_is_written_after_a_later_look_counts_once(store: sqlite3.Connection) -> None:
    look(store, stats(CircuitState.OPEN, opened=1), NOW + 1)

    write(store, [state(CircuitState.OPEN)], source(router=3))

    assert rows(store, "breakers")[0]["opened"] == 1
    assert rows(store, "breakers")[0]["seen_at"] == NOW + 1


def test_the_breaker_of_a_model_belongs_to_its_provider(store: sqlite3.Connection) -> None:
    write(store, [state(CircuitState.OPEN, name="groq:llama:8b"), state(CircuitState.OPEN, name="nobody:x")])

    names = {row["id"]: row["name"] for row in rows(store, "targets")}
    assert {row["name"]: names[row["target"]] for row in rows(store, "breakers")} == {
        "groq:llama:8b": "groq",
        "nobody:x": "nobody:x",
    }


def test_breakers_of_two_routers_do_not_mix(store: sqlite3.Connection) -> None:
    write(store, [state(CircuitState.OPEN)], source(router=1))
    write(store, [state(CircuitState.CLOSED)], source(router=2))

    assert {row["router"]: row["state"] for row in rows(store, "breakers")} == {1: "open", 2: "closed"}


# Rollups.


@pytest.mark.parametrize("fault", [None, *Fault])
@pytest.mark.parametrize("blamed", [True, False])
def test_what_is_counted(store: sqlite3.Connection, fault: Fault | None, blamed: bool) -> None:
    outcome = outcome_of(fault, blamed=blamed)
    one = attempt(fault=fault, blamed=blamed, message="")

    write(store, [one, probe(fault=fault, blamed=blamed)])

    for width in ROLLUPS:
        table = rollup(store, width)
        if outcome is None:
            assert not table
            continue
        (row,) = table
        for column in Outcome:
            assert row[column] == (2 if column is outcome else 0)
        assert (row["histogram"] is None) is (outcome is not Outcome.ANSWERED)
    counted = [(row["fault"], row["count"], row["at"]) for row in rows(store, "faults")]
    assert counted == ([] if fault is None or outcome is None else [(fault.value, 2, NOW)])


def test_spans_and_their_latencies(store: sqlite3.Connection) -> None:
    of = source(latency_limit=300.0)
    times = {NOW + 3.25: 100.0, NOW + 4: 400.0, NOW + 59.5: 200.0, NOW + 900: 300.0, NOW + 86_400: 5000.0}

    write(store, [attempt(at, latency_ms=ms) for at, ms in times.items()], of)

    ten = rollup(store, 10)
    assert [row["at"] for row in ten] == [NOW, NOW + 50, NOW + 900, NOW + 86_400]
    assert [row["answered"] for row in ten] == [2, 1, 1, 1]
    assert [row["slow"] for row in ten] == [1, 0, 0, 1]
    assert [row["latency"] for row in ten] == [500, 200, 300, 5000]
    assert [row["first"] for row in ten] == [3250, 9500, 0, 0]
    assert ten[0]["histogram"] == Histogram.of([100.0, 400.0]).to_bytes()
    assert [row["answered"] for row in rollup(store, 60)] == [3, 1, 1]
    assert [row["answered"] for row in rollup(store, 900)] == [3, 1, 1]
    assert [(row["at"] % 86_400, row["answered"]) for row in rollup(store, 86_400)] == [(0, 4), (0, 1)]
    assert rollup(store, 86_400)[0]["first"] == (NOW + 3.25) % 86_400 * 1000


def test_events_out_of_order_tell_of_the_first(store: sqlite3.Connection) -> None:
    write(store, [attempt(NOW + 5), attempt(NOW + 2), attempt(NOW + 7)])
    assert rollup(store)[0]["first"] == 2000
    write(store, [attempt(NOW + 1), attempt(NOW + 9)])

    assert rollup(store)[0]["first"] == 1000


def test_many_batches_add_up_to_one(store: sqlite3.Connection) -> None:
    events: list[Event] = []
    for number in range(300):
        at, ms = NOW + number * 7.25, 50.0 + 2 * number
        events.append(attempt(at, latency_ms=ms, first_content_ms=ms / 2, tag=f"t{number % 3}"))
        events.append(attempt(at, "groq", fault=Fault.SERVER, blamed=number % 2 == 0, maybe_billed=True, latency_ms=ms))
    tables = [f"rollup_{width}" for width in ROLLUPS]
    with closing(database.connect(None)) as other:
        write(other, events)
        for start in range(0, len(events), 37):
            write(store, events[start : start + 37])

        for table in (*tables, "faults", "costs"):
            assert rows(store, table, "1, 2, 3, 4") == rows(other, table, "1, 2, 3, 4")


def test_two_routers_with_the_same_provider_have_one_target(store: sqlite3.Connection) -> None:
    batch = Batch()
    for of in (source("openai"), source("openai", router=1)):
        batch.add(of, attempt(tag="x"))
        batch.add(of, attempt(NOW + 1, fault=Fault.SERVER, blamed=True))
    batch.write(store, PROCESS, NOW)

    assert len(rows(store, "targets")) == 1
    (row,) = rollup(store)
    assert (row["answered"], row["failed"]) == (2, 2)
    (cost,) = rows(store, "costs")
    assert cost["answers"] == 2
    assert rows(store, "faults")[0]["count"] == 2


def test_the_same_name_at_two_addresses_is_two_targets(store: sqlite3.Connection) -> None:
    from failsafe.telemetry.records import TargetInfo

    write(store, [attempt()], Source({"openai": TargetInfo("https://a.example")}))
    write(store, [attempt()], Source({"openai": TargetInfo("https://b.example")}))

    assert [row["base_url"] for row in rows(store, "targets", "id")] == ["https://a.example", "https://b.example"]


def test_what_streams_tell(store: sqlite3.Connection) -> None:
    slow = attempt(latency_ms=3000.0, first_content_ms=1000.0, usage=Usage(completion_tokens=100))
    fast = attempt(latency_ms=1500.0, first_content_ms=500.0, usage=Usage(completion_tokens=200))
    unknown = attempt(latency_ms=1500.0, first_content_ms=300.0, usage=Usage())
    broken = attempt(fault=Fault.TRUNCATED, blamed=True, first_content_ms=5.0)

    write(store, [slow, unknown, broken])
    write(store, [fast, attempt()])

    told = Streams.from_bytes(rollup(store)[0]["streams"])
    assert told == Streams(answers=3, waited=1800, tokens=300, took=3000)
    assert told.first_content == 600
    assert told.tokens_per_second == 100


# Costs.


def test_costs_add_up_to_the_picodollar(store: sqlite3.Connection) -> None:
    events = [attempt(tag="web"), attempt(tag="web", usage=Usage(prompt_tokens=1)), attempt(tag="")]
    told = attempt(tag="web", usage=Usage(prompt_tokens=5, cost_usd=Decimal("0.00123")))
    unknown = attempt(tag="web", rates=None)

    write(store, [*events, told])
    write(
        store,
        [unknown, attempt(fault=Fault.TIMEOUT, maybe_billed=True, tag="web"), attempt(fault=Fault.AUTH, tag="web")],
    )

    plain, web = rows(store, "costs", "tag")
    assert (plain["answers"], plain["cost"]) == (1, 300 * 2_000_000 + 20 * 8_000_000)
    assert web["day"] == "2027-01-15"
    assert (web["answers"], web["unpriced"], web["duplicates"]) == (4, 1, 1)
    assert web["cost"] == (300 * 2_000_000 + 20 * 8_000_000) + 2_000_000 + 1_230_000_000
    assert (web["prompt"], web["completion"]) == (606, 40)


def test_days_of_costs_are_those_of_utc(store: sqlite3.Connection) -> None:
    midnight = NOW - NOW % 86_400

    write(store, [attempt(midnight - 0.5), attempt(midnight)])

    assert [row["day"] for row in rows(store, "costs", "day")] == ["2027-01-14", "2027-01-15"]


def test_an_answer_without_tokens_is_one_of_unknown_price(store: sqlite3.Connection) -> None:
    write(store, [attempt(usage=None)])

    (row,) = rows(store, "costs")
    assert (row["answers"], row["unpriced"], row["cost"], row["prompt"]) == (1, 1, 0, 0)


# Watching.


def watch(provider: str, word: str, at: float) -> WatchChanged:
    return WatchChanged(at=at, provider=provider, state=word, note=f"since {at - NOW:g}")


def test_pauses_and_maintenance(store: sqlite3.Connection) -> None:
    write(store, [watch("openai", "paused", NOW), watch("groq", "maintenance", NOW + 1)])
    write(store, [watch("openai", "paused", NOW + 2), watch("openai", "maintenance", NOW + 3)])
    write(store, [watch("openai", "watched", NOW + 4)])

    found = [
        (row["target"], row["state"], row["began"] - NOW, row["ended"], row["note"])
        for row in rows(store, "watch", "id")
    ]
    assert found == [
        (1, "paused", 0, NOW + 3, "since 0"),
        (2, "maintenance", 1, None, "since 1"),
        (1, "maintenance", 3, NOW + 4, "since 3"),
    ]


def test_a_network_that_two_programs_miss_is_gone_once(store: sqlite3.Connection) -> None:
    write(store, [NetworkChanged(at=NOW, up=False, reason="gone")])
    write(store, [NetworkChanged(at=NOW + 1, up=False), watch("openai", "paused", NOW + 1)], process=2)
    write(store, [NetworkChanged(at=NOW + 9, up=True)])

    offline, paused = rows(store, "watch", "id")
    assert (offline["target"], offline["state"], offline["began"], offline["ended"]) == (None, "offline", NOW, NOW + 9)
    assert (offline["note"], paused["ended"]) == ("gone", None)


def test_a_clock_that_was_set_back_ends_no_pause_before_it_began(store: sqlite3.Connection) -> None:
    write(store, [watch("openai", "paused", NOW), watch("openai", "watched", NOW - 100)])

    assert rows(store, "watch")[0]["ended"] == NOW


# Targets and models.


def test_targets_are_as_configured_last(store: sqlite3.Connection) -> None:
    write(store, [attempt()], source(interval=10.0, latency_limit=500.0, sla=99.9))
    write(store, [attempt()], source(interval=20.0))

    (row,) = rows(store, "targets")
    assert (row["interval"], row["latency_limit"], row["sla"]) == (20.0, None, None)


def test_a_provider_that_was_not_configured_is_kept_all_the_same(store: sqlite3.Connection) -> None:
    write(store, [attempt(provider="other")])

    (row,) = rows(store, "targets")
    assert (row["name"], row["base_url"]) == ("other", "")


def test_ten_thousand_made_up_names_are_not_remembered_for_ever() -> None:
    recorder = source()
    known = recorder.target("openai")
    for number in range(10_000):
        recorder.target(f"made-up-{number}")

    assert len(recorder._known) < 2000
    assert recorder.target("openai") is known


# Transactions.


_FULL = sqlite3.OperationalError("database or disk is full")


class _Failing:
    """A connection on which one statement fails."""

    def __init__(self, connection: sqlite3.Connection, word: str, error: sqlite3.Error = _FULL) -> None:
        self._connection = connection
        self._word = word
        self._error = error

    def execute(self, statement: str, *arguments: Any) -> Any:
        if self._word in statement:
            raise self._error
        return self._connection.execute(statement, *arguments)

    def executemany(self, statement: str, rows: Any) -> Any:
        if self._word in statement:
            raise self._error
        return self._connection.executemany(statement, rows)

    def create_function(self, *arguments: Any, **options: Any) -> None:
        self._connection.create_function(*arguments, **options)


ALL: list[Event] = [
    attempt(tag="x"), attempt(fault=Fault.SERVER, blamed=True), call(), probe(), *RARE, watch("groq", "paused", NOW),
    CallTexts(at=NOW, call_id="c1", prompt="[]", answer="a"),
]  # fmt: skip


@pytest.mark.parametrize(
    "word",
    [
        "targets (", "models (", "attempts", "calls", "probes", "texts", "INTO events", "alerts", "breakers",
        "INTO watch", "rollup_10", "rollup_86400", "faults", "costs", "processes", "COMMIT",
    ],
)  # fmt: skip
def test_what_could_not_be_written_is_written_later_and_whole(store: sqlite3.Connection, word: str) -> None:
    before = dump(store)
    batch, recorder = Batch(), source()
    for event in ALL:
        batch.add(recorder, event)

    with pytest.raises(sqlite3.OperationalError):
        batch.write(_Failing(store, word), PROCESS, NOW)  # type: ignore[arg-type]
    assert dump(store) == before
    assert not store.in_transaction

    batch.write(store, PROCESS, NOW)
    with closing(database.connect(None)) as other:
        write(other, ALL)
        assert dump(store) == dump(other)


def test_a_batch_may_be_written_into_two_databases_with_other_numbers(store: sqlite3.Connection) -> None:
    write(store, [attempt(provider="groq", model="llama")])
    batch, recorder = Batch(), source()
    for event in ALL:
        batch.add(recorder, event)

    batch.write(store, PROCESS, NOW)
    with closing(database.connect(None)) as other:
        batch.write(other, PROCESS, NOW)

        for connection in (store, other):
            names = {row["id"]: row["name"] for row in rows(connection, "targets")}
            models = {row["id"]: row["name"] for row in rows(connection, "models")}
            (last,) = connection.execute("SELECT target, model FROM attempts ORDER BY id DESC LIMIT 1")
            assert (names[last[0]], models[last[1]]) == ("openai", "gpt-4.1")
            (spans,) = connection.execute("SELECT sum(answered) FROM rollup_900 WHERE target = ?", (last[0],))
            assert spans[0] == 2


def test_a_database_that_took_the_place_of_another_is_given_its_own_numbers(tmp_path: Path) -> None:
    path, recorder = tmp_path / "store.db", source()
    with closing(database.connect(path)) as first:
        write(first, [attempt(provider="groq", model="llama"), attempt()], recorder)
    path.unlink()
    with closing(database.connect(path)) as second:
        write(second, [attempt()], recorder)

        (row,) = rows(second, "attempts")
        assert rows(second, "targets") == [
            {"id": row["target"], "name": "openai", "base_url": "https://openai.example/v1", "interval": 30.0,
             "latency_limit": None, "sla": None}
        ]  # fmt: skip
        assert rows(second, "models") == [{"id": row["model"], "name": "gpt-4.1"}]


def test_two_programs_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(database.connect(path)) as one, closing(database.connect(path)) as other:
        for _ in range(3):
            write(one, [attempt()], process=1)
            write(other, [attempt(), call()], process=2)

        assert rows(one, "rollup_10")[0]["answered"] == 6
        assert len(rows(one, "targets")) == len(rows(one, "models")) == 1


def test_whoever_writes_is_alive(store: sqlite3.Connection) -> None:
    store.execute(
        "INSERT INTO processes (id, pid, host, program, version, started_at, seen_at) "
        "VALUES (?, 1, 'host', 'program', '1.0', 0, ?)",
        (PROCESS, NOW - 100),
    )

    write(store, [call()])

    assert rows(store, "processes")[0]["seen_at"] == NOW


def test_an_empty_batch_writes_nothing(store: sqlite3.Connection) -> None:
    before = dump(store)

    Batch().write(store, PROCESS, NOW)

    assert dump(store) == before


# What cannot be.


class Odd(AttemptFinished, frozen=True, kw_only=True):
    """A subclass of somebody's."""


class Broken(Event, frozen=True, kw_only=True):
    """An event of somebody's own."""


class Raising(Attempt, frozen=True, kw_only=True):
    """An attempt whose cost cannot be told."""

    @property
    def cost_usd(self) -> Decimal | None:
        raise RuntimeError("no")


def absurd_usage(**fields: Any) -> AttemptFinished:
    return attempt(usage=Usage(**fields))


ABSURD: dict[str, Event] = {
    "NaN for a time": attempt(math.nan),
    "a time before all": attempt(-1.0),
    "a time after all": attempt(1e15),
    "an infinite time": call(math.inf),
    "a word for a time": attempt("soon"),  # type: ignore[arg-type]
    "NaN for a latency": attempt(latency_ms=math.nan),
    "an infinite latency": attempt(latency_ms=math.inf),
    "a negative latency": attempt(latency_ms=-1.0),
    "no latency": attempt(latency_ms=None),
    "a call of NaN": call(latency_ms=math.nan),
    "a probe of NaN": probe(latency_ms=math.nan),
    "a first content of NaN": attempt(first_content_ms=math.nan),
    "minus three tokens": absurd_usage(prompt_tokens=-3),
    "half a token": absurd_usage(completion_tokens=0.5),
    "too many tokens": absurd_usage(prompt_tokens=2**70),
    "a word for tokens": absurd_usage(cached_tokens="many"),
    "a fortune": absurd_usage(cost_usd=Decimal("1e12")),
    "a negative cost": absurd_usage(cost_usd=Decimal(-1)),
    "no number for a cost": absurd_usage(cost_usd=Decimal("NaN")),
    "too many bytes": attempt(bytes_received=2**80),
    "a word for a status": attempt(status="ok"),
    "a status of 2**70": probe(status=2**70),
    "a list for a model": attempt(model=["a"]),
    "a number for a model": attempt(model=7),
    "a number for the model of a call": call(model=7),
    "a number for a tag": attempt(tag=7),  # type: ignore[arg-type]
    "a number for the tag of a call": call(tag=7),
    "bytes for an id": attempt(call_id=b"c1"),  # type: ignore[arg-type]
    "a number for a message": attempt(fault=Fault.SERVER, message=7),
    "an unknown fault": attempt(fault="exploded", message=""),
    "an unknown phase": attempt(phase=None),
    "no attempt": AttemptFinished(at=NOW, call_id="c1", attempt=None),  # type: ignore[arg-type]
    "a number for a provider": attempt(provider=7),  # type: ignore[arg-type]
    "a list for a provider": attempt(provider=[]),  # type: ignore[arg-type]
    "minus one attempt": call(attempts=-1),
    "an event of somebody's own": Broken(at=NOW),
    "a number for a reason": StateChanged(
        at=NOW, name="openai", old=CircuitState.CLOSED, new=CircuitState.OPEN, reason=7  # type: ignore[arg-type]
    ),
    "NaN until a retry": StateChanged(
        at=NOW, name="openai", old=CircuitState.CLOSED, new=CircuitState.OPEN, reason="", retry_after=math.nan
    ),
    "a number for the reason of a network": NetworkChanged(at=NOW, up=False, reason=7),  # type: ignore[arg-type]
    "a number for a note": WatchChanged(at=NOW, provider="openai", state="paused", note=7),  # type: ignore[arg-type]
    "an alert without a title": Alert(at=NOW, rule="down", provider="", severity="info", title=None, message=""),  # type: ignore[arg-type]
    "a cost that cannot be told": AttemptFinished(
        at=NOW, call_id="c1", attempt=Raising(provider="openai", model="m", usage=Usage(cost_usd=Decimal(1)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_what_cannot_be_is_left_out_and_counted_and_nothing_else_is_lost(store: sqlite3.Connection, name: str) -> None:
    with closing(database.connect(None)) as other:
        write(other, ALL)
        batch = write(store, [*ALL[:3], ABSURD[name], *ALL[3:]])

        assert batch.refused == 1
        assert batch.events == len(ALL) + 1
        assert dump(store) == dump(other)


def test_what_claims_to_be_of_tomorrow_and_later_is_left_out() -> None:
    batch, recorder = Batch(), source()

    batch.add(recorder, attempt(NOW + 86_300), NOW)
    assert batch.refused == 0
    batch.add(recorder, attempt(NOW + 86_500), NOW)
    assert batch.refused == 1


def test_a_subclass_counts_as_what_it_is(store: sqlite3.Connection) -> None:
    plain = attempt()

    write(store, [Odd(at=NOW, call_id="c1", attempt=plain.attempt)])

    assert rollup(store)[0]["answered"] == 1


class Sly(str):
    """A text that says that it is ASCII."""

    def isascii(self) -> bool:
        return True


def test_what_only_sqlite_refuses_costs_its_own_row(store: sqlite3.Connection) -> None:
    batch, recorder = Batch(), source()
    for event in ALL:
        batch.add(recorder, event)
    target = recorder.target("openai")
    batch._probes[target].append((NOW, "models", None, 2**64, 1.0, 0, None))
    batch._attempts[target, "gpt-4.1"].append((NOW, "c", object(), *[0] * 16))
    batch._rare.append((target, (NOW, "Odd", "\udc80")))

    batch.write(store, PROCESS, NOW)

    assert batch.refused == 3
    with closing(database.connect(None)) as other:
        write(other, ALL)
        assert dump(store) == dump(other)


def test_a_closed_connection_is_no_fault_of_the_rows() -> None:
    connection = database.connect(None)
    connection.close()
    batch = Batch()
    batch.add(source(), call())

    with pytest.raises(sqlite3.ProgrammingError):
        batch.write(connection, PROCESS, NOW)
    assert batch.refused == 0


def test_a_mistake_in_what_is_written_is_not_hidden(store: sqlite3.Connection) -> None:
    batch = Batch()
    batch.add(source(), call())
    failing = _Failing(store, "INTO calls", sqlite3.ProgrammingError("Incorrect number of bindings supplied"))

    with pytest.raises(sqlite3.ProgrammingError, match="bindings"):
        batch.write(failing, PROCESS, NOW)  # type: ignore[arg-type]
    assert batch.refused == 0
    assert not store.in_transaction


# Secrets and long texts.


def test_no_key_is_written(store: sqlite3.Connection) -> None:
    events: list[Event] = [
        attempt(model=KEY, tag=KEY),
        attempt(provider=KEY),
        call(asked_model=KEY, tag=f"for {KEY}", model=KEY),
        probe(kind=KEY, fault=Fault.AUTH, message=f"your key {KEY} is wrong"),
        state(CircuitState.OPEN, reason=KEY, name=f"openai:{KEY}"),
        WatchChanged(at=NOW, provider="openai", state="paused", note=f"changing {KEY}"),
        NetworkChanged(at=NOW, up=False, reason=KEY),
        ModelSubstituted(at=NOW, provider="openai", asked_model=KEY, model=KEY),
        Alert(at=NOW, rule="down", provider="openai", severity="info", title=KEY, message=KEY, details={KEY: KEY}),
        StatusChanged(at=NOW, provider="openai", old=KEY, new=KEY, reason=KEY),
    ]

    batch = write(store, events)

    assert batch.refused == 0
    everything = "\n".join(dump(store))
    assert "[masked]" in everything
    assert KEY[8:20] not in everything


def test_long_and_odd_texts_are_cut_and_written(store: sqlite3.Connection) -> None:
    long = "long \N{SNOWMAN}" * 10_000

    batch = write(
        store,
        [
            attempt(fault=Fault.SERVER, message=long, model=long, tag=long, call_id="\udc80"),
            call(asked_model="\ud800x", error="E" * 9999),
            Alert(at=NOW, rule="down", provider="", severity="info", title=long, message=long),
        ],
    )

    assert batch.refused == 0
    (row,) = rows(store, "attempts")
    assert (len(row["message"]), row["call"]) == (2000, "?")
    assert max(len(model["name"]) for model in rows(store, "models")) == 200
    assert len(rows(store, "calls")[0]["error"]) == 2000
    assert len(rows(store, "alerts")[0]["title"]) == 2000


def test_rates_of_many_decimals_and_own_costs_are_those_of_the_receipt(store: sqlite3.Connection) -> None:
    odd = msgspec.structs.replace(RATES, input=Decimal("0.0000001"))
    event = attempt(rates=odd, usage=Usage(prompt_tokens=123_456_789, completion_tokens=1))

    write(store, [event])

    assert event.attempt.cost_usd == Decimal("0.0000203456789")  # 12.3456789 + 8 millionths
    assert rows(store, "costs")[0]["cost"] == 20_345_679


# Names without end.


def test_a_provider_that_claims_another_model_each_time_does_not_fill_the_store(
    store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_CLAIMED", 20)
    for round_ in range(10):
        write(store, [call(model=f"m-{round_}-{each}") for each in range(10)])
    write(store, [attempt(model="asked-for"), call(model="asked-for"), call(model="m-0-0")])
    names = [row["name"] for row in rows(store, "models")]
    assert len(names) == 22
    assert names[-2:] == ["(other)", "asked-for"]
    (other,) = [row["id"] for row in rows(store, "models") if row["name"] == "(other)"]
    answered = [row["model"] for row in rows(store, "calls")]
    assert (len(answered), answered.count(other)) == (102, 80)


def test_callers_who_make_up_models_do_not_fill_the_store_and_their_costs_are_kept(
    store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Numbers.model, "__defaults__", (5,))
    usage = Usage(prompt_tokens=300, completion_tokens=20)
    for _ in range(2):
        write(store, [attempt(model=f"made-up-{each}", usage=usage) for each in range(20)])
    assert len(rows(store, "models")) == 6
    assert sum(row["answers"] for row in rows(store, "costs")) == 40
