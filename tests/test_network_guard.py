"""Telling this machine's network from the providers'."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from failsafe.events import ProbeFinished
from failsafe.faults import Fault
from failsafe.network_guard import NetworkGuard, host_of, silent

CAP = 10.0
HOSTS = {"a": "a.example", "a2": "a.example", "b": "b.example", "c": "c.example", "d": "d.example", "local": None}


class World:
    """Who can be reached, and who was tried."""

    def __init__(self, *reachable: str) -> None:
        self.reachable = set(reachable)
        self.tried: list[str] = []

    def reach(self, name: str) -> bool:
        self.tried.append(name)
        return name in self.reachable


def guard(world: World, *addresses: str, hosts: dict[str, str | None] | None = None) -> NetworkGuard:
    return NetworkGuard(HOSTS if hosts is None else hosts, addresses, world.reach, world.reach, timeout=CAP)


def test_with_another_that_can_be_reached_it_is_the_provider() -> None:
    world = World("b", "c")
    assert not guard(world).is_own_failure("a", 10.0)
    assert set(world.tried) <= {"b", "c"}


def test_two_are_tried_before_all_and_each_host_once() -> None:
    world = World("d")
    assert not guard(world).is_own_failure("a", 10.0)
    assert sorted(world.tried) == ["b", "c", "d"]


def test_when_nobody_can_be_reached_it_is_this_machine() -> None:
    world = World("a", "a2", "local")
    assert guard(world).is_own_failure("a", 10.0)
    assert sorted(world.tried) == ["b", "c", "d"]


def test_somebody_heard_since_then_proves_the_network_without_a_connection() -> None:
    world = World()
    one = guard(world)
    assert not one.heard("b", 10.0)
    assert not one.is_own_failure("a", 10.0)
    assert world.tried == []
    assert one.is_own_failure("a", 10.5)


def test_another_provider_at_the_same_host_proves_nothing() -> None:
    world = World()
    one = guard(world)
    one.heard("a2", 20.0)
    assert one.is_own_failure("a", 10.0)


@pytest.mark.parametrize(("reachable", "own"), [(("net",), False), ((), True)])
def test_an_address_decides_when_no_provider_can_be_reached(reachable: tuple[str, ...], own: bool) -> None:
    world = World(*reachable)
    assert guard(world, "net").is_own_failure("a", 10.0) is own
    assert guard(world, "net", hosts={"a": "a.example"}).is_own_failure("a", 10.0) is own


def test_with_one_host_alone_nobody_can_tell() -> None:
    assert not guard(World(), hosts={"a": "a.example", "a2": "a.example"}).is_own_failure("a", 10.0)


def test_a_server_on_this_machine_is_judged_by_itself() -> None:
    world = World()
    one = guard(world)
    assert not one.is_own_failure("local", 10.0)
    assert not one.heard("local", 20.0)
    assert one.is_own_failure("a", 10.0)


def test_while_the_network_is_down_nobody_is_tried_and_the_first_answer_ends_that() -> None:
    world = World("b")
    one = guard(world)
    assert one.note_down()
    assert not one.note_down()
    assert one.is_own_failure("a", 10.0)
    assert world.tried == []
    assert one.heard("b", 11.0)
    assert not one.heard("b", 12.0)
    assert one.up


def test_of_several_failures_at_once_one_looks_and_the_others_wait_for_it() -> None:
    looking, go_on = threading.Event(), threading.Event()
    tried: list[str] = []

    def reach(name: str) -> bool:
        tried.append(name)
        looking.set()
        return not go_on.wait(CAP)

    one = NetworkGuard({"a": "a", "b": "b"}, (), reach, reach, timeout=CAP)
    verdicts: list[bool] = []
    first = threading.Thread(target=lambda: verdicts.append(one.is_own_failure("a", 1.0)))
    second = threading.Thread(target=lambda: verdicts.append(one.is_own_failure("b", 1.0)))
    first.start()
    assert looking.wait(CAP)
    second.start()
    go_on.set()
    for thread in (first, second):
        thread.join(CAP)
    assert verdicts == [True, True]


def test_a_look_that_hangs_is_given_up() -> None:
    over = threading.Event()
    one = NetworkGuard({"a": "a", "b": "b"}, (), lambda _: over.wait(CAP), lambda _: False, timeout=0.05)
    try:
        assert one.is_own_failure("a", 1.0)
    finally:
        over.set()


def test_a_defect_in_a_connection_counts_as_none() -> None:
    def defect(_: str) -> bool:
        raise ValueError

    assert NetworkGuard({"a": "a", "b": "b"}, (), defect, defect, timeout=CAP).is_own_failure("a", 1.0)


@pytest.mark.parametrize(
    ("fault", "status", "is_silent"),
    [
        (None, None, False),
        (Fault.NETWORK, None, True),
        (Fault.CONNECT_TIMEOUT, None, True),
        (Fault.TIMEOUT, None, True),
        (Fault.TIMEOUT, 200, False),
        (Fault.DISCONNECTED, None, True),
        (Fault.SERVER, 500, False),
        (Fault.NETWORK, 407, False),
        (Fault.CANCELLED, None, False),
    ],
)
def test_silence_is_a_failure_before_a_byte_was_answered(
    fault: Fault | None, status: int | None, is_silent: bool
) -> None:
    assert silent(ProbeFinished(at=0.0, provider="a", kind="models", fault=fault, status=status)) is is_silent


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://api.example/v1", "api.example"), ("http://127.0.0.1:8000", None), ("http://localhost/v1", None)],
)
def test_the_host_of_a_provider(url: str, host: str | None) -> None:
    assert host_of(url) == host


def test_a_verdict_is_not_left_waiting_by_an_interruption() -> None:
    def interrupt(_: str) -> bool:
        raise KeyboardInterrupt

    one = NetworkGuard({"a": "a", "b": "b"}, (), interrupt, interrupt, timeout=CAP)
    looks: list[Callable[[str, float], bool]] = [one.is_own_failure, one.is_own_failure]
    one._nobody_answers = interrupt  # type: ignore[assignment, method-assign]
    for look in looks:
        with pytest.raises(KeyboardInterrupt):
            look("a", 1.0)
