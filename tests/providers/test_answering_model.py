"""What a provider writes where its model's name belongs is shown: in events, the store, spans and the gateway."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from failsafe.events import CallFinished, ModelSubstituted
from failsafe.models import Answer
from failsafe.providers.answering_model import with_model_shown
from failsafe.secret import Secret
from failsafe.testing import answer, streaming, vectors
from tests.router_bench import Bench

pytestmark = pytest.mark.usefixtures("expect_logs")

KEY = "0123456789abcdef-of-no-known-shape"
SAID = f"gpt-4.1 {KEY}\x1b[2J\n"


def told(bench: Bench) -> str:
    """Everything that events say."""
    return " ".join(repr(event) for event in bench.events)


def bench(outcome: object) -> Bench:
    return Bench(outcome, of_provider={"api_key": KEY, "models": ["gpt-4.1", "text-embedding-3-small"]})  # type: ignore[arg-type]


def test_a_key_that_is_echoed_as_the_model_of_an_answer_is_shown_to_nobody() -> None:
    asked = bench(answer(model=SAID))
    assert asked.ask().model == "gpt-4.1 [masked] [2J"
    assert {type(event) for event in asked.events} >= {CallFinished, ModelSubstituted}
    assert KEY not in told(asked)
    assert "\x1b" not in told(asked)


def test_a_key_that_is_echoed_as_the_model_of_a_stream_is_shown_to_nobody() -> None:
    asked = bench(streaming("hello", model=SAID))
    with asked.router.stream("hi", model="gpt-4.1") as stream:
        assert "".join(chunk.text for chunk in stream) == "hello"
    assert stream.response.model == "gpt-4.1 [masked] [2J"
    assert KEY not in told(asked)


def test_a_key_that_is_echoed_as_the_model_of_vectors_is_shown_to_nobody() -> None:
    asked = bench(vectors([0.1], model=SAID))
    assert asked.router.embed("hi", model="text-embedding-3-small").model == "gpt-4.1 [masked] [2J"
    assert KEY not in told(asked)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("", str),
        ("gpt-4.1", str),
        ("gpt-4.1-2025-04-14", str),
        ("m" * 201, lambda said: said[:199] + "…"),
        (KEY[3:20], lambda _: "[masked]"),
    ],
)
def test_what_is_fit_is_left_and_what_is_not_is_cut_or_masked(said: str, shown: Callable[[str], str]) -> None:
    given = Answer(content="", finish_reason="stop", model=said)
    found = with_model_shown(given, "gpt-4.1", (Secret(KEY),))
    assert found == msgspec.structs.replace(given, model=shown(said))
    assert (found is given) == (shown is str)


@pytest.mark.parametrize("given", [{"data": []}, [1], None])
def test_what_has_no_model_is_left(given: object) -> None:
    assert with_model_shown(given, "", (Secret(KEY),)) is given
