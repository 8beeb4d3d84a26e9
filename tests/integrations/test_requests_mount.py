"""Existing ``requests`` code, answered by a router over fake providers on real sockets."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import Timeout

from failsafe import ConfigError, ProviderConfig, RetryConfig, Router, RouterConfig
from failsafe.faults import Fault
from failsafe.integrations.requests import mount, unmount
from failsafe.sim import BEHAVIOURS, Behaviour, Error, FakeProvider, Hang, Healthy, Redirect, StreamShape, Verbatim

CALLERS_KEY = "sk-the-callers-own-key"
MODEL = "gpt-4.1"
HELLO = [{"role": "user", "content": "hello"}]
OPENAI = "https://api.openai.com/v1/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/gpt-4.1"
OPENAI_BODY: dict[str, Any] = {"model": MODEL, "messages": HELLO}
ANTHROPIC_BODY: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": HELLO}
GEMINI_BODY: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
SLOW = Behaviour(Healthy(text="one two three four five six"), stream=StreamShape(interval=0.02))


@pytest.fixture(params=["openai", "anthropic", "gemini"])
def provider(request: pytest.FixtureRequest) -> Iterator[FakeProvider]:
    """A provider of each dialect, called ``first``."""
    with FakeProvider("first", vendor=request.param) as provider:
        yield provider


@pytest.fixture
def backup() -> Iterator[FakeProvider]:
    with FakeProvider("backup", vendor="openai") as provider:
        yield provider


def config_of(provider: FakeProvider, model: str) -> ProviderConfig:
    return ProviderConfig(
        name=provider.name,
        preset=provider.vendor,
        base_url=provider.base_url,
        api_key=provider.key,
        models={model: model},
    )


def router_over(*providers: FakeProvider, model: str = MODEL, **settings: Any) -> Router:
    return Router(RouterConfig(providers=[config_of(each, model) for each in providers], **settings))


@pytest.fixture
def session(provider: FakeProvider, backup: FakeProvider) -> Iterator[requests.Session]:
    """A session whose chats a router over both providers answers."""
    with router_over(provider, backup) as router, requests.Session() as session:
        mount(session, router)
        yield session


def chat_url(provider: FakeProvider, *, stream: bool = False) -> str:
    """The chat URL of a provider, as its client would write it."""
    if provider.dialect == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{provider.base_url}/models/{MODEL}:{method}"
    return provider.base_url + {"openai": "/chat/completions", "anthropic": "/v1/messages"}[provider.dialect]


def body_for(provider: FakeProvider, *, stream: bool = False) -> dict[str, Any]:
    if provider.dialect == "gemini":
        return GEMINI_BODY
    return {**(OPENAI_BODY if provider.dialect == "openai" else ANTHROPIC_BODY), "stream": stream}


def openai_texts(response: requests.Response) -> list[str]:
    """What people have today."""
    texts = []
    for line in response.iter_lines():
        if not line or not line.startswith(b"data: ") or line == b"data: [DONE]":
            continue
        choice = json.loads(line[len("data: ") :])["choices"][0]
        texts.append(choice["delta"].get("content") or "")
    return texts


# -------------------------------------------------------------------------------------------------
# Whole answers
# -------------------------------------------------------------------------------------------------


def test_a_client_of_openai_is_answered_whoever_answers(session: requests.Session, provider: FakeProvider) -> None:
    response = session.post(OPENAI, json=OPENAI_BODY, headers={"Authorization": f"Bearer {CALLERS_KEY}"})
    response.raise_for_status()
    assert response.json()["choices"][0]["message"]["content"] == "provider first says: hello"
    assert response.headers["x-failsafe-provider"] == "first"
    assert provider.count() == 1


def test_a_client_of_anthropic_is_answered_whoever_answers(session: requests.Session) -> None:
    headers = {"x-api-key": CALLERS_KEY, "anthropic-version": "2023-06-01"}
    response = session.post(ANTHROPIC, json=ANTHROPIC_BODY, headers=headers)
    message = response.json()
    assert (message["type"], message["content"][0]["text"]) == ("message", "provider first says: hello")


def test_a_client_of_gemini_is_answered_whoever_answers(session: requests.Session) -> None:
    response = session.post(f"{GEMINI}:generateContent", params={"key": CALLERS_KEY}, json=GEMINI_BODY)
    assert response.json()["candidates"][0]["content"]["parts"][0]["text"] == "provider first says: hello"


def test_the_response_is_what_requests_gives(session: requests.Session, provider: FakeProvider) -> None:
    url = chat_url(provider)
    response = session.post(url, json=body_for(provider))
    assert type(response) is requests.Response
    assert (response.status_code, response.ok, response.reason, response.url) == (200, True, "OK", url)
    assert response.request.url == url
    assert response.elapsed > timedelta(0)
    assert (response.encoding, response.headers["content-type"]) == ("utf-8", "application/json")
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert json.loads(response.text) == response.json()
    assert (response.history, response.is_redirect, dict(response.cookies)) == ([], False, {})
    assert (response.raw.status, response.raw.headers["Content-Type"]) == (200, "application/json")
    response.close()


def test_raw_can_be_read(session: requests.Session) -> None:
    with session.post(OPENAI, json=OPENAI_BODY, stream=True) as response:
        assert json.loads(response.raw.read())["object"] == "chat.completion"


def test_the_callers_key_is_sent_nowhere(
    session: requests.Session, provider: FakeProvider, backup: FakeProvider
) -> None:
    provider.behave(BEHAVIOURS["server-error"])
    session.headers["Authorization"] = f"Bearer {CALLERS_KEY}"
    session.post(OPENAI, json=OPENAI_BODY)
    session.post(ANTHROPIC, json=ANTHROPIC_BODY, headers={"x-api-key": CALLERS_KEY})
    failed = session.post(f"{GEMINI}:streamGenerateContent?key={CALLERS_KEY}", json=GEMINI_BODY)
    assert failed.status_code == 400
    assert CALLERS_KEY not in failed.text
    for each in (provider, backup):
        assert each.count() > 0
        assert CALLERS_KEY.encode() not in each.bytes_received


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(OPENAI_BODY),
        json.dumps(OPENAI_BODY).encode(),
        bytearray(json.dumps(OPENAI_BODY).encode()),
        memoryview(json.dumps(OPENAI_BODY).encode()),
        BytesIO(json.dumps(OPENAI_BODY).encode()),
        iter([json.dumps(OPENAI_BODY)[:20], json.dumps(OPENAI_BODY)[20:].encode()]),
    ],
    ids=["text", "bytes", "bytearray", "memoryview", "file", "pieces"],
)
def test_a_body_comes_in_every_form_of_requests(backup: FakeProvider, body: Any) -> None:
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        assert session.post(OPENAI, data=body).json()["choices"][0]["message"]["content"].endswith("hello")


# -------------------------------------------------------------------------------------------------
# Streams
# -------------------------------------------------------------------------------------------------


def test_lines_are_read_as_people_do(session: requests.Session, provider: FakeProvider) -> None:
    provider.behave(SLOW)
    response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    texts = [text for text in openai_texts(response) if text]
    assert "".join(texts) == "one two three four five six"
    assert len(texts) > 1


def test_lines_are_read_from_anthropics_format_as_people_do(session: requests.Session, provider: FakeProvider) -> None:
    provider.behave(SLOW)
    text = ""
    with session.post(ANTHROPIC, json={**ANTHROPIC_BODY, "stream": True}, stream=True) as response:
        for line in response.iter_lines(decode_unicode=True):
            if line.startswith("data:"):
                event = json.loads(line[5:])
                if event["type"] == "content_block_delta":
                    text += event["delta"]["text"]
    assert text == "one two three four five six"


def test_lines_are_read_from_geminis_format_as_people_do(session: requests.Session, provider: FakeProvider) -> None:
    provider.behave(SLOW)
    url = f"{GEMINI}:streamGenerateContent?alt=sse"
    text = ""
    with session.post(url, json=GEMINI_BODY, headers={"x-goog-api-key": CALLERS_KEY}, stream=True) as response:
        for line in response.iter_lines():
            if line:
                event = json.loads(line.removeprefix(b"data: "))
                text += event["candidates"][0]["content"]["parts"][0]["text"]
    assert text == "one two three four five six"


@pytest.mark.parametrize("size", [1, 7, 10_000, None])
def test_content_is_read_in_pieces_of_any_size(backup: FakeProvider, size: int | None) -> None:
    backup.behave(Behaviour(Healthy(text="zwölf Boxkämpfer")))
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
        pieces = list(response.iter_content(size))
    assert all(pieces)
    assert size is None or max(map(len, pieces)) <= size
    whole = b"".join(pieces).decode()
    assert whole.endswith("data: [DONE]\n\n")
    assert "Boxkämpfer" in whole


def test_a_piece_is_handed_on_before_the_next_one_is_there(backup: FakeProvider) -> None:
    backup.behave(Behaviour(Healthy(text="one two three four"), stream=StreamShape(stall_after=3)))
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        with session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True) as response:
            lines = response.iter_lines()  # 512 bytes at a time, and there is less
            first = next(line for line in lines if line)
        assert json.loads(first[6:])["object"] == "chat.completion.chunk"


def test_raw_is_read_as_a_file(backup: FakeProvider) -> None:
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        with session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True) as response:
            assert response.raw.read(6) == b"data: "
            assert len(response.raw.read(100)) == 100
            assert response.raw.read().endswith(b"data: [DONE]\n\n")
            assert response.raw.read() == b""


def test_a_stream_that_nobody_reads_piece_by_piece_is_one_body(backup: FakeProvider) -> None:
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True})
        assert "".join(openai_texts(response)) == "provider backup says: hello"


def test_thinking_goes_back_to_the_model_that_streamed_it() -> None:
    name = "claude-sonnet-4-5"
    asked = {"model": name, "max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 2048}}
    with FakeProvider("claude", vendor="anthropic") as claude:
        claude.behave(Behaviour(Healthy(text="Yes.", reasoning="Let me see.")))
        with router_over(claude, model=name) as router, requests.Session() as session:
            mount(session, router)
            events = [
                json.loads(line[6:])
                for line in session.post(ANTHROPIC, json={**asked, "messages": HELLO, "stream": True}).iter_lines()
                if line.startswith(b"data: ")
            ]
            deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
            thinking = {
                "type": "thinking",
                "thinking": "".join(delta.get("thinking", "") for delta in deltas),
                "signature": "".join(delta.get("signature", "") for delta in deltas),
            }
            said = {"role": "assistant", "content": [thinking, {"type": "text", "text": "Yes."}]}
            session.post(ANTHROPIC, json={**asked, "messages": [*HELLO, said, *HELLO]}).raise_for_status()
        sent = claude.requests[-1].decoded
    assert thinking == {"type": "thinking", "thinking": "Let me see.", "signature": "c2lt"}
    assert sent["messages"][1] == said
    assert sent["thinking"] == asked["thinking"]


def test_closing_the_response_closes_the_providers_socket(provider: FakeProvider) -> None:
    provider.behave(Behaviour(Healthy(text="word " * 50), stream=StreamShape(stall_after=4)))
    with router_over(provider) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
        next(response.iter_content(None))
        assert provider.open_connections == 1
        response.close()
        assert_closed(provider)
        assert response.raw.closed
        assert list(response.raw.stream()) == []
        response.close()


def test_a_response_that_is_dropped_closes_the_providers_socket(provider: FakeProvider) -> None:
    provider.behave(Behaviour(Healthy(text="word " * 50), stream=StreamShape(stall_after=4)))
    with router_over(provider) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
        next(response.iter_content(None))
        del response
        gc.collect()
        assert_closed(provider)


def test_another_thread_may_close_a_response_that_is_waited_for(provider: FakeProvider) -> None:
    provider.behave(Behaviour(Healthy(text="word " * 50), stream=StreamShape(stall_after=4)))
    with router_over(provider) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
        begun, read = threading.Event(), []

        def consume() -> None:
            for piece in response.iter_content(None):
                read.append(piece)
                begun.set()

        reader = threading.Thread(target=consume)
        reader.start()
        assert begun.wait(10)
        response.close()
        reader.join(10)
        assert not reader.is_alive()
        assert_closed(provider)


def assert_closed(provider: FakeProvider) -> None:
    """Our end of every connection is closed: the provider, which never ends by itself, notices."""
    ended = threading.Event()
    for _ in range(1000):
        if provider.open_connections == 0:
            return
        ended.wait(0.01)
    raise AssertionError(f"{provider.open_connections} connections are still open")


# -------------------------------------------------------------------------------------------------
# Failover and errors
# -------------------------------------------------------------------------------------------------


def test_the_next_provider_answers_when_the_first_is_down(
    session: requests.Session, provider: FakeProvider, backup: FakeProvider
) -> None:
    provider.behave(BEHAVIOURS["server-error"])
    whole = session.post(chat_url(provider), json=body_for(provider))
    assert (whole.status_code, whole.headers["x-failsafe-provider"]) == (200, "backup")
    streamed = session.post(chat_url(provider, stream=True), json=body_for(provider, stream=True), stream=True)
    assert (streamed.status_code, streamed.headers["x-failsafe-provider"]) == (200, "backup")
    assert b"backup" in streamed.content


def test_nobody_left_is_an_error_in_the_clients_own_format(provider: FakeProvider) -> None:
    provider.behave(BEHAVIOURS["server-error"])
    with router_over(provider, retry=RetryConfig(max_retries=0)) as router, requests.Session() as session:
        mount(session, router)
        for url, body, place in (
            (OPENAI, OPENAI_BODY, ("error", "code")),
            (ANTHROPIC, ANTHROPIC_BODY, ("error", "type")),
            (f"{GEMINI}:generateContent", GEMINI_BODY, ("error", "status")),
            (OPENAI, {**OPENAI_BODY, "stream": True}, ("error", "code")),
        ):
            response = session.post(url, json=body, stream=True)
            assert (response.status_code, response.reason) == (503, "Service Unavailable")
            assert response.json()[place[0]][place[1]] in ("all_providers_failed", "overloaded_error", "UNAVAILABLE")
            with pytest.raises(requests.HTTPError, match="503 Server Error"):
                response.raise_for_status()


def test_the_callers_mistake_is_his_to_know(session: requests.Session, provider: FakeProvider) -> None:
    response = session.post(OPENAI, json={**OPENAI_BODY, "temperature": 9})
    assert response.status_code == 400
    assert "temperature" in response.json()["error"]["message"]
    assert session.post(OPENAI, data="no JSON").status_code == 400
    assert session.post(OPENAI).status_code == 400
    assert provider.count() == 0


def test_rate_limits_say_when_to_come_again(backup: FakeProvider) -> None:
    backup.behave(Behaviour(Error(fault=Fault.RATE_LIMIT, retry_after=20)))
    with router_over(backup, retry=RetryConfig(max_retries=0)) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json=OPENAI_BODY)
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) >= 19


def test_a_stream_that_breaks_off_says_so_in_its_own_format(provider: FakeProvider) -> None:
    provider.behave(Behaviour(Healthy(text="word " * 9), stream=StreamShape(cut_after=5)))
    with router_over(provider) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
        lines = [line for line in response.iter_lines() if line]
        assert "error" in json.loads(lines[-1][6:])
        anthropics = session.post(ANTHROPIC, json={**ANTHROPIC_BODY, "stream": True}).text
        assert "event: error" in anthropics


def test_the_next_provider_goes_on_where_one_broke_off(provider: FakeProvider, backup: FakeProvider) -> None:
    provider.behave(Behaviour(Healthy(text="word " * 9), stream=StreamShape(cut_after=5)))
    backup.behave(Behaviour(Healthy(text="and the rest")))
    with router_over(provider, backup) as router, requests.Session() as session:
        mount(session, router, on_interrupt="continue")
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True)
        text = "".join(openai_texts(response))
    assert text.startswith("word ")
    assert text.endswith("and the rest")


@pytest.mark.parametrize("timeout", [0.3, (5, 0.3), Timeout(0.3), Timeout(connect=5, read=0.3)])
def test_the_timeout_is_the_deadline_of_the_whole_call(backup: FakeProvider, timeout: Any) -> None:
    backup.behave(Behaviour(delivery=Hang()))
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json=OPENAI_BODY, timeout=timeout)
        assert (response.status_code, response.reason) == (504, "Gateway Timeout")


def test_the_timeout_ends_a_stream_too(backup: FakeProvider) -> None:
    backup.behave(Behaviour(Healthy(text="word " * 50), stream=StreamShape(stall_after=4)))
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        response = session.post(OPENAI, json={**OPENAI_BODY, "stream": True}, stream=True, timeout=0.4)
        assert b'"error"' in response.content.splitlines()[-2]


def test_without_a_timeout_the_routers_own_holds(backup: FakeProvider) -> None:
    backup.behave(Behaviour(delivery=Hang()))
    with router_over(backup, timeout=0.3) as router, requests.Session() as session:
        mount(session, router)
        for timeout in (None, (5, None), Timeout(connect=5)):
            assert session.post(OPENAI, json=OPENAI_BODY, timeout=timeout).status_code == 504  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), (1, 0), (5, -0.5)])
def test_a_timeout_of_nothing_is_refused_in_the_format_of_the_url(backup: FakeProvider, timeout: Any) -> None:
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        for url, body in (
            (OPENAI, OPENAI_BODY),
            (ANTHROPIC, ANTHROPIC_BODY),
            (f"{GEMINI}:generateContent", GEMINI_BODY),
        ):
            refused = session.post(url, json=body, timeout=timeout)
            assert refused.status_code == 400
            assert ": a number of seconds above 0 is needed" in refused.json()["error"]["message"]
    assert backup.count() == 0


@pytest.mark.parametrize("timeout", [True, "5", (1, 2, 3), (1, "2")])
def test_what_is_no_timeout_at_all_is_refused_as_requests_does(backup: FakeProvider, timeout: Any) -> None:
    with router_over(backup) as router, requests.Session() as session:
        mount(session, router)
        with pytest.raises(ValueError, match="timeout="):
            session.post(OPENAI, json=OPENAI_BODY, timeout=timeout)
    assert backup.count() == 0


# -------------------------------------------------------------------------------------------------
# What is mounted where
# -------------------------------------------------------------------------------------------------


class Recording(BaseAdapter):
    """Answers everything with 299 and counts what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.closed = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        self.sent.append(f"{request.method} {request.url}")
        response = requests.Response()
        response.status_code, response.raw, response.url = 299, BytesIO(b"own"), request.url or ""
        return response

    def close(self) -> None:
        self.closed += 1


