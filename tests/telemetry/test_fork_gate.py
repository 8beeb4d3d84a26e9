"""Forks amid the use of SQLite: they wait for it, and no child is born with a connection or a lock that is not its."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from failsafe.telemetry import database, fork_gate
from failsafe.telemetry.fork_gate import GATE, ForkGate
from failsafe.telemetry.reader import StoreReader

if not hasattr(os, "fork"):
    pytest.skip("there is no fork here", allow_module_level=True)

_WRITE = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c: c.execute('DELETE FROM models')\nc.close()"


class Keeping:
    """Counts how often it was asked to close what it keeps."""

    def __init__(self) -> None:
        self.asked = 0

    def _before_fork(self) -> None:
        self.asked += 1


def in_child(work: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Whether *work* was true in a forked child; *meanwhile* is done by its parent."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    meanwhile()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_takes_locks_of_its_own_and_no_other_process_deletes_its_wal(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    database.connect(path).close()
    reader = StoreReader.open(path)
    reader.targets()
    closed, tell = os.pipe()

    def goes_on_writing() -> bool:
        with closing(database.connect(path)) as connection:
            connection.execute("INSERT INTO models (name) VALUES ('first')")
            before = database.identity(Path(f"{path}-wal"))
            os.read(closed, 1)
            subprocess.run([sys.executable, "-c", _WRITE, str(path)], check=True, timeout=60)
            return database.identity(Path(f"{path}-wal")) == before

    def let_go() -> None:
        reader.close()
        os.write(tell, b"x")

    try:
        assert in_child(goes_on_writing, let_go)
    finally:
        os.close(closed)
        os.close(tell)


def test_a_fork_waits_for_whoever_uses_sqlite_and_has_connections_closed() -> None:
    gate, keeping = ForkGate(), Keeping()
    gate.keep(keeping)
    inside, go = threading.Event(), threading.Event()
    order: list[str] = []

    def use() -> None:
        with gate.using():
            inside.set()
            go.wait(10)
            order.append("used")

    user = threading.Thread(target=use)
    user.start()
    assert inside.wait(10)
    go.set()
    gate._shut()
    order.append("forked")
    gate._open()
    user.join()
    assert (order, keeping.asked) == (["used", "forked"], 1)


def test_who_comes_while_a_fork_is_under_way_waits_for_it() -> None:
    gate = ForkGate()
    gate._shut()
    order: list[str] = []

    def use() -> None:
        with gate.using():
            order.append("used")

    user = threading.Thread(target=use)
    user.start()
    order.append("forked")
    gate._open()
    user.join()
    assert order == ["forked", "used"]


def test_neither_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_gate, "_PATIENCE", 0.01)
    gate, keeping = ForkGate(), Keeping()
    gate.keep(keeping)
    inside, go = threading.Event(), threading.Event()

    def use() -> None:
        with gate.using():
            inside.set()
            go.wait(10)

    user = threading.Thread(target=use)
    user.start()
    assert inside.wait(10)
    gate._shut()  # somebody's connection is in use: it must not be closed
    assert keeping.asked == 0
    with gate.using():  # though the fork has not ended
        go.set()
    user.join()


def test_who_forks_while_using_sqlite_waits_for_nobody_but_others_and_closes_nothing() -> None:
    gate, keeping = ForkGate(), Keeping()
    gate.keep(keeping)
    with gate.using():
        gate._shut()
        with gate.using():
            pass
        gate._open()
    assert keeping.asked == 0


def test_a_child_is_born_with_the_gate_open() -> None:
    def uses() -> bool:
        with GATE.using():
            return len(GATE._inside) == 1 and not GATE._forking

    with GATE.using():
        assert in_child(uses)
    assert uses()
