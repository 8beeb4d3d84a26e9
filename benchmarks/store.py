"""
What it costs to record: time in calls, size on disk, and how fast 30 days are read.

Calls go to a fake provider in another process, with and without a store in turns; figures are medians of ratios.
The 30 days are written by what writes them in a program, only faster. Takes about five minutes. Run it from the
repository's root: ``python benchmarks/store.py``.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import Goals
from overhead import MESSAGES, MODEL, server

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.events import AttemptFinished, CallFinished, Event, ProbeFinished
from failsafe.faults import Fault
from failsafe.models import Attempt, Usage
from failsafe.monitoring_config import StoreConfig
from failsafe.pricing import Rates
from failsafe.router import Router
from failsafe.telemetry import database, retention, settling
from failsafe.telemetry.batch import Batch
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.records import Source, TargetInfo
from failsafe.telemetry.store import Recorder, Store, open_store

ROUNDS = 21
CALLS = 400
PROVIDERS = 20
DAYS = 30
INTERVAL = 10
PACE = 30_000
"""Events a second that are recorded, to see whether they are written."""
SECONDS = 8
CAP = 24 * 1024 * 1024


def router(address: str, key: str, store: StoreConfig) -> Router:
    """Three providers, of which the first answers."""
    providers = [ProviderConfig(name=name, base_url=address, api_key=key) for name in ("first", "second", "third")]
    return Router(RouterConfig(providers=providers, store=store))


def cpu(routed: Router, clock: Callable[[], float]) -> float:
    """Seconds on *clock* for :data:`CALLS` calls, and for writing down what they recorded."""
    began = clock()
    for _ in range(CALLS):
        routed.chat_completion(MESSAGES, model=MODEL, temperature=0.5, timeout=10)
    if routed.store is not None:
        routed.store.flush()
    return clock() - began


def overhead(folder: Path) -> tuple[list[float], list[float]]:
    """Ratios of a call's CPU with a store to that without: in the calling thread, and in the whole process."""
    with server() as (address, key):
        on = router(address, key, StoreConfig(path=str(folder / "calls.db")))
        off = router(address, key, StoreConfig(enabled=False))
        with on, off:
            by_clock = []
            for clock in (time.thread_time, time.process_time):
                for each in (on, off):
                    cpu(each, clock)
                by_clock.append([cpu(on, clock) / cpu(off, clock) for _ in range(ROUNDS)])
            assert on.store is not None
            assert not on.store.dropped
    return by_clock[0], by_clock[1]


