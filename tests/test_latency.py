from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.errors import ConfigError
from failsafe.latency import LatencyWindow


def test_nothing_is_known_before_the_first() -> None:
    window = LatencyWindow()
    assert (window.p95, window.quantile(0.5), window.count) == (None, None, 0)


def test_quantiles_are_by_nearest_rank() -> None:
    window = LatencyWindow(size=100)
    for milliseconds in range(100, 0, -1):
        window.add(milliseconds / 1000)
    assert window.p95 == 0.095
    assert [window.quantile(q) for q in (0, 0.07, 0.5, 1)] == [0.001, 0.007, 0.05, 0.1]


def test_the_oldest_makes_room() -> None:
    window = LatencyWindow(size=2)
    for seconds in (9.0, 1.0, 2.0):
        window.add(seconds)
    assert (window.count, window.p95, window.quantile(0.5)) == (2, 2.0, 1.0)


@given(st.lists(st.floats(-1, 1e6), min_size=1, max_size=40), st.integers(1, 10))
def test_it_agrees_with_sorting_the_last_few(durations: list[float], size: int) -> None:
    window = LatencyWindow(size=size)
    for seconds in durations:
        window.add(seconds)
    last = sorted(max(0.0, seconds) for seconds in durations[-size:])
    assert window.count == len(last)
    assert window.quantile(0) == last[0]
    assert window.quantile(1) == last[-1]
    assert window.p95 == last[math.ceil(0.95 * len(last)) - 1]


def test_a_clock_that_went_back_and_nonsense_do_no_harm() -> None:
    window = LatencyWindow()
    window.add(-1.0)
    window.add(math.nan)
    assert (window.count, window.p95) == (1, 0.0)


def test_threads_lose_no_durations() -> None:
    window = LatencyWindow(size=50)

    def add() -> None:
        for number in range(500):
            window.add(float(number))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert window.count == 50
    assert window.quantile(1) is not None


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_a_size_that_makes_no_sense_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="size"):
        LatencyWindow(size=size)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_share_that_makes_no_sense_is_refused(q: float) -> None:
    with pytest.raises(ConfigError, match="q = "):
        LatencyWindow().quantile(q)


def test_the_repr_shows_the_figure() -> None:
    window = LatencyWindow(size=4)
    assert repr(window) == "<LatencyWindow 0/4 p95 ->"
    window.add(0.25)
    assert repr(window) == "<LatencyWindow 1/4 p95 0.250 s>"
