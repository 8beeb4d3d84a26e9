"""Closing waits for the calls under way, and for nothing else."""

from __future__ import annotations

import math
import threading

import pytest

from failsafe.errors import RouterClosed
from failsafe.gate import Gate


def test_a_closed_gate_lets_nobody_in() -> None:
    gate = Gate()
    assert gate.close()
    with pytest.raises(RouterClosed, match="make a new one"):
        gate.enter("call")
    assert gate.inside == 0


def test_leaving_twice_or_without_having_entered_does_no_harm() -> None:
    gate = Gate()
    gate.enter("one")
    gate.leave("other")
    assert gate.inside == 1
    gate.leave("one")
    gate.leave("one")
    assert gate.inside == 0


def test_closing_waits_for_the_last_call_of_another_thread() -> None:
    gate, entered, leave = Gate(), threading.Event(), threading.Event()

    def call() -> None:
        gate.enter("call")
        entered.set()
        leave.wait(10)
        gate.leave("call")

    thread = threading.Thread(target=call)
    thread.start()
    assert entered.wait(10)
    assert not gate.close(timeout=0)
    leave.set()
    assert gate.close(timeout=math.inf)
    thread.join(10)


def test_a_thread_that_closes_in_the_middle_of_its_own_call_does_not_wait_for_itself() -> None:
    gate = Gate()
    gate.enter("call")
    assert gate.close()
    gate.leave("call")


def test_two_threads_that_close_in_the_middle_of_their_calls_do_not_wait_for_each_other() -> None:
    gate, both = Gate(), threading.Barrier(2)
    closed = []

    def call(name: str) -> None:
        gate.enter(name)
        both.wait(10)
        closed.append(gate.close(timeout=10))
        gate.leave(name)

    threads = [threading.Thread(target=call, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert closed == [True, True]


def test_a_forked_child_does_not_wait_for_its_parents_calls() -> None:
    gate = Gate()
    thread = threading.Thread(target=gate.enter, args=("call",))
    thread.start()
    thread.join(10)
    gate._after_fork()
    assert gate.close(timeout=0)


def test_a_call_that_the_fork_interrupted_may_still_leave_in_the_child() -> None:
    gate = Gate()
    gate.enter("call")
    gate._after_fork()
    gate.leave("call")
    assert gate.inside == 0
