"""
Every fault of the fake providers on the first of three: who answered, how late, and what leaked.

Prints a row a fault, then the goals. Run it from the repository's root: ``python benchmarks/faults.py``.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from measure import Goals

from failsafe.clock import SYSTEM_CLOCK
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import AllProvidersFailed, CallFailed, FailsafeError, ProviderFault
from failsafe.events import CircuitState
from failsafe.faults import REACTIONS, Fault, NextStep
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, Behaviour, Error, FakeCloud, FakeProvider, Redirect

DEADLINE = 1.0
CALLS = 4
MODELS = {"fast": ["gpt-4.1-mini", "claude-haiku-4-5", "gemini-3.5-flash"]}
OWN_ERRORS = (NextStep.RAISE, NextStep.LARGER)


class Row(NamedTuple):
    """What became of the calls under one fault."""

    fault: str
    expected: str
    answered: int
    calls: int
    slowest: float
    wrong: int
    first_says: str


def main() -> int:
    """Run everything; the exit code says whether every goal was met."""
    goals = Goals()
    with FakeCloud.of("openai", "anthropic", "gemini") as cloud, FakeProvider("trap", vendor="openai") as trap:
        rows = [play(cloud, name, behaviour) for name, behaviour in behaviours(trap)]
        rows += special_faults(cloud)
        show(rows)
        judge(rows, trap, goals)
        everything_down(cloud, goals)
        storm(cloud, goals)
        reopening(cloud, goals)
        two_hundred_routers(cloud, goals)
    return goals.finish()


def behaviours(trap: FakeProvider) -> Iterator[tuple[str, Behaviour]]:
    """The faults of a plain call; a redirect leads into *trap*."""
    for name, behaviour in BEHAVIOURS.items():
        if name == "redirect":
            yield name, Behaviour(Redirect(location=f"{trap.base_url}/chat/completions"))
        elif not name.startswith(("stream-", "tls-")):
            yield name, behaviour


def config(cloud: FakeCloud, **first: Any) -> RouterConfig:
    """The three providers of *cloud*; *first* changes the first one's settings."""
    providers = [
        ProviderConfig(**{"name": each.name, "base_url": each.base_url, "api_key": each.key, **settings})
        for each, settings in zip(cloud, (first, {}, {}), strict=True)
    ]
    return RouterConfig(providers=providers, aliases=MODELS, breaker=CircuitBreakerConfig(failure_threshold=2))


def play(cloud: FakeCloud, name: str, behaviour: Behaviour, **first: Any) -> Row:
    """A few calls through a new router while the first provider behaves as told."""
    cloud["openai"].behave(behaviour)
    said = behaviour.answer
    own_error = isinstance(said, Error) and _step(said) in OWN_ERRORS and not said.should_retry
    with Router(config(cloud, **first)) as router:
        row = calls(router, name, own_error=own_error)
    cloud["openai"].behave(BEHAVIOURS["healthy"])
    return row


def _step(said: Error) -> NextStep | None:
    return None if said.fault is None else REACTIONS[said.fault].step


def calls(router: Router, name: str, *, own_error: bool) -> Row:
    """Make the calls and count."""
    answered, wrong, slowest, says = 0, 0, 0.0, ""
    for number in range(CALLS):
        text = f"question {number} under {name}"
        began = time.perf_counter()
        try:
            reply = router.chat(text, model="fast", timeout=DEADLINE)
            answered += 1
            wrong += reply.content != f"provider {reply.provider} says: {text}"
            failed = next((attempt for attempt in reply.attempts if attempt.fault), None)
            says = says or (f"{failed.fault}: {failed.message}" if failed else "")
        except ProviderFault as error:
            answered += own_error
            says = says or f"{type(error).__name__}: {error}"
        except CallFailed as error:
            says = str(error)
        slowest = max(slowest, time.perf_counter() - began)
    return Row(name, "its own error" if own_error else "an answer", answered, CALLS, slowest, wrong, says)


def special_faults(cloud: FakeCloud) -> Iterator[Row]:
    """What takes more than a behaviour: TLS, names that never resolve, a connection that never comes about."""
    for name in (name for name in BEHAVIOURS if name.startswith("tls-")):
        yield play(cloud, name, BEHAVIOURS[name], base_url=cloud["openai"].https_base_url)
    with black_hole() as address:
        yield play(cloud, "black-hole", BEHAVIOURS["healthy"], base_url=address)
    with hanging_names():
        yield play(cloud, "hanging-dns", BEHAVIOURS["healthy"], base_url="https://hangs.test/v1")
    yield never_read(cloud)


def never_read(cloud: FakeCloud) -> Row:
    """A large prompt to a server that reads nothing."""
    cloud["openai"].behave(BEHAVIOURS["never-read"])
    prompt = "x" * 20_000_000
    began = time.perf_counter()
    with Router(config(cloud)) as router:
        reply = router.chat(prompt, model="fast", timeout=3 * DEADLINE)
    took = time.perf_counter() - began - 2 * DEADLINE
    cloud["openai"].behave(BEHAVIOURS["healthy"])
    return Row("never-read 20 MB", "an answer", 1, 1, took, 0, str(reply.attempts[0].message))


