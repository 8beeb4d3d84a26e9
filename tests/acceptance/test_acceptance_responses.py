"""A program's own tests that mock the provider with ``responses`` work on a Router unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests
import responses

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import AllProvidersFailed
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.policy_config import RetryConfig
from failsafe.router import Router

SPARE = "https://spare.example/v1"


class Mocked(NamedTuple):
    """How one dialect's endpoint is mocked."""

    model: str
    url: str
    answer: dict[str, Any]
    key_header: tuple[str, str]


DIALECTS = {
    "openai": Mocked(
        "gpt-4.1-mini",
        "https://api.openai.com/v1/chat/completions",
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-4.1-mini",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "mocked"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        },
        ("Authorization", "Bearer sk-mocked-openai"),
    ),
    "anthropic": Mocked(
        "claude-haiku-4-5",
        "https://api.anthropic.com/v1/messages",
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [{"type": "text", "text": "mocked"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
        ("x-api-key", "sk-mocked-anthropic"),
    ),
    "gemini": Mocked(
        "gemini-3.5-flash",
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.5-flash:generateContent",
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "mocked"}]}, "finishReason": "STOP"}],
            "modelVersion": "gemini-3.5-flash",
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        },
        ("x-goog-api-key", "sk-mocked-gemini"),
    ),
}


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mocked:
        yield mocked


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def router(dialect: str) -> Iterator[Router]:
    providers = [
        ProviderConfig(name=dialect, api_key=f"sk-mocked-{dialect}"),
        ProviderConfig(name="spare", base_url=SPARE, api_key="sk-mocked-spare"),
    ]
    with Router(RouterConfig(providers=providers, retry=RetryConfig(max_retries=0))) as made:
        yield made


def test_a_mocked_answer_is_an_answer(router: Router, dialect: str, mock: responses.RequestsMock) -> None:
    mocked = DIALECTS[dialect]
    mock.post(mocked.url, json=mocked.answer, headers={"x-request-id": "req-1", "request-id": "req-1"})
    reply = router.chat("hello", model=mocked.model)
    assert (reply.content, reply.provider, reply.finish_reason) == ("mocked", dialect, "stop")
    assert reply.usage.total_tokens == 2
    sent = mock.calls[0].request
    assert sent.headers[mocked.key_header[0]] == mocked.key_header[1]


def test_a_mocked_request_can_be_matched_by_its_body(
    router: Router, dialect: str, mock: responses.RequestsMock
) -> None:
    mocked = DIALECTS[dialect]
    bodies: dict[str, dict[str, Any]] = {
        "openai": {"messages": [{"role": "user", "content": "hello"}]},
        "anthropic": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
    }
    mock.post(
        mocked.url,
        json=mocked.answer,
        match=[responses.matchers.json_params_matcher(bodies[dialect], strict_match=False)],
    )
    assert router.chat("hello", model=mocked.model).content == "mocked"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_after_a_mocked_refusal_the_other_host_answers(
    router: Router, dialect: str, mock: responses.RequestsMock, status: int
) -> None:
    mocked = DIALECTS[dialect]
    mock.post(mocked.url, status=status, json={"error": {"message": "no"}}, headers={"Retry-After": "20"})
    mock.post(f"{SPARE}/chat/completions", json={**DIALECTS["openai"].answer, "model": mocked.model})
    reply = router.chat("hello", model=mocked.model)
    assert (reply.content, reply.provider) == ("mocked", "spare")
    assert (reply.attempts[0].status, reply.attempts[0].retry_after) == (status, 20)


@pytest.mark.parametrize(
    ("raised", "fault", "phase"),
    [
        (requests.ConnectionError("the key is sk-mocked"), Fault.NETWORK, Phase.CONNECT),
        (requests.ConnectTimeout("late"), Fault.CONNECT_TIMEOUT, Phase.CONNECT),
        (requests.ReadTimeout("late"), Fault.TIMEOUT, Phase.WAIT),
        (requests.exceptions.ChunkedEncodingError("cut"), Fault.TRUNCATED, Phase.READ),
    ],
)
def test_after_a_mocked_breakdown_the_other_host_answers(
    router: Router, dialect: str, mock: responses.RequestsMock, raised: Exception, fault: Fault, phase: Phase
) -> None:
    mocked = DIALECTS[dialect]
    mock.post(mocked.url, body=raised)
    mock.post(f"{SPARE}/chat/completions", json={**DIALECTS["openai"].answer, "model": mocked.model})
    reply = router.chat("hello", model=mocked.model)
    assert reply.provider == "spare"
    assert (reply.attempts[0].fault, reply.attempts[0].phase) == (fault, phase)
    assert "sk-mocked" not in reply.attempts[0].message


@pytest.mark.usefixtures("mock")
def test_what_is_not_mocked_fails_as_a_connection_does(router: Router, dialect: str) -> None:
    with pytest.raises(AllProvidersFailed) as raised:
        router.chat("hello", model=DIALECTS[dialect].model)
    assert {attempt.fault for attempt in raised.value.attempts} == {Fault.NETWORK}
