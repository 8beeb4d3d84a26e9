"""
What many processes lose that write into one store, and what those lose that are killed.

Eight processes of eight threads record for a minute: every event is in the file, or counted as dropped. Then five at a
time are killed, fifty in all: the file opens clean, and what the last second brought is all that may be missing. Run it
from the repository's root: ``python benchmarks/store_crowd.py [SECONDS]``.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from measure import Goals

PROGRAM = Path(__file__).parents[1] / "tests" / "telemetry" / "recording_program.py"
PROCESSES, THREADS = 8, 8
KILLED, AT_ONCE = 50, 5


def start(path: Path, *, seconds: float, threads: int, per_second: float) -> subprocess.Popen[str]:
    """A process that records into *path*."""
    command = [sys.executable, str(PROGRAM), str(path), str(seconds), str(threads), str(per_second)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROGRAM.parents[2])


def one(path: Path, query: str) -> float:
    """The one number that *query* gives."""
    with closing(sqlite3.connect(path)) as connection:
        return float(connection.execute(query).fetchone()[0] or 0)


def is_clean(path: Path) -> bool:
    """Whether SQLite finds the file in order."""
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def crowd(path: Path, goals: Goals, seconds: float) -> None:
    """All write at once."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(start(path, seconds=seconds, threads=THREADS, per_second=60)) for _ in range(PROCESSES)
        ]
        said = [process.communicate()[0].split("\n")[1].split(" ", 2) for process in processes]
    recorded, dropped = sum(int(each[0]) for each in said), sum(int(each[1]) for each in said)
    written = one(path, "SELECT count(*) FROM attempts")
    print(f"{PROCESSES} processes of {THREADS} threads, {seconds:g} s: {recorded} recorded, {dropped} dropped")
    goals.at_most("lost without being counted", abs(recorded - dropped - written), 0)
    goals.at_most("stores that failed", sum(each[2] != "-" for each in said), 0)


def killed(path: Path, goals: Goals) -> None:
    """Some are killed at a time, and what each had written last is compared with the moment."""
    lost, unclean = [], 0
    for number in range(0, KILLED, AT_ONCE):
        with ExitStack() as stack:
            processes = [
                stack.enter_context(start(path, seconds=60, threads=2, per_second=500)) for _ in range(AT_ONCE)
            ]
            for process in processes:
                assert process.stdout is not None
                process.stdout.readline()
            time.sleep(0.8 + 0.05 * (number % 7))
            for process in processes:
                process.send_signal(signal.SIGKILL)
            moments = {process.pid: time.time() for process in processes}
        unclean += not is_clean(path)
        with closing(sqlite3.connect(path)) as connection:
            for pid, last in connection.execute(
                "SELECT p.pid, max(a.at) FROM processes p JOIN attempts a ON a.process = p.id GROUP BY p.id"
            ):
                if pid in moments:
                    lost.append(moments[pid] - last)
    print(f"{len(lost)} of {KILLED} killed processes had written; the worst lost its last {max(lost):.2f} s")
    goals.at_most("killed: files that do not open clean", unclean, 0)
    goals.at_most("killed: seconds lost", max(lost), 1.0)


def main() -> int:
    """Run both; the exit code."""
    goals = Goals()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        crowd(Path(folder) / "crowd.db", goals, seconds)
        killed(Path(folder) / "killed.db", goals)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
