"""
What a healthy call costs, everything on, against ``requests.Session.post(...).json()``.

But for the store, whose share is measured by ``benchmarks/store.py``.

Client and server run on a core each (where there are two), the contestants take turns, and the
figures are medians of ratios: absolute times mean nothing on a shared machine. Run it from the
repository's root: ``python benchmarks/overhead.py``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import requests
from measure import Goals

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.router import Router
from failsafe.sim import FakeProvider

ROUNDS = 21
CALLS = 150
THREADS = 8
MODEL = "gpt-4.1"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
    {"role": "user", "content": "What is the capital of Peru, and how many people live there?"},
]


def serve() -> None:
    """The server's process: print where it listens, and run until standard input ends."""
    _pin(1)
    with FakeProvider("openai", vendor="openai") as provider:
        print(provider.base_url, provider.key, flush=True)
        sys.stdin.read()


def _pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """Base URL and key of a fake provider in a process of its own."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address, key = process.stdout.readline().split()
        yield address, key
        process.communicate()


def with_failsafe(address: str, key: str) -> tuple[Router, Callable[[], object]]:
    """A router over three providers, of which the first answers."""
    providers = [ProviderConfig(name=name, base_url=address, api_key=key) for name in ("first", "second", "third")]
    router = Router(RouterConfig(providers=providers))
    router.on_event(lambda _event: None)
    return router, lambda: router.chat_completion(MESSAGES, model=MODEL, temperature=0.5, timeout=10).content


def with_requests(address: str, key: str) -> tuple[requests.Session, Callable[[], object]]:
    """The same call by hand."""
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))

    def call() -> Any:
        response = session.post(
            f"{address}/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": MODEL, "messages": MESSAGES, "temperature": 0.5},
            timeout=10,
        )
        return response.json()["choices"][0]["message"]["content"]

    return session, call


def cpu(call: Callable[[], object]) -> float:
    """Seconds of CPU for :data:`CALLS` calls in a row, all threads of the process."""
    began = time.process_time()
    for _ in range(CALLS):
        call()
    return time.process_time() - began


def throughput(call: Callable[[], object]) -> float:
    """Calls a second from :data:`THREADS` threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        list(pool.map(lambda _: call(), range(CALLS * 4)))
        return CALLS * 4 / (time.perf_counter() - began)


def ratios(ours: Callable[[], object], theirs: Callable[[], object], figure: Callable[..., float]) -> list[float]:
    """*figure* of ours over theirs, round by round."""
    figure(ours), figure(theirs)
    return [figure(ours) / figure(theirs) for _ in range(ROUNDS)]


def depth(call: Callable[[], object]) -> int:
    """Python frames between the caller and the moment the request is written to the socket."""
    deepest = 0

    def profiler(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal deepest
        if event == "c_call" and getattr(argument, "__name__", "") == "sendall":
            deepest = max(deepest, _frames_from(frame))

    base = _frames_from(sys._getframe())
    sys.setprofile(profiler)
    try:
        call()
    finally:
        sys.setprofile(None)
    return deepest - base


def _frames_from(frame: FrameType | None) -> int:
    count = 0
    while frame is not None:
        count, frame = count + 1, frame.f_back
    return count


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals were met."""
    goals = Goals()
    with server() as (address, key):
        _pin(0)
        router, ours = with_failsafe(address, key)
        session, theirs = with_requests(address, key)
        assert ours() == theirs() == ours()
        by_cpu = ratios(ours, theirs, cpu)
        by_rate = ratios(ours, theirs, throughput)
        frames = depth(ours), depth(theirs)
        router.close()
        session.close()
    print(f"CPU a call, failsafe / requests: median {statistics.median(by_cpu):.3f}, {_spread(by_cpu)}")
    print(
        f"calls a second with {THREADS} threads, failsafe / requests: "
        f"median {statistics.median(by_rate):.2f}, {_spread(by_rate)}"
    )
    print(f"frames down to the socket: failsafe {frames[0]}, requests {frames[1]}")
    goals.at_most("cpu_per_call", statistics.median(by_cpu), 0.60)
    goals.at_least("throughput_8_threads", statistics.median(by_rate), 1.5)
    goals.at_most("frames_above_requests", frames[0] - frames[1], 5)
    return goals.finish()


def _spread(figures: list[float]) -> str:
    return f"from {min(figures):.3f} to {max(figures):.3f} over {len(figures)} rounds"


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.exit(main())