def events(count: int) -> list[Event]:
    """Attempts and calls as they come, in the present."""
    rates = Rates(input=Decimal("2.0"), output=Decimal("8.0"))
    chance, now = random.Random(11), time.time()
    made: list[Event] = []
    for number in range(count // 2):
        name, took = f"provider-{number % 5}", chance.lognormvariate(6, 0.5)
        attempt = Attempt(
            provider=name, model=MODEL, key="3f9a2c71", status=200, request_id=f"req_{chance.getrandbits(96):024x}",
            latency_ms=took, started_at=now, bytes_received=812, rates=rates,
            usage=Usage(prompt_tokens=chance.randrange(2000), completion_tokens=chance.randrange(500)),
        )  # fmt: skip
        call_id = f"call-1-{number}"
        made.append(AttemptFinished(at=now, call_id=call_id, attempt=attempt, tag="batch"))
        made.append(
            CallFinished(
                at=now, call_id=call_id, asked_model=MODEL, provider=name, model=MODEL, error=None, attempts=1,
                latency_ms=took, tag="batch",
            )
        )  # fmt: skip
    return made


@contextmanager
def recording(path: Path, max_bytes: int = 500 * 1024 * 1024) -> Iterator[tuple[Store, Recorder]]:
    """A store and what records into it."""
    store = open_store(StoreConfig(path=str(path), max_bytes=max_bytes))
    assert store is not None
    recorder = store.recorder({f"provider-{n}": TargetInfo(f"https://{n}.example/v1") for n in range(PROVIDERS)})
    try:
        yield store, recorder
    finally:
        recorder.close()
        store.close(10.0)


def sustained(folder: Path) -> float:
    """Events a second that one process has written, until the last is in the file; 0: some were lost."""
    made = events(PACE)
    with recording(folder / "sustained.db") as (store, recorder):
        began = time.perf_counter()
        pour(recorder, made, lambda: None)
        written = store.flush(60.0)
        took = time.perf_counter() - began
        return SECONDS * PACE / took if written and not store.dropped else 0.0


def pour(recorder: Recorder, made: list[Event], look: Callable[[], object]) -> None:
    """Record :data:`PACE` events a second for :data:`SECONDS`; *look* now and then."""
    slices, began = 100, time.perf_counter()
    size = PACE // slices
    for number in range(SECONDS * slices):
        start = number % slices * size
        for event in made[start : start + size]:
            recorder.record(event)
        look()
        time.sleep(max(0.0, began + (number + 1) / slices - time.perf_counter()))


def above_cap(folder: Path) -> float:
    """The largest size of a file under load, of what it may have."""
    path, made, sizes = folder / "capped.db", events(PACE), [0]

    def look() -> None:
        if path.exists():
            sizes.append(path.stat().st_size)

    with recording(path, max_bytes=CAP) as (store, recorder):
        pour(recorder, made, look)
        store.flush(60.0)
        look()
        assert not store.dropped
    assert sizes[-1] > CAP / 2, "the load was too small to reach the cap"
    return max(sizes) / CAP


def write_history(path: Path, ended: float) -> None:
    """30 days of 20 providers that are probed every ten seconds, and of which each is down now and then."""
    chance = random.Random(4)
    names = [f"provider-{number}" for number in range(PROVIDERS)]
    source = Source({name: TargetInfo(f"https://{name}.example/v1", interval=INTERVAL, sla=99.9) for name in names})
    usual = {name: chance.uniform(80, 600) for name in names}
    offsets = sorted((chance.uniform(0, INTERVAL - 1), name) for name in names)
    config, every = StoreConfig(), 300
    with closing(database.connect(path)) as connection:
        at = ended - DAYS * 86_400
        while at < ended:
            batch = Batch()
            for turn in range(0, every, INTERVAL):
                for offset, name in offsets:
                    batch.add(source, _probe(at + turn + offset + chance.random(), name, usual[name], chance))
            at += every
            batch.write(connection, 1, at)
            if at % 3600 < every:
                settling.settle(connection, 1, at)
                while retention.tidy(connection, config, at):
                    pass


def _probe(at: float, name: str, usual: float, chance: random.Random) -> ProbeFinished:
    if random.Random(f"{name} {at // 1800}").random() < 1 / 300:
        return ProbeFinished(
            at=at, provider=name, kind="models", fault=Fault.SERVER, status=503, message="out of order",
            latency_ms=20.0, blamed=True,
        )  # fmt: skip
    return ProbeFinished(
        at=at, provider=name, kind="models", status=200, latency_ms=usual * chance.lognormvariate(0, 0.3)
    )


def overview_ms(path: Path, ended: float) -> tuple[float, float]:
    """Milliseconds to read the overview of all 30 days: with a reader that is open, and with a new one."""

    def look(reader: StoreReader) -> None:
        found = reader.overview(ended - DAYS * 86_400, ended)
        assert len(found) == PROVIDERS
        assert all(each.uptime.percentage is not None for each in found)

    def timed(action: Callable[[], object]) -> float:
        began = time.perf_counter()
        action()
        return (time.perf_counter() - began) * 1000

    def anew() -> None:
        with StoreReader.open(path) as reader:
            look(reader)

    with StoreReader.open(path) as reader:
        look(reader)
        opened = statistics.median(timed(lambda: look(reader)) for _ in range(11))
    return opened, statistics.median(timed(anew) for _ in range(11))


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals were met."""
    goals = Goals()
    with TemporaryDirectory() as name:
        folder = Path(name)
        by_thread, by_process = overhead(folder)
        print(f"CPU of the calling thread, store on / off: {_spread(by_thread)}")
        print(f"CPU of the process, store on / off: {_spread(by_process)}")
        rate = sustained(folder)
        share = above_cap(folder)
        ended = time.time() // 3600 * 3600
        write_history(folder / "history.db", ended)
        megabytes = (folder / "history.db").stat().st_size / 1e6
        opened, anew = overview_ms(folder / "history.db", ended)
    goals.at_most("cpu_calling_thread", statistics.median(by_thread), 1.05)
    goals.at_most("cpu_process", statistics.median(by_process), 1.15)
    goals.at_least("events_per_second", rate, 20_000)
    goals.at_most("largest_file_to_cap", share, 1.03)
    goals.at_most("megabytes_30_days", megabytes, 250)
    goals.at_most("overview_30_days_ms", opened, 100)
    goals.at_most("overview_30_days_new_reader_ms", anew, 100)
    return goals.finish()


def _spread(figures: list[float]) -> str:
    return f"median {statistics.median(figures):.3f}, from {min(figures):.3f} to {max(figures):.3f}"


if __name__ == "__main__":
    sys.exit(main())
