"""
How long it takes to open a store of 20 providers over 30 days, each observed every ten seconds, and to read it.

Run: ``PYTHONPATH=. python benchmarks/store_reading.py [FILE]``; the file is made if it is not there (some 20 seconds).
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter

from measure import Goals

from failsafe.telemetry import database, settling, uptime
from failsafe.telemetry.histogram import Histogram, bucket
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.schema import ROLLUPS
from failsafe.telemetry.uptime import Progress, UptimeRule

TARGETS, DAYS = 20, 30
DAY = 86_400
END = 1_800_000_000 // DAY * DAY + 47_215
"""The last moment recorded: no multiple of any rollup, so that the window has edges on both sides."""
BEGAN = END - DAYS * DAY
RUNS = 15
LIMIT_MS = 100.0
"""What is promised for the overview over 30 days, with a new connection."""


def fill(path: Path) -> None:
    """Make the store."""
    chance = random.Random(7)
    with closing(database.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO targets (id, name, base_url, interval, latency_limit, sla) VALUES (?, ?, ?, 10, 5000, 99.9)",
            [(number, f"provider-{number}", f"https://{number}.example/v1") for number in range(1, TARGETS + 1)],
        )
        samples = [
            [max(20.0, chance.lognormvariate(6.5, 0.5)) for _ in range(997)] for _ in range(TARGETS)
        ]  # each provider's latencies, over and over
        for width in ROLLUPS:
            connection.executemany(
                f"INSERT INTO rollup_{width} (at, target, answered, latency, histogram) VALUES (?, ?, ?, ?, ?)",
                rows(width, samples),
            )
        horizon = float((END - 60) // 10 * 10)
        progress = Progress(horizon=horizon, given=horizon, state=uptime.UP, until=horizon + 25)
        pending = uptime.encode(progress, UptimeRule(hold=25.0))
        for number in range(1, TARGETS + 1):
            connection.execute("INSERT INTO spans VALUES (?, ?, ?, 'up')", (number, float(BEGAN), horizon))
            connection.execute("INSERT INTO uptime VALUES (?, ?, ?)", (number, horizon, pending))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def rows(width: int, samples: list[list[float]]) -> Iterator[tuple[int, int, int, int, bytes]]:
    """The rows of one rollup."""
    buckets = [[bucket(ms) for ms in latencies] for latencies in samples]
    for at in range(BEGAN // width * width, END, width):
        began, ended = max(at, BEGAN), min(at + width, END)
        first, last = began // settling.BUCKET, -(-ended // settling.BUCKET)
        for target in range(TARGETS):
            counts: dict[int, int] = {}
            known = buckets[target]
            for number in range(first, last):
                index = known[number % len(known)]
                counts[index] = counts.get(index, 0) + 1
            total = sum(samples[target][number % len(known)] for number in range(first, last))
            yield at, target + 1, last - first, round(total), Histogram(counts).to_bytes()


class _Clock:
    """The machine's, set to the end of what is recorded."""

    monotonic = staticmethod(perf_counter)

    @staticmethod
    def time() -> float:
        return float(END)

    @staticmethod
    def wait(event: object, timeout: float) -> bool:
        raise NotImplementedError


def measured(path: Path, look: Callable[[StoreReader], object]) -> float:
    """Milliseconds to open the store and *look*, the median of some runs."""
    took = []
    for _ in range(RUNS):
        began = perf_counter()
        with StoreReader.open(path, clock=_Clock()) as reader:
            look(reader)
        took.append((perf_counter() - began) * 1000)
    return median(took)


def main() -> int:
    """Measure, and say whether the promise is kept."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "store.db"
    if not path.exists():
        fill(path)
    print(f"{path.stat().st_size / 2**20:.0f} MiB, {TARGETS} providers, {DAYS} days")
    looks: dict[str, Callable[[StoreReader], object]] = {
        "overview, 30 days": lambda reader: reader.overview(BEGAN, END),
        "overview, 30 days that ended an hour ago": lambda reader: reader.overview(BEGAN - 3600, END - 3600),
        "overview, 24 hours": lambda reader: reader.overview(END - DAY, END),
        "overview, 1 hour": lambda reader: reader.overview(END - 3600, END),
        "points of one, 30 days": lambda reader: reader.points(1, BEGAN, END),
        "lines of all, 30 days": lambda reader: reader.lines(BEGAN, END),
        "lines of all, 6 hours": lambda reader: reader.lines(END - 6 * 3600, END),
        "points of one, 2 days": lambda reader: reader.points(1, END - 2 * DAY, END),
        "points of one, 6 hours": lambda reader: reader.points(1, END - 6 * 3600, END),
        "days of one, 30": lambda reader: reader.days(1, [BEGAN + day * DAY for day in range(DAYS + 1)]),
        "last outcomes of one": lambda reader: reader.last_outcomes(1, 300, END),
        "spent": lambda reader: reader.spent("2026-11-24", "2026-11"),
    }
    figures = {name: measured(path, look) for name, look in looks.items()}
    for name, took in figures.items():
        print(f"{took:8.1f} ms  {name}")
    goals = Goals()
    goals.at_most("milliseconds for the overview over 30 days", figures["overview, 30 days"], LIMIT_MS)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
