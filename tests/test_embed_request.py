"""A request for embeddings, checked before anything is sent, and whether vectors are what it asks for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.embeddings import EmbedRequest, build_embed_request
from failsafe.errors import InvalidRequest


def test_one_text_is_a_list_of_one() -> None:
    assert build_embed_request("hello", "m") == EmbedRequest(model="m", texts=("hello",))


def test_everything_given_is_kept() -> None:
    extra = {"input_type": "query"}
    request = build_embed_request(["a", "b"], "m", dimensions=256, user="u-1", extra=extra)
    assert request == EmbedRequest(model="m", texts=("a", "b"), dimensions=256, user="u-1", extra=extra)
    extra.clear()
    assert request.extra == {"input_type": "query"}


def test_free_fields_may_be_meant_for_one_dialect() -> None:
    request = build_embed_request("a", "m", extra={"x": 1}, extra_for="openai")
    assert request == EmbedRequest(model="m", texts=("a",), extra={"x": 1}, extra_for="openai")


@pytest.mark.parametrize(
    ("texts", "said"),
    [(None, "input = None"), ([], "input = <list of 0>"), ([""], "input[0] = ''"), (["\ud800"], "input[0]")],
)
def test_texts_are_refused_by_the_name_under_which_they_came(texts: Any, said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        build_embed_request(texts, "m", place="input")
    assert str(raised.value).startswith(said)


def test_as_many_texts_as_any_provider_takes_are_taken() -> None:
    assert len(build_embed_request(["a"] * 2048, "m").texts) == 2048


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "texts = .*: 1 to 2048 texts are needed"),
        (["a"] * 2049, "split a longer list"),
        ("", r"texts\[0\] = ''"),
        (["a", ""], r"texts\[1\] = '': a text that is not empty"),
        (["a", None], r"texts\[1\] = None"),
        ([["a"]], r"texts\[0\]"),
        ([[1, 2]], r"texts\[0\]"),
        (b"bytes", "a text, or a list of texts"),
        (None, "a text, or a list of texts"),
        (7, "a text, or a list of texts"),
        ({"a": 1}, "a text, or a list of texts"),
        (["a", "b\ud800"], r"texts\[1\].*character 1 is half"),
    ],
)
def test_texts_that_nobody_would_take_are_refused(texts: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        build_embed_request(texts, "m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("model", value) for value in ("", None, "a\nb", 5)),
        *(("dimensions", value) for value in (0, -1, 65_537, True, 2.0, "8", float("nan"))),
        *(("user", value) for value in ("", 5, "\ud800")),
        *(("extra", value) for value in ("x", [1])),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    arguments = {"texts": "a", "model": "m", name: value}
    with pytest.raises(InvalidRequest, match=f"^{name} = "):
        build_embed_request(**arguments)


@pytest.mark.parametrize(
    "field",
    ["model", "input", "requests", "content", "dimensions", "outputDimensionality", "output_dimension",
     "encoding_format", "user"],
)  # fmt: skip
def test_what_failsafe_sends_itself_is_no_free_field(field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        build_embed_request("a", "m", extra={field: "x"})


def test_a_free_field_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"extra\.x"):
        build_embed_request("a", "m", extra={"x": float("inf")})


@given(st.lists(st.text(st.characters(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_request_is_made_or_refused_by_whether_its_texts_can_be_written(texts: list[str]) -> None:
    writable = True
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        writable = False
    try:
        assert build_embed_request(texts, "m").texts == tuple(texts)
    except InvalidRequest:
        assert not writable
    else:
        assert writable


@pytest.mark.parametrize(
    ("dimensions", "vectors", "problem"),
    [
        (None, ([1.0], [2.0]), None),
        (1, ([1.0], [2.0]), None),
        (None, ([1.0],), "1 vectors for 2 texts"),
        (None, ([1.0],) * 3, "3 vectors for 2 texts"),
        (None, (), "0 vectors for 2 texts"),
        (8, ([1.0], [2.0]), "vectors of 1 numbers, and 8 were asked for"),
    ],
)
def test_vectors_are_held_to_what_was_asked_for(dimensions: int | None, vectors: Any, problem: str | None) -> None:
    assert build_embed_request(["a", "b"], "m", dimensions=dimensions).problem_of(vectors) == problem
