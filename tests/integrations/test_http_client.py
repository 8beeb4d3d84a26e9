"""The HTTP client that the SDKs are given: what it answers, what it refuses, what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol

import httpx2
import openai
import pytest

from failsafe.errors import ConfigError
from failsafe.integrations import anthropic as failsafe_anthropic
from failsafe.integrations import http_client
from failsafe.integrations import openai as failsafe_openai
from failsafe.router import Router
from failsafe.testing import answer
from tests.integrations.sdks import SDK_KEY, openai_over
from tests.router_bench import Bench

CHAT = "https://api.openai.com/v1/chat/completions"
BODY: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}


class MakesClient(Protocol):
    """As the two functions ``client``."""

    def __call__(
        self, router: Router, *, on_interrupt: Any = "raise", other_requests: httpx2.BaseTransport | None = None
    ) -> httpx2.Client: ...


both = pytest.mark.parametrize(
    ("make", "url", "body"),
    [
        (failsafe_openai.client, CHAT, BODY),
        (failsafe_anthropic.client, "https://api.anthropic.com/v1/messages", {**BODY, "max_tokens": 5}),
    ],
    ids=["openai", "anthropic"],
)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(answer("hello"))
    yield bench
    bench.router.close()


class Elsewhere(httpx2.BaseTransport):
    """Where other requests go, and what was sent there."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.closed = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        return httpx2.Response(200, json={"object": "list", "data": [{"id": "gpt-x", "object": "model"}]})

    def close(self) -> None:
        self.closed = True


@both
def test_a_chat_request_is_answered_whatever_host_it_was_meant_for(
    make: MakesClient, url: str, body: Any, bench: Bench
) -> None:
    with make(bench.router) as client:
        for address in (url, url.replace("https://api", "http://127.0.0.1:9/api"), f"{url}?beta=true"):
            assert client.post(address, json=body).status_code == 200
    assert bench.asked() == {"a": 3}


@both
def test_an_answer_says_its_length_and_how_long_it_took(make: MakesClient, url: str, body: Any, bench: Bench) -> None:
    """The SDKs' raw responses have both; the time raised RuntimeError."""
    with make(bench.router) as client:
        answered = client.post(url, json=body)
        refused = client.post(url, json={})
        with client.stream("POST", url, json={**body, "stream": True}) as streamed:
            streamed.read()
    assert (answered.status_code, refused.status_code, streamed.status_code) == (200, 400, 200)
    assert all(each.elapsed.total_seconds() > 0 for each in (answered, refused, streamed))
    assert [each.headers["content-length"] for each in (answered, refused)] == [
        str(len(each.content)) for each in (answered, refused)
    ]


@both
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/embeddings"),
        ("POST", "/v1/embeddings/abc"),
        ("POST", "/v1/responses"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/abc"),
        ("POST", "/v1/messages/count_tokens"),
    ],
)
def test_any_other_request_is_refused_in_words_and_goes_nowhere(
    make: MakesClient, url: str, body: Any, method: str, path: str, bench: Bench
) -> None:
    with make(bench.router) as client:
        refused = client.request(method, f"https://api.example{path}", content=b"\xff")
    assert refused.status_code == 404
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["error"]["message"].startswith(f"{method} {path} is not answered, only POST ...")
    assert bench.asked() == {"a": 0}


def test_the_sdk_shows_that_refusal_as_its_own_error_at_once(bench: Bench) -> None:
    with openai_over(bench.router) as sdk:
        for ask in (
            lambda: list(sdk.models.list()),
            lambda: sdk.responses.create(model="m", input="hi"),
            lambda: sdk.images.generate(model="m", prompt="hi"),
        ):
            with pytest.raises(openai.NotFoundError, match="nothing was sent"):
                ask()


def test_other_requests_go_where_they_are_told_to_with_all_that_the_sdk_adds(bench: Bench) -> None:
    elsewhere = Elsewhere()
    with openai_over(bench.router, other_requests=elsewhere) as sdk:
        assert [model.id for model in sdk.models.list()] == ["gpt-x"]
        assert sdk.chat.completions.create(**BODY).choices[0].message.content == "hello"
        assert not elsewhere.closed
    (request,) = elsewhere.requests
    assert str(request.url) == "https://api.openai.com/v1/models"
    assert request.headers["authorization"] == f"Bearer {SDK_KEY}"
    assert elsewhere.closed


def test_without_them_closing_the_client_closes_nothing(bench: Bench) -> None:
    with failsafe_openai.client(bench.router):
        pass
    assert bench.ask().content == "hello"


