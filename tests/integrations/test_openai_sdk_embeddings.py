"""Embeddings through the official ``openai`` SDK, a ``requests`` session and the gateway, answered by a router."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests

from failsafe import loader
from failsafe.gateway import Gateway
from failsafe.gateway.server import GatewayServer
from failsafe.integrations.requests import mount
from failsafe.policy_config import RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, FakeCloud
from failsafe.sim.embeddings import vector
from tests.acceptance.routers import GRACE, PATIENCE, stopwatch
from tests.integrations.sdks import SDK_KEY, Asked, asked, nothing_held, openai_over

SMALL = "text-embedding-3-small"
TEXTS = ["one", "two", "one"]
LENGTH = 1536
TOKEN = "a-token-of-the-tests-93ab"
EMBEDDINGS_URL = "https://api.openai.com/v1/embeddings"
ABROAD = {"openrouter": {"models": {SMALL: f"openai/{SMALL}"}}}
FORMS = [openai.omit, "float", "base64"]
every_form = pytest.mark.parametrize("form", FORMS, ids=["usual", "float", "base64"])


@pytest.fixture
def two() -> Iterator[Asked]:
    """Two providers of the same model, one of them under another name, and a third without embeddings."""
    with asked("anthropic", "openai", "openrouter", of=ABROAD, retry=RetryConfig(max_retries=0)) as providers:
        yield providers


def expected(*texts: str, length: int = LENGTH) -> list[list[float]]:
    return [vector(SMALL, text, length) for text in texts]


# -------------------------------------------------------------------------------------------------
# The SDK
# -------------------------------------------------------------------------------------------------


@every_form
def test_the_sdk_is_given_a_vector_a_text(two: Asked, form: Any) -> None:
    with openai_over(two.router) as sdk:
        answer = sdk.embeddings.create(model=SMALL, input=TEXTS, encoding_format=form)
    if form != "base64":  # which the SDK leaves packed only if it is asked for in so many words
        assert [each.embedding for each in answer.data] == expected(*TEXTS)
    assert [(each.object, each.index) for each in answer.data] == [("embedding", 0), ("embedding", 1), ("embedding", 2)]
    assert (answer.object, answer.model) == ("list", SMALL)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (3, 3)
    assert two.count() == {"anthropic": 0, "openai": 1, "openrouter": 0}


@every_form
def test_what_is_given_is_what_the_vendor_would_have_given(two: Asked, form: Any) -> None:
    fields: dict[str, Any] = {"model": SMALL, "input": TEXTS, "encoding_format": form, "dimensions": 16}
    with openai.OpenAI(api_key=two["openai"].key, base_url=two["openai"].base_url, max_retries=0) as vendor:
        own = vendor.embeddings.create(**fields)
    with openai_over(two.router) as sdk:
        assert sdk.embeddings.create(**fields) == own


@every_form
def test_one_text_gives_one_vector(two: Asked, form: Any) -> None:
    with openai_over(two.router) as sdk:
        (one,) = sdk.embeddings.create(model=SMALL, input="one", encoding_format=form, dimensions=16).data
    if form != "base64":
        assert one.embedding == expected("one", length=16)[0]


def test_the_answer_says_who_gave_it_and_under_which_id(two: Asked) -> None:
    with openai_over(two.router) as sdk:
        raw = sdk.embeddings.with_raw_response.create(model=SMALL, input="one")
    assert raw.headers["x-failsafe-provider"] == "openai"
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.request_id


def test_what_is_asked_for_reaches_the_provider_and_the_clients_key_nobody(two: Asked) -> None:
    with openai_over(two.router) as sdk:
        sdk.embeddings.create(model=SMALL, input="one", dimensions=16, user="u-1")
    assert two["openai"].requests[-1].decoded == {"model": SMALL, "input": ["one"], "dimensions": 16, "user": "u-1"}
    for leaked in (SDK_KEY, "x-stainless", "OpenAI/Python"):
        assert leaked.encode().lower() not in two.received().lower()


@pytest.mark.parametrize("behaviour", ["refuse", "server-error", "rate-limit", "html", "close", "wrong-key"])
def test_a_provider_that_is_down_is_not_noticed(
    two: Asked, behaviour: str, expect_logs: pytest.LogCaptureFixture
) -> None:
    two["openai"].behave(BEHAVIOURS[behaviour])
    with openai_over(two.router) as sdk:
        raw = sdk.embeddings.with_raw_response.create(model=SMALL, input=TEXTS)
        answer = raw.parse()
    assert raw.headers["x-failsafe-provider"] == "openrouter"
    assert [each.embedding for each in answer.data] == expected(*TEXTS)
    assert nothing_held(two.router)


def test_a_name_of_your_own_stands_for_what_gives_the_same_vectors() -> None:
    names = {"docs": [f"openrouter:openai/{SMALL}"]}
    with asked("openai", "openrouter", embeddings=names) as providers, openai_over(providers.router) as sdk:
        answer = sdk.embeddings.create(model="docs", input="one")
    assert [each.embedding for each in answer.data] == expected("one")
    assert answer.model == f"openai/{SMALL}"


def test_googles_vectors_come_in_openais_form_and_fields_of_others_do_not_reach_it() -> None:
    with asked("gemini") as providers, openai_over(providers.router) as sdk:
        answer = sdk.embeddings.create(
            model="gemini-embedding-001", input=TEXTS, dimensions=16, user="u-1", extra_body={"input_type": "query"}
        )
        sent = providers["gemini"].requests[-1].decoded
    assert [each.embedding for each in answer.data] == [vector("gemini-embedding-001", text, 16) for text in TEXTS]
    assert answer.model == "gemini-embedding-001"
    assert {name for each in sent["requests"] for name in each} == {"model", "content", "outputDimensionality"}


def test_an_alias_of_chat_models_is_refused_as_the_clients_mistake(two: Asked) -> None:
    with openai_over(two.router) as sdk, pytest.raises(openai.BadRequestError, match="cannot be compared") as raised:
        sdk.embeddings.create(model="fast", input="one")
    assert raised.value.type == "invalid_request_error"
    assert sum(two.count().values()) == 0


def test_a_model_that_nobody_serves_is_not_found(two: Asked) -> None:
    with openai_over(two.router) as sdk, pytest.raises(openai.NotFoundError, match="no-such-model") as raised:
        sdk.embeddings.create(model="no-such-model", input="one")
    assert raised.value.code == "model_not_found"
    assert sum(two.count().values()) == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": [1, 2, 3]}, "send the texts themselves"),
        ({"input": [[1, 2], [3]]}, "send the texts themselves"),
        ({"input": []}, "1 to 2048 texts"),
        ({"input": ["one", ""]}, "input.1. = ''"),
        ({"input": "one", "encoding_format": "int8"}, "float or base64"),
        ({"input": "one", "dimensions": -1}, "dimensions = -1"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_openais_terms(two: Asked, fields: dict[str, Any], said: str) -> None:
    with openai_over(two.router) as sdk, pytest.raises(openai.BadRequestError, match=said):
        sdk.embeddings.create(model=SMALL, **fields)
    assert sum(two.count().values()) == 0


def test_where_nobody_answers_the_receipt_is_in_the_sdks_own_error(
    two: Asked, expect_logs: pytest.LogCaptureFixture
) -> None:
    for name in ("openai", "openrouter"):
        two[name].behave(BEHAVIOURS["server-error"])
    with openai_over(two.router) as sdk, pytest.raises(openai.InternalServerError) as raised:
        sdk.embeddings.create(model=SMALL, input="one")
    assert raised.value.code == "all_providers_failed"
    assert "openai" in str(raised.value)
    assert "openrouter" in str(raised.value)
    assert two.count() == {"anthropic": 0, "openai": 1, "openrouter": 1}


def test_the_sdks_timeout_is_the_deadline_of_the_whole_call(expect_logs: pytest.LogCaptureFixture) -> None:
    with asked("openai") as providers, openai_over(providers.router) as sdk:
        providers["openai"].behave(BEHAVIOURS["hang"])
        took = stopwatch()
        with pytest.raises(openai.InternalServerError) as raised:
            sdk.embeddings.create(model=SMALL, input="one", timeout=0.3)
        assert took() < 0.3 + GRACE
    assert raised.value.status_code == 504


# -------------------------------------------------------------------------------------------------
# A requests session, and the gateway
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [EMBEDDINGS_URL, f"{EMBEDDINGS_URL}/", "https://openrouter.ai/api/v1/embeddings?x=1"])
def test_a_session_is_answered_whoever_answers(two: Asked, url: str, expect_logs: pytest.LogCaptureFixture) -> None:
    two["openai"].behave(BEHAVIOURS["server-error"])
    with requests.Session() as session:
        mount(session, two.router)
        response = session.post(url, json={"model": SMALL, "input": TEXTS}, headers={"Authorization": "Bearer x"})
    response.raise_for_status()
    assert response.headers["x-failsafe-provider"] == "openrouter"
    assert [each["embedding"] for each in response.json()["data"]] == expected(*TEXTS)


def test_a_session_is_told_of_mistakes_in_openais_form(two: Asked) -> None:
    with requests.Session() as session:
        mount(session, two.router, urls={"https://gateway.example/llm": "openai"})
        for url in (EMBEDDINGS_URL, "https://gateway.example/llm/embeddings"):
            refused = session.post(url, json={"model": "fast", "input": "one"})
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_chat_is_never_answered_at_the_address_for_embeddings(two: Asked) -> None:
    chat = {"model": "fast", "messages": [{"role": "user", "content": "hi"}]}
    with requests.Session() as session:
        mount(session, two.router)
        refused = session.post(EMBEDDINGS_URL, json=chat)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("input = None")
    assert sum(two.count().values()) == 0


def test_the_sdk_is_answered_by_the_gateway_on_a_port(expect_logs: pytest.LogCaptureFixture) -> None:
    with FakeCloud.of("openai", "openrouter") as cloud:
        cloud["openai"].behave(BEHAVIOURS["refuse"])
        settings = loader.parse(
            tomllib.loads(f'{cloud.as_toml()}\n[embeddings]\ndocs = ["{SMALL}", "openrouter:openai/{SMALL}"]')
        )
        with (
            Router(settings) as router,
            GatewayServer(Gateway(router, TOKEN)) as server,
            openai.OpenAI(api_key=TOKEN, base_url=f"{server.url}/v1", timeout=PATIENCE, max_retries=0) as sdk,
        ):
            answer = sdk.embeddings.create(model="docs", input=TEXTS)
            assert "docs" in [model.id for model in sdk.models.list()]
            with pytest.raises(openai.NotFoundError):
                sdk.embeddings.create(model="no-such-model", input="one")
    assert [each.embedding for each in answer.data] == expected(*TEXTS)
