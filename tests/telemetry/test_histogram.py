"""Histograms: quantiles, merging, bytes."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failsafe.telemetry import histogram
from failsafe.telemetry.histogram import LAST, LEAST_MS, MOST_MS, Histogram, bucket, merge_histograms

latencies = st.floats(min_value=LEAST_MS, max_value=MOST_MS)
QUANTILES = (0.5, 0.9, 0.95, 0.99)


@given(st.lists(latencies, min_size=1), st.sampled_from((*QUANTILES, 0.0, 0.07, 1.0)))
@example([1.1**i / 10 for i in range(217)], 0.99)
@example([float(number) for number in range(1, 101)], 0.07)
def test_every_quantile_is_within_five_per_cent(values: list[float], q: float) -> None:
    exact = sorted(values)[max(1, math.ceil(round(q * len(values), 9))) - 1]

    told = Histogram.of(values).quantile(q)

    assert told == pytest.approx(exact, rel=0.05)


def test_the_ends_of_every_bucket_are_within_five_per_cent_of_its_middle() -> None:
    for index in range(1, LAST):
        low, high = LEAST_MS * 1.1 ** (index - 1), LEAST_MS * 1.1**index
        for value in (low * (1 + 1e-12), high * (1 - 1e-12)):
            assert bucket(value) == index
            assert Histogram({index: 1}).quantile(0.5) == pytest.approx(value, rel=0.0477)


@given(st.lists(latencies), st.lists(latencies))
def test_merging_is_adding_all(some: list[float], others: list[float]) -> None:
    merged = Histogram.of(some)
    merged.merge(Histogram.of(others))

    assert merged.to_bytes() == Histogram.of(some + others).to_bytes()
    assert (
        merge_histograms(Histogram.of(some).to_bytes(), Histogram.of(others).to_bytes()) or b""
    ) == merged.to_bytes()
    assert merged.count == len(some) + len(others)


@given(st.dictionaries(st.integers(0, LAST), st.integers(1, 2**53)))
def test_bytes_give_back_what_was_written(counts: dict[int, int]) -> None:
    assert Histogram.from_bytes(Histogram(counts).to_bytes()).counts == counts


@given(st.lists(latencies))
def test_one_by_one_or_all_at_once(values: list[float]) -> None:
    one_by_one = Histogram()
    for value in values:
        one_by_one.add(value)

    assert one_by_one.to_bytes() == Histogram.of(values).to_bytes()


def test_a_count_adds_as_often() -> None:
    several = Histogram()
    several.add(20.0, 3)
    several.add(20.0)

    assert several.count == 4
    assert repr(several) == "<Histogram of 4>"


def test_a_single_latency_takes_two_bytes() -> None:
    for ms in (0.01, 1.0, 250.0, 15_000.0):
        assert len(Histogram.of([ms]).to_bytes()) == 2


def test_thousands_of_answers_of_one_provider_take_little() -> None:
    spread = [200 * 1.1 ** (index % 25) for index in range(10_000)]

    assert len(Histogram.of(spread).to_bytes()) < 100


def test_what_is_shorter_or_longer_than_all_counts_at_the_end() -> None:
    for value, end in ((0.0, LEAST_MS), (1e-9, LEAST_MS), (-1.0, LEAST_MS), (math.nan, LEAST_MS)):
        assert Histogram.of([value]).quantile(0.5) == end
    for value in (MOST_MS, 1e12, math.inf):
        assert bucket(value) == LAST
    assert Histogram.of([1e12]).quantile(0.5) == pytest.approx(MOST_MS, rel=0.05)


def test_none_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().to_bytes() == b""
    assert Histogram.from_bytes(None).count == 0


@given(st.binary(max_size=60))
@example(b"\x80" * 20)
@example(b"\x01\x00")
@example(b"\x01\x01\x00\x01")
@example(bytes((200, 1, 100, 1)) * 3)
@example(b"\xff\xff\xff\xff\xff\xff\xff\x7f\x01")
@example(b"\x05\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_damaged_bytes_are_a_histogram_or_nothing(data: bytes) -> None:
    found = Histogram.from_bytes(data)

    assert all(0 <= index <= LAST and 0 < count <= 2**53 for index, count in found.counts.items())
    assert not found.counts or Histogram.from_bytes(found.to_bytes()).counts == found.counts
    merged = Histogram.of([1.0])
    merged.merge_bytes(data)
    assert merged.count == found.count + 1


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x01\x00", b"\x01\x01\x00\x01", b"\xd9\x01\x01", b"\x01\x81", "text", 7, b"\1\1" * 9999]
)
def test_half_a_histogram_is_none(data: object) -> None:
    assert Histogram.from_bytes(data).counts == {}  # type: ignore[arg-type]


def test_counts_stay_within_what_is_written() -> None:
    most = Histogram({3: 2**53}).to_bytes()

    assert Histogram.from_bytes(merge_histograms(most, most)).counts == {3: 2**53}


def test_sql_merges() -> None:
    one, other = Histogram.of([10.0, 20.0]).to_bytes(), Histogram.of([20.0, 900.0]).to_bytes()
    with closing(sqlite3.connect(":memory:")) as connection:
        histogram.register(connection)
        ask = "SELECT merge_histograms(?, ?)"

        assert connection.execute(ask, (one, other)).fetchone()[0] == Histogram.of([10, 20, 20, 900]).to_bytes()
        assert connection.execute(ask, (one, None)).fetchone()[0] == one
        assert connection.execute(ask, (None, other)).fetchone()[0] == other
        assert connection.execute(ask, (None, None)).fetchone()[0] is None
        assert connection.execute(ask, ("damaged", 7)).fetchone()[0] == b""
        assert connection.execute(ask, (one, b"\x80")).fetchone()[0] == one
