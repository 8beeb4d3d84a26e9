"""A forked child has sound locks and chance of its own. Each child is a process of a fresh interpreter's."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from failsafe import forking

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")

REPORT = """
import os, sys
def thread(answer):  # in one that owns none of this one's locks
    import threading
    answers = []
    running = threading.Thread(target=lambda: answers.append(answer()), daemon=True)
    running.start()
    running.join(10)
    return answers[0] if answers else "hangs"
def in_child(answer):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, repr(answer()).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    return os.read(reading, 4096).decode()
"""


def run(code: str) -> list[str]:
    """The lines that a fresh interpreter prints for *code*, which may use ``in_child(function)``."""
    answer = subprocess.run(
        [sys.executable, "-c", REPORT + code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    )
    return answer.stdout.splitlines()


def test_children_draw_other_numbers_than_their_parent_and_each_other() -> None:
    drawn = run("""
from failsafe.clock import new_random
source = new_random()
print(in_child(source.random))
print(in_child(source.random))
print(repr(source.random()))
""")
    assert len(set(drawn)) == 3


def test_a_lock_held_at_the_fork_does_not_stop_the_child() -> None:
    answers = run("""
from failsafe.breaker import CircuitBreaker, CircuitBreakerRegistry
from failsafe.budget import RetryBudget
from failsafe.clock import SYSTEM_CLOCK, new_random
from failsafe.cooldown import Cooldowns
from failsafe.faults import Fault
from failsafe.latency import LatencyWindow
breaker, registry, budget, window = CircuitBreaker("one"), CircuitBreakerRegistry(), RetryBudget(), LatencyWindow()
cooldowns = Cooldowns(SYSTEM_CLOCK, new_random())
breaker.trip()
def use():
    cooldowns.put_off("key", None, 60, Fault.QUOTA, "no money")
    window.add(1.0)
    registry.get("two").acquire().success()
    return breaker.try_acquire(), budget.try_spend(), window.count, str(cooldowns.blocked("key", None).fault)
for lock in (breaker._circuit._lock, registry._lock, budget._lock, window._lock, cooldowns._lock):
    lock.acquire()
print(in_child(use))
""")
    assert answers == ["(None, True, 1, 'quota')"]


def test_a_token_whose_lock_was_held_at_the_fork_can_be_cancelled_in_the_child() -> None:
    answers = run("""
from failsafe.deadline import CancelToken
token, cancelled = CancelToken(), CancelToken()
child = token.child()
cancelled.cancel()
told = []
child.on_cancel(lambda: told.append("told"))
def use():
    token.on_cancel(lambda: told.append("and again"))
    token.cancel()
    return child.cancelled, cancelled.cancelled, told
for held in (token, child):
    held._lock.acquire()
print(in_child(lambda: thread(use)))
print(token.cancelled)
""")
    assert answers == ["(True, True, ['told', 'and again'])", "False"]


def test_a_child_does_not_wait_for_probes_of_its_parents_threads() -> None:
    answers = run("""
from failsafe.breaker import CircuitBreaker
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import FakeClock
clock = FakeClock()
breaker = CircuitBreaker("one", CircuitBreakerConfig(half_open_max_calls=1, success_threshold=2), clock=clock)
breaker.trip()
clock.advance(60)
breaker.acquire().success()
held = breaker.acquire()
def probe():
    held.success()
    before = breaker.stats().half_open_successes
    breaker.acquire().success()
    return before, str(breaker.state)
print(in_child(probe))
print(breaker)
""")
    assert answers == ["(1, 'closed')", "<CircuitBreaker one half_open 1/2 successes, 1/1 in flight>"]


def test_the_lock_of_a_module_that_another_thread_holds_is_free_in_a_child() -> None:
    answers = run("""
import threading
from failsafe.forking import RenewedLock
lock = RenewedLock()
held, done = threading.Event(), threading.Event()
def hold():
    with lock:
        held.set()
        done.wait(10)
holder = threading.Thread(target=hold)
holder.start()
held.wait(10)
def take():
    with lock:
        return "free"
print(in_child(take))
done.set()
holder.join(10)
print(thread(take))
""")
    assert answers == ["'free'", "free"]


def test_an_object_that_is_registered_can_still_go_away() -> None:
    class Forgettable:
        def _after_fork(self) -> None:
            raise NotImplementedError

    thing = Forgettable()
    forking.register(thing)
    watched = weakref.ref(thing)
    del thing
    gc.collect()
    assert watched() is None
