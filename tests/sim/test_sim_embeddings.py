"""The fake provider's embeddings: made of the texts, read alike by failsafe and by the vendors' own SDKs."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest
import requests
from google import genai

from failsafe.catalog import catalog
from failsafe.embeddings import Embeddings, EmbedRequest, build_embed_request
from failsafe.faults import Fault
from failsafe.providers.base import Target
from failsafe.providers.classify import classify
from failsafe.providers.embedders import embedder_for
from failsafe.sim import Behaviour, Error, ErrorIn200, FakeProvider, HalfJson
from failsafe.sim.embeddings import vector
from tests.sim.sim_client import TIMEOUT, headers_for, session

TEXTS = ["one", "zwei ü", "one"]


def post(provider: FakeProvider, request: EmbedRequest, model: str | None = None) -> requests.Response:
    """*request* as failsafe sends it."""
    built = embedder_for(provider.dialect).build(request, target_of(provider, model or request.model))
    with session() as client:
        return client.post(
            provider.base_url + built.path, data=built.body, headers=headers_for(provider), timeout=TIMEOUT
        )


def target_of(provider: FakeProvider, model: str) -> Target:
    preset = catalog().presets.get(provider.vendor, catalog().presets["openai"])
    return Target(provider="p", vendor=provider.vendor, model=model, quirks=preset.quirks)


def embedded(provider: FakeProvider, model: str, **fields: Any) -> Embeddings:
    answer = post(provider, build_embed_request(TEXTS, model, **fields))
    assert answer.status_code == 200, answer.text
    result = embedder_for(provider.dialect).read(answer.json(), target_of(provider, model))
    assert isinstance(result, Embeddings), result
    return result


@pytest.mark.parametrize(
    ("vendor", "model", "length"),
    [
        ("openai", "text-embedding-3-small", 1536),
        ("openrouter", "openai/text-embedding-3-small", 1536),
        ("mistral", "codestral-embed", 3072),
        ("gemini", "gemini-embedding-001", 3072),
        ("generic", "anything", 64),
    ],
)
def test_there_is_a_vector_for_each_text_of_the_models_length(vendor: str, model: str, length: int) -> None:
    with FakeProvider(vendor, vendor=vendor) as provider:
        found = embedded(provider, model)
        shorter = embedded(provider, model, dimensions=16)
    assert [len(each) for each in found.vectors] == [length] * 3
    assert found.vectors[0] == found.vectors[2] != found.vectors[1]
    assert [len(each) for each in shorter.vectors] == [16] * 3
    assert math.hypot(*found.vectors[1]) == pytest.approx(1)
    assert found.model == ("" if vendor == "gemini" else model)
    assert found.usage.prompt_tokens == (0 if vendor == "gemini" else 4)


def test_the_same_model_gives_the_same_vectors_everywhere() -> None:
    with FakeProvider("openai") as first, FakeProvider("openrouter") as second:
        assert (
            embedded(first, "text-embedding-3-small").vectors
            == embedded(second, "openai/text-embedding-3-small").vectors
        )
        assert embedded(first, "text-embedding-3-large", dimensions=8).vectors[0] != vector("m", "one", 8)


@pytest.mark.parametrize("dimensions", [None, 8])
@pytest.mark.parametrize("encoding", [None, "float"])
def test_openais_own_sdk_reads_the_same_vectors(dimensions: int | None, encoding: Any) -> None:
    with FakeProvider("openai") as provider:
        with openai.OpenAI(api_key=provider.key, base_url=provider.base_url, max_retries=0) as client:
            answer = client.embeddings.create(
                model="text-embedding-3-small",
                input=TEXTS,
                dimensions=dimensions or openai.omit,
                encoding_format=encoding or openai.omit,
            )
        ours = embedded(provider, "text-embedding-3-small", dimensions=dimensions)
    assert [each.embedding for each in answer.data] == list(ours.vectors)
    assert [each.index for each in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == ours.usage.prompt_tokens
    assert answer.model == ours.model


@pytest.mark.parametrize("dimensions", [None, 8])
def test_googles_own_sdk_reads_the_same_vectors(dimensions: int | None) -> None:
    with FakeProvider("gemini") as provider:
        client = genai.Client(
            api_key=provider.key,
            http_options={"base_url": provider.base_url.removesuffix("/v1beta"), "api_version": "v1beta"},
        )
        try:
            config: Any = {"output_dimensionality": dimensions}
            answer = client.models.embed_content(model="gemini-embedding-001", contents=TEXTS, config=config)
        finally:
            client.close()
        ours = embedded(provider, "gemini-embedding-001", dimensions=dimensions)
    assert [each.values for each in answer.embeddings or ()] == list(ours.vectors)


def raw(provider: FakeProvider, body: Any, path: str = "/embeddings") -> requests.Response:
    with session() as client:
        return client.post(provider.base_url + path, json=body, headers=headers_for(provider), timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("vendor", "body", "status"),
    [
        ("openai", {"model": "m", "input": "one text"}, 200),
        ("openai", {"model": "m", "input": []}, 400),
        ("openai", {"model": "m", "input": [""]}, 400),
        ("openai", {"model": "m", "input": ["a"] * 2049}, 400),
        ("openai", {"model": "m"}, 400),
        ("openai", {"input": "a"}, 400),
        ("openai", {"model": "m", "input": "a", "input_type": "query"}, 400),
        ("openai", {"model": "text-embedding-ada-002", "input": "a", "dimensions": 8}, 400),
        ("openai", {"model": "text-embedding-3-small", "input": "a", "dimensions": 1537}, 400),
        ("openai", {"model": "m", "input": "a", "dimensions": "8"}, 400),
        ("openai", [], 400),
        ("mistral", {"model": "m", "input": "a", "dimensions": 8}, 422),
        ("mistral", {"model": "m", "input": "a", "output_dimension": 8}, 200),
        ("generic", {"model": "m", "input": "a", "input_type": "query"}, 200),
    ],
)
def test_a_request_is_judged_as_the_vendor_judges_it(vendor: str, body: Any, status: int) -> None:
    with FakeProvider(vendor, vendor=vendor) as provider:
        assert raw(provider, body).status_code == status


@pytest.mark.parametrize(
    ("requests_", "status"),
    [
        ([{"model": "models/m", "content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY"}], 200),
        ([{"model": "models/m", "content": {"parts": [{"text": "a"}]}}] * 101, 400),
        ([{"model": "models/other", "content": {"parts": [{"text": "a"}]}}], 400),
        ([{"model": "models/m", "content": {"parts": [{"text": "a"}]}, "user": "u"}], 400),
        ([{"model": "models/m", "content": "a"}], 400),
        ([], 400),
        (None, 400),
    ],
)
def test_a_batch_is_judged_as_gemini_judges_it(requests_: Any, status: int) -> None:
    with FakeProvider("gemini") as provider:
        assert raw(provider, {"requests": requests_}, "/models/m:batchEmbedContents").status_code == status


def test_key_method_model_and_address_are_checked() -> None:
    request = {"model": "m", "input": "a"}
    with FakeProvider("openai", models=["n"]) as provider, session() as client:
        address = f"{provider.base_url}/embeddings"
        assert client.post(address, json=request, timeout=TIMEOUT).status_code == 401
        assert client.get(address, headers=headers_for(provider), timeout=TIMEOUT).status_code == 405
        assert raw(provider, request).status_code == 404
        assert raw(provider, {"model": "n", "input": "a"}).status_code == 200
    with FakeProvider("anthropic") as provider:
        assert raw(provider, request, "/v1/embeddings").status_code == 404


def test_whatever_befalls_chats_befalls_embeddings() -> None:
    request = build_embed_request(TEXTS, "m")
    with FakeProvider("openai", behaviour=Behaviour(Error(fault=Fault.RATE_LIMIT), chat_only=True)) as provider:
        answer = post(provider, request)
        failure = classify(
            answer.status_code, answer.headers, answer.content, vendor="openai", dialect="openai", model="m",
            clock_time=0.0,
        )  # fmt: skip
        assert failure.fault is Fault.RATE_LIMIT
        provider.behave(Behaviour(ErrorIn200()))
        assert post(provider, request).json()["error"]["message"]
        provider.behave(Behaviour(HalfJson()))
        with pytest.raises(requests.exceptions.JSONDecodeError):
            post(provider, request).json()