CHATS = [
    OPENAI,
    "https://api.openai.com/v1/chat/completions/",
    "https://API.OpenAI.com/v1/chat/completions?x=1",
    "https://api.deepseek.com/chat/completions",
    "https://api.deepseek.com/v1/chat/completions",
    "https://api.groq.com/openai/v1/chat/completions",
    "https://openrouter.ai/api/v1/chat/completions",
    "https://api.holysheep.ai/v1/chat/completions",
    "https://api.anthropic.com/v1/chat/completions",
    "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
    "http://127.0.0.1:11434/v1/chat/completions",
    "http://localhost:11434/v1/chat/completions",
    "https://gateway.example.com/llm/chat/completions",
    ANTHROPIC,
    "https://api.deepseek.com/anthropic/v1/messages",
    "https://gateway.example.com/claude/v1/messages",
    f"{GEMINI}:generateContent",
    f"{GEMINI}:streamGenerateContent?alt=sse",
    "https://generativelanguage.googleapis.com/v1/models/gpt-4.1:generateContent",
]
OTHERS = [
    ("GET", "https://api.openai.com/v1/models"),
    ("GET", OPENAI),
    ("GET", "https://api.openai.com/v1/embeddings"),
    ("POST", "https://api.openai.com/v1/embeddings/abc"),
    ("POST", "https://example.com/v1/embeddings"),
    ("POST", f"{OPENAI}/abc"),
    ("POST", f"{ANTHROPIC}/batches"),
    ("POST", "https://api.anthropic.com/v1/messages/count_tokens"),
    ("GET", GEMINI),
    ("POST", f"{GEMINI}:countTokens"),
    ("POST", "https://api.openai.com.example.org/v1/chat/completions"),
    ("POST", "https://example.com/v1/chat/completions"),
]


