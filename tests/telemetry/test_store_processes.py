"""Several processes and one file: all write at once, and any of them may be killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from failsafe.clock import Random

PROGRAM = Path(__file__).with_name("recording_program.py")
CAP = 60.0


def start(path: Path, *, seconds: float, threads: int, per_second: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), str(path), str(seconds), str(threads), str(per_second)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROGRAM.parents[2])


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.timeout(150)
def test_fifty_processes_that_are_killed_leave_a_clean_file_with_all_they_had_written(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = Random(7)
    for _ in range(10):
        with ExitStack() as stack:
            crowd = [stack.enter_context(start(path, seconds=30, threads=2, per_second=500)) for _ in range(5)]
            for process in crowd:
                ready(process)
            for process in crowd:
                threading.Event().wait(chance.uniform(0.1, 0.4))  # the load that the kill comes amid
                process.send_signal(signal.SIGKILL)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(sqlite3.connect(path)) as connection:
        written = connection.execute("SELECT process, call FROM attempts ORDER BY id").fetchall()
        counted = connection.execute("SELECT sum(answered) FROM rollup_10").fetchone()[0]
        by_day = connection.execute("SELECT sum(answered) FROM rollup_86400").fetchone()[0]
    assert len(written) == counted == by_day
    assert len({process for process, _ in written}) > 25
    numbers: dict[tuple[int, str], set[int]] = {}
    for process, call in written:
        thread, _, number = call.partition("-")
        numbers.setdefault((process, thread), set()).add(int(number))
    for found in numbers.values():
        assert found == set(range(len(found)))  # nothing is missing before what is there


@pytest.mark.timeout(120)
def test_eight_processes_of_eight_threads_lose_nothing_that_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with ExitStack() as stack:
        crowd = [stack.enter_context(start(path, seconds=2, threads=8, per_second=100)) for _ in range(8)]
        said = [process.communicate(timeout=CAP)[0].split("\n")[1].split(" ", 2) for process in crowd]
    recorded, dropped = sum(int(each[0]) for each in said), sum(int(each[1]) for each in said)
    assert [each[2] for each in said] == ["-"] * 8
    with closing(sqlite3.connect(path)) as connection:
        written = connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT sum(answered) FROM rollup_900").fetchone()[0] == written
        assert connection.execute("SELECT sum(dropped) FROM processes").fetchone()[0] == dropped
    assert recorded == written + dropped
    assert recorded > 1000
