"""The life of a router: closing, interruption, forking, pickling."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from failsafe.errors import ModelNotFound, RouterClosed
from failsafe.events import CircuitState
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, Behaviour, FakeCloud
from tests.acceptance.routers import (
    GRACE,
    PATIENCE,
    ShiftedClock,
    closing,
    config,
    in_background,
    said_by,
    settles,
    stopwatch,
)

ROOT = Path(__file__).resolve().parents[2]


def test_closing_refuses_new_calls_and_can_be_repeated(cloud: FakeCloud) -> None:
    router = Router(config(cloud))
    router.chat("hello", model="fast")
    assert router.close()
    assert router.close()
    with pytest.raises(RouterClosed, match="make a new one"):
        router.chat("hello", model="fast")
    assert cloud["openai"].count() == 1
    assert settles(lambda: cloud["openai"].open_connections == 0)


def test_closing_waits_for_the_calls_under_way_and_they_are_answered(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.3))
    router = Router(config(cloud))
    with in_background(lambda: router.chat("hello", model="fast")) as call:
        assert cloud["openai"].wait_for_requests(1)
        assert router.close()
        assert call.done() or settles(call.done)
    assert call.result().content == said_by("openai", "hello")
    assert settles(lambda: cloud["openai"].open_connections == 0)


def test_closing_gives_up_waiting_when_told_so_and_a_call_under_way_still_ends_well(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.4))
    router = Router(config(cloud))
    with in_background(lambda: router.chat("hello", model="fast")) as call:
        assert cloud["openai"].wait_for_requests(1)
        took = stopwatch()
        assert not router.close(timeout=0.05)
        assert took() < 0.05 + GRACE
        assert call.result(PATIENCE).provider == "openai"
    assert settles(lambda: cloud["openai"].open_connections == 0)
    assert router.close()


def test_a_call_refused_by_a_closed_router_does_not_keep_the_next_close_waiting(cloud: FakeCloud) -> None:
    router = Router(config(cloud))
    router.close()
    for _ in range(3):
        with pytest.raises(RouterClosed):
            router.chat("hello", model="fast")
    assert router.close(timeout=0)


def test_a_block_closes_its_router_even_when_it_fails(cloud: FakeCloud) -> None:
    router = Router(config(cloud))
    router.chat("hello", model="fast")
    with pytest.raises(ModelNotFound), router:
        router.chat("hello", model="nobody-has-this")
    with pytest.raises(RouterClosed):
        router.chat("hello", model="fast")
    assert settles(lambda: cloud["openai"].open_connections == 0)


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize("name", ["hang", "drip-headers", "drip-body", "drip-chunks"])
def test_an_interrupted_call_leaves_no_connection_and_no_permit_taken(cloud: FakeCloud, name: str) -> None:
    cloud["openai"].behave(BEHAVIOURS[name])
    clock, breaker = ShiftedClock(), CircuitBreakerConfig(half_open_max_calls=1)
    with closing(Router(config(cloud, "openai", breaker=breaker), clock=clock)) as router:
        router.breakers.get("openai").trip()
        clock.shift = breaker.timeout
        with in_background(lambda: interrupt_main_thread_after(cloud)), pytest.raises(KeyboardInterrupt):
            router.chat("hello", model="fast", timeout=30)
        assert settles(lambda: cloud["openai"].open_connections == 0)
        stats = router.breakers.get("openai").stats()
        assert (stats.state, stats.probes_in_flight) == (CircuitState.HALF_OPEN, 0)
        cloud["openai"].behave(HEALTHY)
        assert router.chat("and now?", model="fast").content == said_by("openai", "and now?")
        assert router.close(timeout=0), "the interrupted call counts as one under way"


def interrupt_main_thread_after(cloud: FakeCloud) -> None:
    """As Ctrl-C does, once the first request has arrived."""
    assert cloud["openai"].wait_for_requests(1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


FORK = """
import os, sys, threading
from failsafe.router import Router
from failsafe.sim import Behaviour, FakeCloud
from tests.acceptance.routers import config, said_by

def in_child(function):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            said = repr(function())
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with open(reading) as answer:
        return answer.read()

def ask(text):
    return router.chat(text, model="fast", timeout=5).content == said_by("openai", text)

cloud = FakeCloud.of("openai").start()
openai = cloud["openai"]
router = Router(config(cloud))
"""


def run(code: str) -> list[str]:
    """The lines that a fresh interpreter prints for *code*, which may fork as it likes."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK + code]
    answer = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=30)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_has_connections_of_its_own_and_the_parent_goes_on() -> None:
    said = run("""
print(ask("before"), openai.connections)
print(in_child(lambda: [ask("in the child"), ask("in the child again")]), openai.connections)
print(ask("after"), openai.connections)
print(sorted((request.decoded["messages"][0]["content"], request.connection) for request in openai.requests))
router.close()
cloud.stop()
""")
    assert said == [
        "True 1",
        "[True, True] 2",
        "True 2",
        "[('after', 1), ('before', 1), ('in the child', 2), ('in the child again', 2)]",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_child_forked_in_the_middle_of_calls_works_and_closes_without_waiting_for_them() -> None:
    said = run("""
openai.behave(Behaviour(latency=0.5))
answers = []
callers = [threading.Thread(target=lambda n=n: answers.append(ask(f"parent {n}"))) for n in range(4)]
for caller in callers:
    caller.start()
openai.wait_for_requests(4)
print(in_child(lambda: [ask("in the child"), router.close(timeout=0.1)]))
for caller in callers:
    caller.join()
print(answers, ask("after"))
router.close()
cloud.stop()
""")
    assert said == ["[True, True]", "[True, True, True, True] True"]


def test_a_router_with_references_to_keys_travels_as_its_settings(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = {}
    for provider in cloud:
        monkeypatch.setenv(f"{provider.name.upper()}_KEY", provider.key)
        references[provider.name] = {"api_key": f"env:{provider.name.upper()}_KEY"}
    with Router(config(cloud, of=references, timeout=7.5)) as router:
        router.breakers.get("openai").force_open()
        packed = pickle.dumps(router)
    assert not any(provider.key.encode() in packed for provider in cloud)
    with pickle.loads(packed) as copy:
        assert copy.config.timeout == 7.5
        assert copy.chat("hello", model="fast").content == said_by("openai", "hello")


def test_a_router_with_a_key_given_by_value_is_not_pickled(cloud: FakeCloud) -> None:
    with Router(config(cloud)) as router, pytest.raises(TypeError, match="configure it as 'env:NAME'") as raised:
        pickle.dumps(router)
    assert cloud["openai"].key not in str(raised.value)