@pytest.fixture
def recorded(backup: FakeProvider) -> Iterator[tuple[requests.Session, Recording, Router]]:
    """A session with a router mounted over an adapter that records everything else."""
    with router_over(backup) as router, requests.Session() as session:
        below = Recording()
        session.mount("https://", below)
        session.mount("http://", below)
        mount(
            session, router,
            urls={"https://gateway.example.com/llm": "openai", "https://gateway.example.com/claude": "anthropic"},
        )  # fmt: skip
        yield session, below, router


@pytest.mark.parametrize("url", CHATS)
def test_chats_of_every_known_provider_are_answered(recorded: Any, url: str) -> None:
    session, below, _ = recorded
    body = ANTHROPIC_BODY if "/v1/messages" in url else GEMINI_BODY if "/models/" in url else OPENAI_BODY
    response = session.post(url, json=body)
    assert (response.status_code, below.sent) == (200, [])


@pytest.mark.parametrize(("method", "url"), OTHERS)
def test_everything_else_goes_where_it_went_before(recorded: Any, method: str, url: str) -> None:
    session, below, _ = recorded
    response = session.request(method, url, json=OPENAI_BODY)
    assert (response.status_code, below.sent) == (299, [f"{method} {url}"])


def test_other_requests_are_redirected_hooked_and_given_cookies_as_ever(
    provider: FakeProvider, backup: FakeProvider
) -> None:
    provider.behave(Behaviour(Redirect(location=f"{backup.base_url}/models", status=302)))
    backup.behave(Behaviour(Verbatim(body=b"{}", headers=(("Set-Cookie", "seen=1"),))))
    hooked: list[int] = []
    with router_over(provider, backup) as router, requests.Session() as session:
        mount(session, router)
        session.hooks["response"].append(lambda response, **_: hooked.append(response.status_code))
        models = session.get(f"{provider.base_url}/models")
        assert isinstance(models.connection, HTTPAdapter)
        assert (models.url, len(models.history), session.cookies["seen"]) == (f"{backup.base_url}/models", 1, "1")
        assert hooked == [302, 200]
        for each in (provider, backup):
            each.behave(BEHAVIOURS["healthy"])
        assert session.post(chat_url(backup), json=OPENAI_BODY).status_code == 200
    assert hooked == [302, 200, 200]


