"""Embeddings in the dialects: what is sent, what is read, and which answers are none."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.catalog import ModelInfo, Quirks, catalog
from failsafe.embeddings import Embeddings, build_embed_request
from failsafe.faults import Fault
from failsafe.models import Failure, Usage
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.providers.embedders import embedder_for

TARGET = Target(provider="p", vendor="openai", model="e-1")
DIALECTS = ("openai", "gemini")
VECTORS = [[0.5, -0.25, 1.0], [0.0, 2.0, -3.5]]


def target(**fields: Any) -> Target:
    return msgspec.structs.replace(TARGET, **fields)


def known(preset: str, model: str) -> Target:
    quirks = catalog().presets[preset].quirks
    return target(vendor=preset, model=model, info=catalog().model(model), quirks=quirks)


def build(dialect: str, to: Target = TARGET, texts: Any = ("one", "two"), **fields: Any) -> BuiltRequest:
    return embedder_for(dialect).build(build_embed_request(texts, "m", **fields), to)


def sent(dialect: str, to: Target = TARGET, **fields: Any) -> Any:
    return json.loads(build(dialect, to, **fields).body)


def noted(built: BuiltRequest) -> dict[str, str]:
    return {adjustment.parameter: adjustment.action for adjustment in built.adjustments}


def answer(dialect: str, vectors: list[Any]) -> dict[str, Any]:
    if dialect == "gemini":
        return {"embeddings": [{"values": each} for each in vectors]}
    data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "e-1", "usage": {"prompt_tokens": 4, "total_tokens": 4}}


def read(dialect: str, body: Any) -> Embeddings | Failure:
    return embedder_for(dialect).read(body, TARGET)


def failed(dialect: str, body: Any) -> Failure:
    failure = read(dialect, body)
    assert isinstance(failure, Failure), failure
    return failure


# What is sent


def test_openai_is_sent_the_texts_and_nothing_that_was_not_given() -> None:
    built = build("openai", texts=["one", "zwei ü"])
    assert built.path == "/embeddings"
    assert json.loads(built.body) == {"model": "e-1", "input": ["one", "zwei ü"]}
    assert built.adjustments == ()


def test_openai_is_sent_what_was_given() -> None:
    body = sent("openai", dimensions=256, user="u-1", extra={"input_type": "query"})
    assert body == {
        "model": "e-1", "input": ["one", "two"], "dimensions": 256, "user": "u-1", "input_type": "query",
    }  # fmt: skip


def test_gemini_is_sent_a_request_for_each_text() -> None:
    built = build("gemini", target(model="models/e-1"), dimensions=256, extra={"taskType": "RETRIEVAL_QUERY"})
    assert built.path == "/models/e-1:batchEmbedContents"
    assert json.loads(built.body) == {
        "requests": [
            {
                "model": "models/e-1", "content": {"parts": [{"text": text}]}, "outputDimensionality": 256,
                "taskType": "RETRIEVAL_QUERY",
            }
            for text in ("one", "two")
        ]
    }  # fmt: skip


def test_no_models_name_leads_to_another_address() -> None:
    built = build("gemini", target(model="../x:generateContent?key=1"))
    assert built.path == "/models/..%2Fx%3AgenerateContent%3Fkey%3D1:batchEmbedContents"


def test_gemini_is_not_told_of_the_user() -> None:
    built = build("gemini", user="u-1")
    assert b"u-1" not in built.body
    assert noted(built) == {"user": "dropped"}


def test_gemini_takes_a_hundred_texts_at_once() -> None:
    assert len(json.loads(build("gemini", texts=["a"] * 100).body)["requests"]) == 100
    with pytest.raises(CannotExpress, match="at most 100 texts a request, and these are 101"):
        build("gemini", texts=["a"] * 101)


def test_mistral_has_another_word_for_the_length_and_does_not_know_the_user() -> None:
    built = build("openai", known("mistral", "codestral-embed"), dimensions=512, user="u-1")
    assert json.loads(built.body) == {"model": "codestral-embed", "input": ["one", "two"], "output_dimension": 512}
    assert noted(built) == {"user": "dropped"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_fields_of_the_configuration_are_meant_for_chats(dialect: str) -> None:
    assert b"thinking" not in build(dialect, target(extra={"thinking": True})).body


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_free_field_that_was_refused_is_left_out(dialect: str) -> None:
    built = build(dialect, target(refused=frozenset({"x"})), extra={"x": 1})
    assert b'"x"' not in built.body
    assert noted(built) == {"x": "dropped"}


@pytest.mark.parametrize(
    ("dialect", "to", "length", "problem"),
    [
        ("openai", known("openai", "text-embedding-3-small"), 1537, "at most 1536"),
        ("openai", known("openai", "text-embedding-ada-002"), 256, "one length only, 1536"),
        ("openai", known("mistral", "mistral-embed"), 512, "one length only, 1024"),
        ("openai", target(refused=frozenset({"dimensions"})), 8, "one length only$"),
        ("openai", target(quirks=Quirks(drops=("dimensions",))), 8, "one length only$"),
        ("gemini", target(refused=frozenset({"outputDimensionality"})), 8, "one length only$"),
        ("gemini", known("gemini", "gemini-embedding-001"), 4096, "at most 3072"),
    ],
)
def test_a_length_that_the_model_does_not_have_excludes_it(dialect: str, to: Target, length: int, problem: str) -> None:
    with pytest.raises(CannotExpress, match=problem):
        build(dialect, to, dimensions=length)


def test_the_only_length_of_a_model_need_not_be_said() -> None:
    assert "dimensions" not in sent("openai", known("openai", "text-embedding-ada-002"), dimensions=1536)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_free_fields_of_one_dialect_are_for_its_targets_alone(dialect: str) -> None:
    fields: dict[str, Any] = {"extra": {"x": 1}, "extra_for": "openai"}
    built = build(dialect, **fields)
    assert (b'"x":1' in built.body) is (dialect == "openai")
    assert noted(built) == ({} if dialect == "openai" else {"x": "dropped"})


def test_anthropic_has_no_embeddings() -> None:
    with pytest.raises(CannotExpress, match="anthropic has no embeddings"):
        embedder_for("anthropic")


# What is read


def test_openai_answers_with_vectors_model_and_tokens() -> None:
    expected = Embeddings(vectors=tuple(VECTORS), model="e-1", usage=Usage(prompt_tokens=4))
    assert read("openai", answer("openai", VECTORS)) == expected


@pytest.mark.parametrize("usage", [None, {"promptTokenCount": 9}, "x"])
def test_gemini_answers_with_vectors_and_tokens_if_it_tells(usage: Any) -> None:
    tokens = 9 if isinstance(usage, dict) else 0
    body = answer("gemini", VECTORS) | {"usageMetadata": usage}
    assert read("gemini", body) == Embeddings(vectors=tuple(VECTORS), usage=Usage(prompt_tokens=tokens))
    assert read("gemini", [body]) == read("gemini", body)


def test_vectors_are_put_in_the_order_of_their_index() -> None:
    body = answer("openai", VECTORS)
    body["data"].reverse()
    assert read("openai", body) == read("openai", answer("openai", VECTORS))


def test_a_server_that_numbers_nothing_keeps_the_order() -> None:
    body = answer("openai", VECTORS)
    for each in body["data"]:
        del each["index"]
    assert read("openai", body) == read("openai", answer("openai", VECTORS))


@pytest.mark.parametrize("places", [(0, 0), (1, 2), (0, None), (True, 0), ("0", "1"), (0.0, 1.0), (-1, 0), ([], 1)])
def test_vectors_that_are_not_numbered_one_by_one_are_none(places: tuple[Any, Any]) -> None:
    body = answer("openai", VECTORS)
    for each, place in zip(body["data"], places, strict=True):
        each["index"] = place
    assert failed("openai", body).fault is Fault.MALFORMED


def test_packed_vectors_are_unpacked() -> None:
    packed = [base64.b64encode(struct.pack("<3f", *each)).decode() for each in VECTORS]
    assert read("openai", answer("openai", packed)) == read("openai", answer("openai", VECTORS))


def test_whole_numbers_are_numbers() -> None:
    answered = read("openai", answer("openai", [[1, -2], [0, 3]]))
    assert isinstance(answered, Embeddings)
    assert [type(each) for vector in answered.vectors for each in vector] == [float] * 4


def test_finite_numbers_whose_sum_is_not_are_taken() -> None:
    assert isinstance(read("openai", answer("openai", [[1e308, 1e308]])), Embeddings)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "vector",
    [
        [], None, "text", "AAA", "", 5, {}, [None], ["1"], [True], [[1.0]], [float("nan")], [float("inf"), 1.0],
        [float("inf"), float("-inf")], [10**400], "AACAfw==",
    ],
)  # fmt: skip
def test_what_is_no_list_of_finite_numbers_is_no_vector(dialect: str, vector: Any) -> None:
    failure = failed(dialect, answer(dialect, [[1.0], vector]))
    assert (failure.fault, failure.maybe_billed) == (Fault.MALFORMED, True)
    assert failure.message == "vector 1 is no list of finite numbers"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("vectors", "said"), [([[1.0], [1.0, 2.0]], "different lengths"), ([], "no vectors")])
def test_vectors_have_one_length(dialect: str, vectors: list[Any], said: str) -> None:
    failure = failed(dialect, answer(dialect, vectors))
    assert failure.fault is Fault.MALFORMED
    assert said in failure.message


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body", [None, 5, "text", [], [1, 2], {}, {"data": {}}, {"data": [1]}, {"embeddings": [None]}, {"embeddings": 1}]
)
def test_what_is_no_answer_is_malformed(dialect: str, body: Any) -> None:
    assert failed(dialect, body).fault is Fault.MALFORMED


def test_a_body_of_another_kind_says_what_it_says() -> None:
    assert "come back later" in failed("openai", {"message": "come back later"}).message


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_under_a_success_status_is_a_failure(dialect: str) -> None:
    failure = failed(dialect, {"error": {"message": "boom", "status": "INTERNAL", "code": "INTERNAL"}})
    assert (failure.fault, failure.code) == (Fault.SERVER, "INTERNAL")
    assert "boom" in failure.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries({}, optional={"index": JSON, "embedding": JSON, "values": JSON})
BODY = st.fixed_dictionaries(
    {},
    optional={
        "data": st.lists(ENTRY | JSON, max_size=3) | JSON,
        "embeddings": st.lists(ENTRY | JSON, max_size=3) | JSON,
        "model": JSON,
        "usage": JSON,
        "usageMetadata": JSON,
        "error": JSON,
    },
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(body=JSON | BODY)
def test_reading_never_raises(dialect: str, body: Any) -> None:
    assert isinstance(read(dialect, body), Embeddings | Failure)


@given(
    st.integers(1, 4).flatmap(
        lambda length: st.lists(
            st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=length, max_size=length),
            min_size=1,
            max_size=4,
        )
    ),
    st.randoms(use_true_random=False),
)
def test_every_sound_answer_is_read_as_it_is_in_any_order(vectors: list[list[float]], chance: Any) -> None:
    body = answer("openai", [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in vectors])
    chance.shuffle(body["data"])
    for result in (read("openai", body), read("gemini", json.loads(json.dumps(answer("gemini", vectors))))):
        assert isinstance(result, Embeddings)
        assert list(result.vectors) == vectors


# What is known of models


@pytest.mark.parametrize(
    ("model", "length"),
    [("text-embedding-3-large", 3072), ("openai/text-embedding-3-small", 1536), ("models/gemini-embedding-001", 3072)],
)
def test_the_length_of_a_models_vectors_is_known(model: str, length: int) -> None:
    assert catalog().model(model).dimensions == length


def test_a_model_that_is_not_known_may_be_either() -> None:
    assert ModelInfo().embeds is None
    assert catalog().model("some-model").embeds is None
