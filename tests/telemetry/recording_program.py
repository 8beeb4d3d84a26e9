"""
A program that records as fast as it is told: ``python recording_program.py FILE SECONDS THREADS PER_SECOND``.

Prints "ready" once it has begun, and at its end how many events it recorded and how many of them were dropped.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import AttemptFinished
from failsafe.models import Attempt
from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry.store import Recorder, TargetInfo, open_store

_STEP = 0.01


def record(recorder: Recorder, name: str, until: float, per_second: float) -> int:
    """Record numbered attempts until *until*; how many."""
    number = 0
    pause = threading.Event()
    due = began = SYSTEM_CLOCK.monotonic()
    while due < until:
        while number < (due - began) * per_second:
            made = Attempt(provider=f"p{number % 4}", model="m", latency_ms=float(number % 977))
            recorder.record(AttemptFinished(at=SYSTEM_CLOCK.time(), call_id=f"{name}-{number}", attempt=made))
            number += 1
        pause.wait(_STEP)
        due = SYSTEM_CLOCK.monotonic()
    return number


def say(line: str) -> None:
    """Tell whoever has started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(file: str, seconds: str, threads: str, per_second: str) -> None:
    """Record with several threads."""
    store = open_store(StoreConfig(path=file))
    assert store is not None
    recorder = store.recorder({f"p{n}": TargetInfo(f"https://p{n}.example") for n in range(4)})
    until = SYSTEM_CLOCK.monotonic() + float(seconds)
    counts: list[int] = []

    def work(name: str) -> None:
        counts.append(record(recorder, name, until, float(per_second)))

    running = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(int(threads))]
    for thread in running:
        thread.start()
    say("ready")
    for thread in running:
        thread.join()
    recorder.close(30.0)
    store.close(30.0)
    say(f"{sum(counts)} {store.dropped} {store.degraded or '-'}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(*sys.argv[1:])