def test_an_adapter_mounted_at_the_very_same_place_is_put_back(backup: FakeProvider) -> None:
    with router_over(backup) as router, requests.Session() as session:
        own = Recording()
        session.mount(OPENAI, own)
        before = list(session.adapters.items())
        mount(session, router)
        assert session.post(OPENAI, json=OPENAI_BODY).status_code == 200
        assert session.get(OPENAI).status_code == 299
        unmount(session)
        assert list(session.adapters.items()) == before
        unmount(session)
        assert session.post(OPENAI).status_code == 299


def test_an_adapter_that_is_mounted_later_is_used(recorded: Any) -> None:
    session, below, _ = recorded
    later = Recording()
    session.mount("https://api.openai.com/", later)
    assert session.get("https://api.openai.com/v1/models").status_code == 299
    assert session.get(OPENAI).status_code == 299
    assert (len(later.sent), below.sent) == (2, [])
    assert session.post(OPENAI, json=OPENAI_BODY).status_code == 200


def test_without_any_adapter_beneath_the_error_is_that_of_requests(backup: FakeProvider) -> None:
    with router_over(backup) as router, requests.Session() as session:
        session.adapters.clear()
        mount(session, router)
        with pytest.raises(requests.exceptions.InvalidSchema, match="No connection adapters"):
            session.get(OPENAI)


