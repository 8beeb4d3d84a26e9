"""The ids of requests, by which a provider's support desk finds them, as the official SDKs tell them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from failsafe.integrations.requests import mount
from failsafe.policy_config import RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, FakeCloud, FakeProvider
from tests.acceptance.routers import closing, config
from tests.integrations.sdks import Asked, anthropic_over, openai_over

ASK: Any = {"model": "fast", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
every_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
VENDORS = {"oai": "openai", "ant": "anthropic", "gem": "gemini"}
"""Of the providers by their names: so short that no id with the name in it can be taken for a part of the key."""
every_provider = pytest.mark.parametrize("name", VENDORS)


@contextmanager
def asked(*names: str) -> Iterator[Asked]:
    """A router over fake providers of these names."""
    with FakeCloud([FakeProvider(name, vendor=VENDORS[name]) for name in names]) as cloud:
        presets = {name: {"preset": VENDORS[name]} for name in names}
        with closing(Router(config(cloud, of=presets, retry=RetryConfig(max_retries=0)))) as router:
            yield Asked(cloud, router)


def given_by(providers: Asked, name: str) -> str | None:
    """The id that the provider gave the last request; Gemini gives none."""
    return None if name == "gem" else f"req_{name}_{providers[name].count():08d}"


@every_way
@every_provider
def test_openais_sdk_tells_the_providers_own_id(name: str, stream: bool) -> None:
    with asked(name) as providers, openai_over(providers.router) as sdk:
        raw = sdk.chat.completions.with_raw_response.create(**ASK, stream=stream)
        if stream:
            assert list(raw.parse())
        assert raw.request_id == raw.headers.get("x-request-id") == given_by(providers, name)
        assert raw.headers["x-failsafe-provider"] == name


@every_way
@every_provider
def test_anthropics_sdk_tells_the_providers_own_id(name: str, stream: bool) -> None:
    with asked(name) as providers, anthropic_over(providers.router) as sdk:
        raw: Any = sdk.messages.with_raw_response.create(**ASK, stream=stream)
        if stream:
            assert list(raw.parse())
        assert raw.request_id == raw.headers.get("request-id") == given_by(providers, name)
        assert raw.headers["x-failsafe-provider"] == name


def test_a_stream_of_anthropics_sdk_knows_it_while_it_is_read() -> None:
    with (
        asked("ant") as providers,
        anthropic_over(providers.router) as sdk,
        sdk.messages.stream(**ASK) as stream,
    ):
        assert stream.request_id == given_by(providers, "ant")
        assert "".join(stream.text_stream)


@every_way
def test_the_id_is_of_the_provider_that_answers_and_not_of_one_that_failed(
    stream: bool, expect_logs: pytest.LogCaptureFixture
) -> None:
    with asked("oai", "ant") as providers, openai_over(providers.router) as sdk:
        providers["oai"].behave(BEHAVIOURS["server-error"])
        raw = sdk.chat.completions.with_raw_response.create(**ASK, stream=stream)
        if stream:
            assert list(raw.parse())
        assert raw.request_id == given_by(providers, "ant") != given_by(providers, "oai")


def test_a_session_is_told_the_id_of_a_stream() -> None:
    with asked("ant") as providers, requests.Session() as session:
        mount(session, providers.router)
        url = "https://api.openai.com/v1/chat/completions"
        with session.post(url, json={**ASK, "stream": True}, stream=True) as response:
            assert response.headers["x-request-id"] == given_by(providers, "ant")
            assert response.content.endswith(b"data: [DONE]\n\n")
