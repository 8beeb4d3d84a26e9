"""Embeddings in OpenAI's form: what is read, what is refused, what is written."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from failsafe.embeddings import MOST_TEXTS, EmbedReply, EmbedRequest
from failsafe.errors import InvalidRequest
from failsafe.inbound.anthropic import AnthropicFormat
from failsafe.inbound.base import EmbedFormat, EmbedQuestion
from failsafe.inbound.gemini import GeminiFormat
from failsafe.inbound.openai import OpenAIFormat
from failsafe.inbound.openai_embeddings import OpenAIEmbeddings
from failsafe.inbound.wire import to_json
from failsafe.models import Usage

FORMAT: EmbedFormat = OpenAIEmbeddings()
BODY: dict[str, Any] = {"model": "m", "input": ["one", "two"]}
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def read(**fields: Any) -> EmbedQuestion:
    return FORMAT.read({**BODY, **fields})


def reply(*vectors: Sequence[float], **fields: Any) -> EmbedReply:
    usual: dict[str, Any] = {
        "provider": "p", "model": "m-2", "asked_model": "m", "usage": Usage(prompt_tokens=7), "request_id": None,
        "latency_ms": 1.0, "attempts": (), "skipped": (), "adjustments": (),
    }  # fmt: skip
    return EmbedReply(vectors=vectors, **{**usual, **fields})


def written(answer: EmbedReply, **fields: Any) -> Any:
    """What a client reads."""
    return json.loads(to_json(FORMAT.write(answer, read(**fields))))


# -------------------------------------------------------------------------------------------------
# Reading
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("texts", "expected"), [("one", ("one",)), (["one", "two"], ("one", "two"))])
def test_one_text_or_several_are_read(texts: Any, expected: tuple[str, ...]) -> None:
    assert read(input=texts).request == EmbedRequest(model="m", texts=expected, extra_for="openai")


def test_all_that_can_be_asked_for_is_read() -> None:
    assert read(dimensions=256, user="u-1", input_type="query") == EmbedQuestion(
        request=EmbedRequest(
            model="m", texts=("one", "two"), dimensions=256, user="u-1",
            extra={"input_type": "query"}, extra_for="openai",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields", [{"dimensions": None}, {"user": None}, {"user": ""}, {"encoding_format": None}, {"truncate": None}]
)
def test_what_asks_for_nothing_counts_as_not_given(fields: dict[str, Any]) -> None:
    assert read(**fields) == read()


@pytest.mark.parametrize(("form", "packed"), [("float", False), ("base64", True)])
def test_the_form_of_the_vectors_is_the_clients_choice_and_no_providers_business(form: str, packed: bool) -> None:
    question = read(encoding_format=form)
    assert question.packed is packed
    assert question.request == read().request


def test_as_many_texts_as_openai_takes_are_taken() -> None:
    assert len(read(input=["a"] * MOST_TEXTS).request.texts) == MOST_TEXTS


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]], [[]], [[1], "one"]])
def test_tokens_are_refused_in_words(tokens: Any) -> None:
    with pytest.raises(
        InvalidRequest, match=r"^input = <list of .>: tokens mean something to one vendor's models only"
    ):
        read(input=tokens)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": None}, "input = None: a text, or a list of texts"),
        ({"input": 5}, "input = 5: a text, or a list of texts"),
        ({"input": {"text": "one"}}, "input = <dict"),
        ({"input": []}, "input = <list of 0>: 1 to 2048 texts"),
        ({"input": ["a"] * (MOST_TEXTS + 1)}, "input = <list of 2049>: 1 to 2048 texts"),
        ({"input": ""}, "input[0] = '': a text that is not empty"),
        ({"input": ["one", ""]}, "input[1] = ''"),
        ({"input": [None]}, "input[0] = None"),
        ({"input": [True]}, "input[0] = True"),
        ({"input": ["one", 2]}, "input[1] = 2"),
        ({"input": ["one", "\ud83d"]}, "input[1]"),
        ({"model": None}, "model = "),
        ({"model": ""}, "model = ''"),
        ({"model": 5}, "model = 5"),
        ({"model": ["m"]}, "model = <list of 1>"),
        ({"dimensions": 0}, "dimensions = 0"),
        ({"dimensions": True}, "dimensions = True"),
        ({"dimensions": "256"}, "dimensions = '256'"),
        ({"user": 5}, "user = 5"),
        ({"encoding_format": "int8"}, "encoding_format = 'int8': float or base64 is needed"),
        ({"encoding_format": ["float"]}, "encoding_format = <list of 1>"),
        ({"output_dimension": 256}, "extra['output_dimension'] = 256"),
        ({"stream": True}, "extra['stream'] = True"),
    ],
)
def test_what_is_no_request_is_refused_by_its_place(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("body", [None, [], "text", 5, [BODY]])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^the body = .*: a JSON object is needed"):
        FORMAT.read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["model", "input", "dimensions", "user", "encoding_format", "x"])


@given(body=JSON | st.dictionaries(FIELDS, JSON, max_size=6))
def test_every_body_is_read_or_refused(body: Any) -> None:
    try:
        question = FORMAT.read(body)
    except InvalidRequest:
        return
    assert question.request.texts == ((body["input"],) if isinstance(body["input"], str) else tuple(body["input"]))


# -------------------------------------------------------------------------------------------------
# Writing
# -------------------------------------------------------------------------------------------------


def test_the_answer_is_openais_list() -> None:
    assert written(reply([0.5, -1.0], [1e-3, 2.0])) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.001, 2.0]},
        ],
        "model": "m-2",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_openais_own_types_read_it() -> None:
    read_back = CreateEmbeddingResponse.model_validate_json(to_json(FORMAT.write(reply([0.5]), read())), strict=True)
    assert read_back.data[0].embedding == [0.5]


def test_where_no_provider_says_its_model_the_one_that_was_asked_is_named() -> None:
    assert written(reply([0.5], model=""))["model"] == "m"


def test_packed_vectors_are_little_endian_float32() -> None:
    (entry,) = written(reply([1.0, -2.5]), encoding_format="base64")["data"]
    assert b64decode(entry["embedding"], validate=True) == b"\x00\x00\x80\x3f\x00\x00\x20\xc0"


@given(vector=st.lists(FLOAT32, min_size=1, max_size=20))
def test_of_a_float32_nothing_is_lost_in_either_form(vector: list[float]) -> None:
    (plain,) = written(reply(vector))["data"]
    (packed,) = written(reply(vector), encoding_format="base64")["data"]
    assert plain["embedding"] == vector
    assert list(struct.unpack(f"<{len(vector)}f", b64decode(packed["embedding"]))) == vector


def test_a_number_that_no_float32_can_say_is_never_written_as_infinite() -> None:
    data = written(reply([1e300, 1.0], [1.0, 2.0]), encoding_format="base64")["data"]
    assert data[0]["embedding"] == [1e300, 1.0]
    assert isinstance(data[1]["embedding"], str)


def test_of_the_formats_openais_has_embeddings() -> None:
    assert OpenAIFormat().embeddings.path == "/embeddings"
    assert AnthropicFormat().embeddings is None
    assert GeminiFormat().embeddings is None