def test_mounting_twice_is_mounting_the_second(recorded: Any, provider: FakeProvider) -> None:
    session, _, _ = recorded
    count = len(session.adapters)
    with router_over(provider) as other:
        mount(session, other)
        assert session.post(OPENAI, json=OPENAI_BODY).headers["x-failsafe-provider"] == "first"
        assert session.get(OPENAI).status_code == 299
        mount(session, other)
        assert abs(len(session.adapters) - count) < 6  # the providers' own URLs differ, and nothing piles up
        unmount(session)
    assert sorted(session.adapters) == ["http://", "https://"]
    assert session.post(OPENAI, json=OPENAI_BODY).status_code == 299


def test_closing_the_session_closes_its_adapters_and_not_the_router(backup: FakeProvider) -> None:
    with router_over(backup) as router:
        session, own = requests.Session(), Recording()
        session.mount(OPENAI, own)
        mount(session, router)
        session.close()
        assert own.closed == 1
        assert router.chat("hello", model=MODEL).provider == "backup"


def test_the_routers_own_sessions_are_not_its_clients(session: requests.Session, provider: FakeProvider) -> None:
    # The URL that is posted to is the very one that the router asks.
    response = session.post(chat_url(provider), json=body_for(provider))
    assert (response.status_code, provider.count()) == (200, 1)
    assert provider.requests[0].headers["user-agent"] != session.headers["User-Agent"]


