"""Leases and commands: who does what, and what other programs are told to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from failsafe.errors import ConfigError
from failsafe.telemetry import commands, database, leases


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(database.connect(None)) as memory:
        yield memory


def test_a_lease_is_one_holders_until_it_ends(connection: sqlite3.Connection) -> None:
    assert leases.acquire(connection, "probe a", 1, 10, now=100)
    assert not leases.acquire(connection, "probe a", 2, 10, now=109)
    assert leases.acquire(connection, "probe b", 2, 10, now=109)
    assert leases.acquire(connection, "probe a", 2, 10, now=110)
    assert not leases.acquire(connection, "probe a", 1, 10, now=110)


def test_its_holder_renews_it(connection: sqlite3.Connection) -> None:
    for now in (100, 105, 110, 115):
        assert leases.acquire(connection, "probe a", 1, 10, now=now)
    assert not leases.acquire(connection, "probe a", 2, 10, now=124)


def test_a_lease_that_is_given_back_is_anybodys(connection: sqlite3.Connection) -> None:
    leases.acquire(connection, "probe a", 1, 10, now=100)
    leases.release(connection, "probe a", 2)  # which has not got it
    assert not leases.acquire(connection, "probe a", 2, 10, now=100)
    leases.release(connection, "probe a", 1)
    assert leases.acquire(connection, "probe a", 2, 10, now=100)


def test_a_lease_from_a_clock_that_was_years_ahead_holds_nobody_up(connection: sqlite3.Connection) -> None:
    leases.acquire(connection, "probe a", 1, 10, now=1e9)
    assert leases.acquire(connection, "probe a", 2, 10, now=100)


def send(connection: sqlite3.Connection, now: float = 100.0, **changes: object) -> int:
    settings = {"target": "a", "action": "reset", "sender": "ann@box", **changes}
    return commands.send(connection, now=now, **settings)  # type: ignore[arg-type]


def test_a_command_is_pending_for_each_process_until_it_has_said_what_came_of_it(
    connection: sqlite3.Connection,
) -> None:
    number = send(connection)
    (command,) = commands.pending(connection, 1, now=101)
    assert command == (number, "a", None, "reset", "ann@box")
    commands.note(connection, number, 1, 101, "a: closed")
    assert commands.pending(connection, 1, now=101) == []
    assert [each.id for each in commands.pending(connection, 2, now=101)] == [number]
    commands.note(connection, number, 2, 102, "no such provider here")
    assert commands.outcomes(connection, number) == {1: "a: closed", 2: "no such provider here"}


@pytest.mark.parametrize(("now", "valid"), [(100, True), (129, True), (130, False), (1000, False), (69, False)])
def test_a_command_is_valid_for_thirty_seconds(connection: sqlite3.Connection, now: float, valid: bool) -> None:
    send(connection)
    assert bool(commands.pending(connection, 1, now=now)) is valid


def test_a_command_to_one_process_is_not_seen_by_another(connection: sqlite3.Connection) -> None:
    send(connection, process=7)
    assert commands.pending(connection, 1, now=101) == []
    assert len(commands.pending(connection, 7, now=101)) == 1


@pytest.mark.parametrize(
    ("target", "base_url", "concerned"),
    [("a", None, True), ("*", None, True), ("b", None, False), ("a", "https://a", True), ("*", "https://b", False)],
)
def test_whom_a_command_concerns(target: str, base_url: str | None, concerned: bool) -> None:
    command = commands.Command(1, target, base_url, "reset", "ann")
    assert command.concerns("a", "https://a") is concerned


@pytest.mark.parametrize("changes", [{"action": "explode"}, {"target": ""}, {"target": "a\n"}])
def test_a_wrong_command_is_not_written(connection: sqlite3.Connection, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        send(connection, **changes)
    assert commands.pending(connection, 1, now=101) == []


def test_what_another_user_writes_as_a_command_forges_no_line_of_the_log_and_does_nothing_unknown(
    connection: sqlite3.Connection,
) -> None:
    forged = "eve\x1b[2J\nroot: all is well " + "y" * 100_000
    for action, origin in (("explode", "eve"), (b"reset", "eve"), ("reset", b"\xff"), ("reset", forged)):
        connection.execute(
            "INSERT INTO commands (at, until, target, action, origin) VALUES (100, 130, 'a', ?, ?)", (action, origin)
        )
    (command,) = commands.pending(connection, 1, now=101)
    assert command.origin.startswith("eve [2J root: all is well yyy")
    assert len(command.origin) == 200
    for _ in range(300):
        send(connection)
    assert len(commands.pending(connection, 1, now=101)) == 100


def test_who_asks_is_said_with_user_machine_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "@" in commands.origin()

    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "@" in commands.origin()
