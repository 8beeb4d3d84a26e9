"""What one call asks for beside its parameters."""

from __future__ import annotations

import math
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.config import ProviderConfig
from failsafe.constraints import Constraints, RoutingOptions, checked, ruled_out, split
from failsafe.errors import InvalidRequest
from failsafe.models import ChatParameters


def provider(name: str, *tags: str) -> ProviderConfig:
    return ProviderConfig(name=name, base_url="https://llm.example.com/v1", tags=tags)


FAST, CHEAP, FAR = provider("fast", "eu", "paid"), provider("cheap", "eu"), provider("far", "us")
ALL = [FAST, CHEAP, FAR]
WORDS = ["fast", "cheap", "far", "eu", "us", "paid"]


def left(**options: Any) -> list[str]:
    constraints = checked(options, ALL, ALL)
    return [each.name for each in ALL if ruled_out(constraints, each, None) is None]


def refused(**options: Any) -> str:
    with pytest.raises(InvalidRequest) as raised:
        checked(options, ALL, ALL)
    return str(raised.value)


def test_no_option_has_the_name_of_a_parameter() -> None:
    assert not set(get_type_hints(RoutingOptions)) & set(get_type_hints(ChatParameters))


def test_options_are_told_from_parameters() -> None:
    given = {"only": "fast", "temperature": 0.5, "sticky": None}
    assert split(given) == ({"only": "fast"}, {"temperature": 0.5})


def test_without_options_the_parameters_are_passed_on_as_they_are() -> None:
    for parameters in ({}, {"temperature": 0.5}):
        assert split(parameters)[0] is None
        assert split(parameters)[1] is parameters


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"only": "fast"}, ["fast"]),
        ({"only": ["fast", "far"]}, ["fast", "far"]),
        ({"only": "eu"}, ["fast", "cheap"]),
        ({"only": {"eu", "us"}, "exclude": ("paid",)}, ["cheap", "far"]),
        ({"exclude": "eu"}, ["far"]),
        ({"exclude": ["somebody who left"]}, ["fast", "cheap", "far"]),
        ({"only": None, "exclude": None}, ["fast", "cheap", "far"]),
    ],
)
def test_names_and_tags_choose(options: dict[str, Any], names: list[str]) -> None:
    assert left(**options) == names


def test_the_reasons_are_in_words() -> None:
    constraints = checked({"only": ["eu"], "exclude": "paid", "max_cost_usd": 0.01}, ALL, ALL)
    assert ruled_out(constraints, FAR, 0.001) == "the call asks for eu only"
    assert ruled_out(constraints, FAST, 0.001) == "the call excludes paid"
    assert ruled_out(constraints, CHEAP, 0.001) is None
    assert ruled_out(constraints, CHEAP, 0.01) is None
    assert ruled_out(constraints, CHEAP, 0.0123) == "would cost about $0.0123, above max_cost_usd = 0.01"
    unknown = ruled_out(constraints, CHEAP, None)
    assert unknown == (
        "its price is not known, and the call has max_cost_usd = 0.01; "
        "set prices = { MODEL = { input = ..., output = ... } } under [providers.cheap]"
    )


def test_a_misspelt_name_is_refused_with_a_suggestion() -> None:
    assert "only = 'fsat': no provider has this name or tag (did you mean 'fast'?)" in refused(only="fsat")
    assert "did you mean 'cheap'" in refused(exclude="chaep")
    assert "known are cheap, eu, far, fast, paid, us" in refused(only="nowhere")


def test_a_call_that_leaves_nobody_is_refused() -> None:
    nobody = "this leaves nobody to ask: fast, cheap, far serve this model; nothing was sent"
    assert refused(exclude=["us", "eu"]) == f"exclude = 'eu, us': {nobody}"
    assert refused(only="us", exclude="far") == f"only = 'us': beside exclude = far {nobody}"
    with pytest.raises(InvalidRequest, match="fast, cheap serve this model"):
        checked({"only": "far"}, [FAST, CHEAP], ALL)


def test_a_provider_that_does_not_serve_the_model_may_be_excluded() -> None:
    assert checked({"exclude": "far"}, [FAST, CHEAP], ALL).exclude == {"far"}


@pytest.mark.parametrize("value", [[], (), b"fast", bytearray(b"fast"), 7, [7], {"fast": 1}])
def test_names_of_a_wrong_kind_are_refused(value: Any) -> None:
    assert "the name or tag of a provider" in refused(only=value)


def test_a_list_of_nobody_excludes_nobody() -> None:
    assert left(exclude=[]) == ["fast", "cheap", "far"]


def test_a_cap_of_nothing_leaves_those_that_cost_nothing() -> None:
    constraints = checked({"max_cost_usd": 0}, ALL, ALL)
    assert ruled_out(constraints, FAST, 0.0) is None
    assert "above max_cost_usd = 0" in str(ruled_out(constraints, FAST, 1e-9))


def test_the_largest_wait_is_a_day() -> None:
    assert checked({"max_latency_ms": 86_400_000}, ALL, ALL).max_latency_ms == 86_400_000.0
    assert "at most 86400000 is needed" in refused(max_latency_ms=86_400_001)
    assert "above 0" in refused(max_latency_ms=0)


def test_a_name_that_looks_like_a_key_is_not_repeated() -> None:
    assert "sk-marked-4711" not in refused(only="sk-marked-4711-do-not-show")


@given(st.sets(st.sampled_from(WORDS)), st.sets(st.sampled_from(WORDS)))
def test_only_and_exclude_choose_as_sets_do(only: set[str], exclude: set[str]) -> None:
    named = {each.name: {each.name, *each.tags} for each in ALL}
    expected = [name for name, words in named.items() if (not only or only & words) and not exclude & words]
    options = {"only": only or None, "exclude": exclude}
    if expected:
        assert left(**options) == expected
    else:
        assert "leaves nobody" in refused(**options)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 10**400, "1", True, []])
@pytest.mark.parametrize("option", ["max_cost_usd", "max_latency_ms"])
def test_limits_are_finite_numbers(option: str, value: Any) -> None:
    assert f"{option} = " in refused(**{option: value})


@pytest.mark.parametrize("value", ["", 7, b"x"])
def test_a_sticky_key_is_a_text(value: Any) -> None:
    assert "sticky = " in refused(sticky=value)


def test_what_is_not_given_constrains_nothing() -> None:
    assert checked({}, ALL, ALL) == Constraints()
    assert checked({"sticky": "user-7", "max_latency_ms": 500}, ALL, ALL) == Constraints(
        sticky="user-7", max_latency_ms=500.0
    )