@contextmanager
def black_hole() -> Iterator[str]:
    """An address whose queue of connections is full, so that the next one is never accepted."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.settimeout(0)
            client.connect_ex(full.getsockname())
            waiting.append(client)
        yield f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        for client in waiting:
            client.close()


@contextmanager
def hanging_names() -> Iterator[None]:
    """Names under ``.test`` are looked up until the block ends."""
    resolve, released = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".test"):
            released.wait(60)
        return resolve(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        released.set()
        socket.getaddrinfo = resolve


def show(rows: list[Row]) -> None:
    """Print the table."""
    print(f"first of three providers in the fault, {CALLS} calls each, deadline {DEADLINE:g} s")
    print(f"{'fault':<24} {'expected':<14} {'met':>5} {'slowest':>9}  what the first provider's attempt says")
    for row in rows:
        first_line = row.first_says.splitlines()[0] if row.first_says else "-"
        print(
            f"{row.fault:<24} {row.expected:<14} {row.answered}/{row.calls:<3} {row.slowest:>7.3f} s  {first_line[:90]}"
        )


def judge(rows: list[Row], trap: FakeProvider, goals: Goals) -> None:
    """The goals over the whole table."""
    goals.at_least("calls_answered_share", sum(r.answered for r in rows) / sum(r.calls for r in rows), 1.0)
    goals.at_most("latest_over_deadline_ms", max(row.slowest - DEADLINE for row in rows) * 1000, 50)
    goals.at_most("wrong_answers", sum(row.wrong for row in rows), 0)
    goals.at_most("requests_through_a_redirect", trap.count(), 0)


def everything_down(cloud: FakeCloud, goals: Goals) -> None:
    """All three hang for longer than the deadline: an error in time that lists every attempt."""
    for provider in cloud:
        provider.behave(BEHAVIOURS["hang"])
    with Router(config(cloud)) as router:
        began = time.perf_counter()
        listed: set[str] = set()
        try:
            router.chat("anyone?", model="fast", timeout=DEADLINE)
        except CallFailed as error:
            listed = {attempt.provider for attempt in error.attempts if attempt.provider in str(error)}
        late = time.perf_counter() - began - DEADLINE
    heal(cloud)
    goals.at_most("all_down_over_deadline_ms", late * 1000, 50)
    goals.at_least("all_down_attempts_listed", len(listed), 3)


def storm(cloud: FakeCloud, goals: Goals) -> None:
    """1,000 calls from 16 threads while everything fails."""
    threads, threshold, retries = 16, 5, 2
    for provider in cloud:
        provider.behave(Behaviour(Error(fault=Fault.SERVER)))
    before = {provider.name: provider.count() for provider in cloud}
    settings = RouterConfig(
        providers=config(cloud).providers,
        aliases=MODELS,
        breaker=CircuitBreakerConfig(failure_threshold=threshold),
        retry=RetryConfig(max_retries=retries, base_delay=0.01, max_delay=0.02),
    )
    with Router(settings) as router, ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(lambda _: failure_of(router), range(1000)))
    sent = max(provider.count() - before[provider.name] for provider in cloud)
    heal(cloud)
    # Five calls open a breaker; up to 15 more are in flight then; each of these may have repeated itself twice.
    goals.at_most("storm_requests_to_one_provider", sent, (threshold + threads - 1) * (1 + retries))
    goals.at_least("storm_calls_ended_with_a_report", sum(outcome is AllProvidersFailed for outcome in outcomes), 1000)


def failure_of(router: Router) -> type[Exception] | None:
    """How one call fails."""
    try:
        router.chat("hello", model="fast", timeout=5)
    except FailsafeError as error:
        return type(error)
    return None


class ShiftedClock:
    """The machine's clock, which can be moved forward."""

    def __init__(self) -> None:
        self.shift = 0.0

    def monotonic(self) -> float:
        """Seconds, shifted."""
        return SYSTEM_CLOCK.monotonic() + self.shift

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC, shifted."""
        return SYSTEM_CLOCK.time() + self.shift

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait in real time."""
        return SYSTEM_CLOCK.wait(event, timeout)


def reopening(cloud: FakeCloud, goals: Goals) -> None:
    """32 threads at the moment the open time of the first breaker ends, the provider still sick."""
    clock, threads = ShiftedClock(), 32
    sick = cloud["openai"]
    sick.behave(Behaviour(Error(fault=Fault.SERVER), latency=0.2))
    with Router(config(cloud), clock=clock) as router, ThreadPoolExecutor(threads) as pool:
        while router.breakers.get("openai").state is CircuitState.CLOSED:
            router.chat("hello", model="fast", timeout=5)
        before, barrier = sick.count(), threading.Barrier(threads)
        clock.shift = 61.0

        def ask(_: int) -> str:
            barrier.wait()
            return router.chat("hello", model="fast", timeout=5).provider

        answered = list(pool.map(ask, range(threads)))
    heal(cloud)
    goals.at_most("probes_at_reopening", sick.count() - before, CircuitBreakerConfig().half_open_max_calls)
    goals.at_least("answered_at_reopening", len(answered), threads)


def two_hundred_routers(cloud: FakeCloud, goals: Goals) -> None:
    """The 200th router of the process against the first: time of its first call, threads left behind."""
    took = []
    threads = threading.active_count()
    for _ in range(200):
        began = time.perf_counter()
        with Router(config(cloud)) as router:
            router.chat("hello", model="fast", timeout=5)
        took.append(time.perf_counter() - began)
    first, last = sorted(took[1:21])[10], sorted(took[-20:])[10]
    goals.at_most("last_routers_to_first_routers_time", last / first, 2.0)
    # The fake providers' own threads, one a connection, may take a moment to end.
    goals.at_most("threads_left_by_200_routers", threading.active_count() - threads, 10)


def heal(cloud: FakeCloud) -> None:
    """Make everybody healthy."""
    for provider in cloud:
        provider.behave(BEHAVIOURS["healthy"])


if __name__ == "__main__":
    import logging

    logging.getLogger("failsafe").setLevel(logging.CRITICAL)
    sys.exit(main())