def test_threads_share_a_session(session: requests.Session, provider: FakeProvider) -> None:
    barrier, answers = threading.Barrier(8), []

    def ask(number: int) -> None:
        barrier.wait(10)
        body = {**OPENAI_BODY, "messages": [{"role": "user", "content": f"thread {number}"}], "stream": number % 2 == 0}
        content = session.post(OPENAI, json=body).text
        answers.append(f"thread {number}"[-1] in content)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [True] * 8
    assert provider.count() == 8


def test_mounting_while_threads_send_lets_each_request_see_all_or_nothing(backup: FakeProvider) -> None:
    stop, statuses = threading.Event(), set()
    with router_over(backup) as router, requests.Session() as session:
        below = Recording()
        session.mount("https://", below)

        def send() -> None:
            while not stop.is_set():
                statuses.add(session.post(OPENAI, json=OPENAI_BODY).status_code)

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(50):
            mount(session, router)
            unmount(session)
        stop.set()
        sender.join(30)
    assert statuses <= {200, 299}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"urls": {"https://x.example/v1": "cohere"}}, "urls"),
        ({"urls": {"x.example/v1": "openai"}}, "a key of urls"),
        ({"urls": {"https://user:secret@x.example": "openai"}}, "a key of urls"),
        ({"on_interrupt": "restart"}, "on_interrupt"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_mounted(
    backup: FakeProvider, settings: dict[str, Any], said: str
) -> None:
    with router_over(backup) as router, requests.Session() as session:
        before = dict(session.adapters)
        with pytest.raises(ConfigError, match=said) as caught:
            mount(session, router, **settings)
        assert "secret" not in str(caught.value)
        assert dict(session.adapters) == before