@pytest.mark.parametrize(
    ("limits", "deadline"),
    [
        (httpx2.Timeout(7.0), 7.0),
        (httpx2.Timeout(7.0, read=3.0), 3.0),
        (httpx2.Timeout(7.0, read=None), 60.0),
        (httpx2.Timeout(None), 60.0),
        (httpx2.Timeout(7.0, read=float("inf")), 60.0),
    ],
)
def test_how_long_the_client_would_wait_for_a_byte_is_how_long_the_call_may_take(
    limits: httpx2.Timeout, deadline: float
) -> None:
    left: list[float] = []
    bench = Bench(lambda sent: left.append(sent.limits.deadline.left) or answer("hello"))  # type: ignore[func-returns-value]
    with failsafe_openai.client(bench.router) as client:
        client.post(CHAT, json=BODY, timeout=limits)
    bench.router.close()
    assert left == [min(deadline, 30.0)]  # the provider's own limit is 30 s


def test_no_proxy_and_no_netrc_of_the_machine_has_a_part_in_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with failsafe_openai.client(bench.router) as client:
        assert client.post(CHAT, json=BODY).status_code == 200


def test_a_request_that_is_no_chat_is_an_answer_as_well(bench: Bench) -> None:
    with failsafe_openai.client(bench.router) as client:
        refused = client.post(CHAT, content=b"not JSON")
    assert refused.status_code == 400
    assert "not JSON" in refused.json()["error"]["message"]


@both
def test_what_no_client_can_be_told_is_refused_at_the_start(
    make: MakesClient, url: str, body: Any, bench: Bench
) -> None:
    with pytest.raises(ConfigError, match="on_interrupt"):
        make(bench.router, on_interrupt="restart")


# -------------------------------------------------------------------------------------------------
# Which library, and what if there is none
# -------------------------------------------------------------------------------------------------


def without(*missing: str, given: dict[str, Any] | None = None) -> Callable[[str], Any]:
    """``import_module`` on a machine where *missing* are not installed, and *given* are."""
    stand_ins = given or {}

    def find(name: str) -> Any:
        if name in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return stand_ins[name] if name in stand_ins else import_module(name)

    return find


def test_an_sdk_on_the_older_library_is_given_a_client_of_that(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have one interface; a client of the other one would be refused by the SDK."""

    class Timeout(httpx2.Timeout):
        pass

    class Client(httpx2.Client):
        pass

    older = SimpleNamespace(**{**vars(httpx2), "Timeout": Timeout, "Client": Client})
    found = without(given={"httpx": older, "openai": SimpleNamespace(Timeout=Timeout)})
    monkeypatch.setattr(http_client, "import_module", found)
    with failsafe_openai.client(bench.router) as client:
        assert type(client) is Client
        assert client.post(CHAT, json=BODY).status_code == 200


def test_that_older_library_need_not_have_a_newer_one_beside_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(**vars(httpx2))
    monkeypatch.setattr(http_client, "import_module", without("httpx2", given={"httpx": older}))
    with failsafe_openai.client(bench.router) as client:
        assert client.post(CHAT, json=BODY).status_code == 200


@both
@pytest.mark.parametrize("missing", [("openai", "anthropic"), ("httpx2", "httpx")])
def test_what_is_missing_is_named_in_one_line_with_the_extra(
    make: MakesClient, url: str, body: Any, missing: tuple[str, str], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "import_module", without(*missing))
    with pytest.raises(ConfigError) as raised:
        make(bench.router)
    sdk = "openai" if make is failsafe_openai.client else "anthropic"
    named = sdk if sdk in missing else "httpx2 or httpx"
    assert str(raised.value) == f"failsafe.integrations.{sdk} needs {named}; pip install 'failsafe-llm[{sdk}]'"


def test_nothing_is_imported_before_a_client_is_made() -> None:
    program = """
import sys
import failsafe, failsafe.integrations
from failsafe.integrations import openai, anthropic
print(sorted({name.partition(".")[0] for name in sys.modules} & {"httpx", "httpx2", "openai", "anthropic", "pydantic"}))
print("failsafe.integrations.http_client" in sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=50)
    assert printed.stdout.splitlines() == ["[]", "True"]


def test_importing_the_package_imports_none_of_its_modules() -> None:
    program = "import sys, failsafe, failsafe.integrations, json; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=50)
    assert [name for name in json.loads(printed.stdout) if name.startswith("failsafe.integrations.")] == []
