"""In which order providers are asked: every strategy, and what holds for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.clock import Random
from failsafe.errors import ConfigError
from failsafe.policy_config import STRATEGIES as NAMES
from failsafe.strategies import STRATEGIES, Circumstances, Snapshot, Strategy, order, slow_start_share

AMOUNTS = st.none() | st.floats(0, 1e6)
SNAPSHOTS = st.lists(
    st.builds(
        Snapshot,
        name=st.text(min_size=1, max_size=3),
        tier=st.integers(0, 2),
        weight=st.floats(1e-3, 1e3),
        in_flight=st.integers(0, 50),
        latency=AMOUNTS,
        cost=AMOUNTS,
        share=st.floats(0.01, 1.0),
        typical=AMOUNTS,
    ),
    max_size=7,
    unique_by=lambda snapshot: snapshot.name,
)


def seen(turn: int = 0, seed: int = 1, sticky: str | None = None, max_latency: float | None = None) -> Circumstances:
    return Circumstances(random=Random(seed), turn=turn, sticky=sticky, max_latency=max_latency)


def names(ordered: Sequence[Snapshot]) -> str:
    return "".join(snapshot.name for snapshot in ordered)


def firsts(strategy: str, snapshots: Sequence[Snapshot], calls: int, **of: float) -> Counter[str]:
    random = Random(7)
    return Counter(
        order(STRATEGIES[strategy], snapshots, Circumstances(random=random, turn=turn, **of))[0].name  # type: ignore[arg-type]
        for turn in range(calls)
    )


def some(**each: float) -> list[Snapshot]:
    """Snapshots a, b, c, ... with one field set."""
    (field,) = {name.split("_", 1)[1] for name in each}
    return [Snapshot(name.split("_", 1)[0], **{field: value}) for name, value in each.items()]  # type: ignore[arg-type]


def test_the_names_of_the_settings_are_the_strategies() -> None:
    assert set(STRATEGIES) == set(NAMES)


@pytest.mark.parametrize("strategy", NAMES)
@given(
    SNAPSHOTS, st.integers(0, 10**6), st.integers(), st.none() | st.text(max_size=5), st.none() | st.floats(1e-3, 10)
)
def test_nobody_is_lost_or_doubled_and_tiers_hold(
    strategy: str, snapshots: list[Snapshot], turn: int, seed: int, sticky: str | None, most: float | None
) -> None:
    ordered = order(STRATEGIES[strategy], snapshots, seen(turn, seed, sticky, most))
    assert {snapshot.name: snapshot for snapshot in ordered} == {snapshot.name: snapshot for snapshot in snapshots}
    assert len(ordered) == len(snapshots)
    assert ordered == order(STRATEGIES[strategy], snapshots, seen(turn, seed, sticky, most))
    if most is None:
        assert [snapshot.tier for snapshot in ordered] == sorted(snapshot.tier for snapshot in snapshots)


def test_weights_decide_how_often_somebody_is_first() -> None:
    counts = firsts("weighted", some(a_weight=3.0, b_weight=1.0), 2000)
    assert 0.71 < counts["a"] / 2000 < 0.79


def test_round_robin_takes_turns_and_so_do_those_who_stand_in() -> None:
    three = [Snapshot(name) for name in "abc"]
    turns = [names(order(STRATEGIES["round_robin"], three, seen(turn))) for turn in range(7)]
    assert turns == ["abc", "bac", "cab", "acb", "bca", "cba", "abc"]


def test_round_robin_divides_the_work_of_one_that_is_down_by_weight() -> None:
    three = some(a_weight=4.0, b_weight=2.0, c_weight=1.0)
    orders = [order(STRATEGIES["round_robin"], three, seen(turn)) for turn in range(7 * 60)]
    stand_ins = Counter(ordered[1].name for ordered in orders if ordered[0].name == "a")
    assert stand_ins == {"b": 160, "c": 80}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_round_robin_gives_each_its_weight_in_every_cycle(weights: list[int]) -> None:
    snapshots = [Snapshot(str(place), weight=float(weight)) for place, weight in enumerate(weights)]
    cycle = sum(weights)
    counts = firsts("round_robin", snapshots, 3 * cycle)
    assert counts == {str(place): 3 * weight for place, weight in enumerate(weights)}


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8), st.integers(0, 2000))
def test_round_robin_never_strays_far_from_the_shares(weights: list[float], calls: int) -> None:
    snapshots = [Snapshot(str(place), weight=weight) for place, weight in enumerate(weights)]
    counts = firsts("round_robin", snapshots, calls)
    for snapshot in snapshots:
        assert abs(counts[snapshot.name] - calls * snapshot.weight / sum(weights)) <= len(weights) / 2 + 1


@pytest.mark.parametrize("weights", [(5e-324, 1.0, 1e6), (1e-300, 1e6, 1e6), (1e6, 1e6, 1e6)])
def test_round_robin_stands_any_weight_and_any_turn(weights: tuple[float, ...]) -> None:
    snapshots = [Snapshot(str(place), weight=weight) for place, weight in enumerate(weights)]
    for turn in (0, 1, 10**9, 2**53, 10**18):
        assert sorted(names(order(STRATEGIES["round_robin"], snapshots, seen(turn)))) == ["0", "1", "2"]


def test_round_robin_spreads_the_turns_of_the_heavy_one() -> None:
    two = some(a_weight=3.0, b_weight=1.0)
    turns = "".join(order(STRATEGIES["round_robin"], two, seen(turn))[0].name for turn in range(8))
    assert "bb" not in turns
    assert "aaaaaa" not in turns


def test_the_fewest_in_flight_for_their_weight_come_first() -> None:
    assert (
        names(order(STRATEGIES["least_in_flight"], some(a_in_flight=3, b_in_flight=1, c_in_flight=2), seen())) == "bca"
    )
    heavy = [Snapshot("a", in_flight=4, weight=10.0), Snapshot("b", in_flight=1)]
    assert names(order(STRATEGIES["least_in_flight"], heavy, seen())) == "ab"


def test_equals_in_flight_are_drawn() -> None:
    assert len(firsts("least_in_flight", [Snapshot(name) for name in "abc"], 100)) == 3


def test_of_two_the_faster_is_first() -> None:
    assert firsts("lowest_latency", some(a_latency=2.0, b_latency=0.5), 50) == {"b": 50}


def test_the_slowest_of_many_is_never_first() -> None:
    counts = firsts("lowest_latency", some(a_latency=5.0, b_latency=0.5, c_latency=0.6, d_latency=0.7), 600)
    assert counts["a"] == 0
    assert counts["b"] > counts["c"] > counts["d"] > 0


def test_what_is_under_way_makes_somebody_slower() -> None:
    two = [Snapshot("a", latency=0.5, in_flight=5), Snapshot("b", latency=1.0)]
    assert names(order(STRATEGIES["lowest_latency"], two, seen())) == "ba"


def test_somebody_unknown_is_tried_by_one_call_at_a_time() -> None:
    idle = [Snapshot("a", latency=0.5), Snapshot("new")]
    assert names(order(STRATEGIES["lowest_latency"], idle, seen())) == "newa"
    asked = [Snapshot("a", latency=0.5), Snapshot("new", in_flight=1)]
    assert names(order(STRATEGIES["lowest_latency"], asked, seen())) == "anew"


def test_the_cheapest_is_first_and_an_unknown_price_is_never_cheap() -> None:
    priced = [Snapshot("a"), Snapshot("b", cost=0.02), Snapshot("c", cost=0.01), Snapshot("d", cost=0.0)]
    assert names(order(STRATEGIES["cheapest"], priced, seen())) == "dcba"


def test_among_equal_prices_the_faster_is_first_and_what_is_under_way_counts() -> None:
    equal = [Snapshot("b", cost=1.0, latency=2.0), Snapshot("c", cost=1.0, latency=1.0)]
    assert names(order(STRATEGIES["cheapest"], equal, seen())) == "cb"
    busy = [Snapshot("b", cost=1.0, latency=2.0), Snapshot("c", cost=1.0, latency=1.0, in_flight=2)]
    assert names(order(STRATEGIES["cheapest"], busy, seen())) == "bc"


def test_among_equal_prices_somebody_unknown_is_tried_by_one_call_at_a_time() -> None:
    idle = [Snapshot("a", cost=1.0, latency=0.1), Snapshot("new", cost=1.0)]
    assert names(order(STRATEGIES["cheapest"], idle, seen())) == "newa"
    asked = [Snapshot("a", cost=1.0, latency=0.1), Snapshot("new", cost=1.0, in_flight=1)]
    assert names(order(STRATEGIES["cheapest"], asked, seen())) == "anew"


@pytest.mark.parametrize("strategy", ["lowest_latency", "cheapest"])
@pytest.mark.parametrize("latency", [None, 0.0, 0.5])
def test_those_who_are_alike_in_everything_are_drawn(strategy: str, latency: float | None) -> None:
    alike = [Snapshot(name, latency=latency, cost=0.0) for name in "abc"]
    counts = firsts(strategy, alike, 900)
    assert all(240 < counts[name] < 360 for name in "abc")


@pytest.mark.parametrize("strategy", ["lowest_latency", "cheapest"])
@pytest.mark.parametrize("latency", [None, 0.0, 0.5])
def test_what_is_under_way_is_shared_even_by_the_instant_and_the_unknown(strategy: str, latency: float | None) -> None:
    two = [Snapshot("a", latency=latency, in_flight=3), Snapshot("b", latency=latency, in_flight=2)]
    assert firsts(strategy, two, 20) == {"b": 20}


# What holds for all.


def test_a_sticky_key_has_one_home_whatever_the_turn() -> None:
    five = [Snapshot(name) for name in "abcde"]
    for key in ("user-1", "user-2", "\ud800"):
        homes = {order(STRATEGIES["round_robin"], five, seen(turn, sticky=key))[0].name for turn in range(20)}
        assert len(homes) == 1


def test_few_keys_move_when_somebody_leaves_and_they_are_its_own() -> None:
    five = [Snapshot(name) for name in "abcde"]
    keys = [str(number) for number in range(1000)]
    before = {key: order(STRATEGIES["weighted"], five, seen(sticky=key))[0].name for key in keys}
    after = {key: order(STRATEGIES["weighted"], five[1:], seen(sticky=key))[0].name for key in keys}
    moved = [key for key in keys if before[key] != after[key]]
    assert {before[key] for key in moved} == {"a"}
    assert 120 < len(moved) < 280


def test_the_weight_decides_how_many_keys_somebody_has() -> None:
    two = some(a_weight=3.0, b_weight=1.0)
    homes = Counter(order(STRATEGIES["weighted"], two, seen(sticky=str(key)))[0].name for key in range(2000))
    assert 0.70 < homes["a"] / 2000 < 0.80


def test_who_takes_longer_than_the_limit_comes_last_the_fastest_first() -> None:
    four = [
        Snapshot("a", cost=1.0, typical=5.0, in_flight=1),
        Snapshot("b", cost=2.0, typical=3.0, in_flight=1),
        Snapshot("c", cost=3.0, typical=0.5),
        Snapshot("d", cost=4.0),
    ]
    assert names(order(STRATEGIES["cheapest"], four, seen(max_latency=1.0))) == "cdba"


def test_one_that_is_too_slow_is_tried_now_and_then_by_one_call_at_a_time() -> None:
    idle = [Snapshot("a", cost=1.0, typical=5.0), Snapshot("b", cost=2.0, typical=0.5)]
    counts = firsts("cheapest", idle, 1000, max_latency=1.0)
    assert 70 < counts["a"] < 130
    busy = [Snapshot("a", cost=1.0, typical=5.0, in_flight=1), Snapshot("b", cost=2.0, typical=0.5)]
    assert firsts("cheapest", busy, 200, max_latency=1.0) == {"b": 200}


def test_a_slow_start_gives_somebody_its_share() -> None:
    two = [Snapshot("a", cost=1.0, share=0.25), Snapshot("b", cost=2.0)]
    assert 0.2 < firsts("cheapest", two, 1000)["a"] / 1000 < 0.3


def test_who_is_alone_in_its_tier_keeps_its_place_in_a_slow_start() -> None:
    assert firsts("priority", [Snapshot("a", share=0.1), Snapshot("b", tier=1)], 50) == {"a": 50}


@pytest.mark.parametrize(
    ("since", "whole", "share"),
    [(0, 100, 0.1), (5, 100, 0.1), (50, 100, 0.5), (100, 100, 1.0), (1e9, 100, 1.0), (-5, 100, 0.1), (0, 0, 1.0)],
)
def test_the_share_grows_in_a_line(since: float, whole: float, share: float) -> None:
    assert slow_start_share(since, whole) == share


TWO = [Snapshot("a"), Snapshot("b")]


def test_a_strategy_of_ones_own_decides_within_a_tier() -> None:
    def reverses(candidates: Sequence[Snapshot], _: Circumstances) -> Sequence[Snapshot]:
        return candidates[::-1]

    assert names(order(reverses, [*TWO, Snapshot("c", tier=1), Snapshot("d", tier=1)], seen())) == "badc"


def forgets(candidates: Any, _: Circumstances) -> Any:
    return candidates[:1]


def takes_out(candidates: Any, _: Circumstances) -> Any:
    candidates.pop()
    return candidates


def doubles(candidates: Any, _: Circumstances) -> Any:
    return [candidates[0], candidates[0]]


def invents(candidates: Any, _: Circumstances) -> Any:
    return [candidates[0], Snapshot("b")]


def adds(candidates: Any, _: Circumstances) -> Any:
    return [*candidates, Snapshot("z")]


def returns_nothing(candidates: Any, _: Circumstances) -> Any:
    candidates.sort(key=lambda each: each.name)


def yields(candidates: Any, _: Circumstances) -> Any:
    yield from candidates


def names_them(candidates: Any, _: Circumstances) -> Any:
    return [each.name for each in candidates]


@pytest.mark.parametrize(
    "wrong", [forgets, takes_out, doubles, invents, adds, returns_nothing, yields, names_them], ids=lambda f: f.__name__
)
def test_a_strategy_that_returns_anything_else_is_refused_and_nobody_is_lost(wrong: Strategy) -> None:
    with pytest.raises(ConfigError, match=f"{wrong.__name__}: it must return each of the 2 candidates it got, once"):
        order(wrong, TWO, seen())
    assert names(TWO) == "ab"


def test_what_a_strategy_of_ones_own_raises_is_the_callers_to_see() -> None:
    def fails(candidates: Sequence[Snapshot], _: Circumstances) -> Sequence[Snapshot]:
        raise KeyError("no such figure")

    with pytest.raises(KeyError, match="no such figure"):
        order(fails, TWO, seen())


def test_a_strategy_may_be_an_object_without_a_name() -> None:
    class Wrong:
        def __call__(self, candidates: Sequence[Snapshot], _: Circumstances) -> Sequence[Snapshot]:
            return ()

    with pytest.raises(ConfigError, match="Wrong object"):
        order(Wrong(), TWO, seen())


def test_nobody_and_one_need_no_strategy() -> None:
    assert order(STRATEGIES["cheapest"], [], seen()) == []
    assert names(order(STRATEGIES["round_robin"], [Snapshot("a")], seen(sticky="x"))) == "a"
