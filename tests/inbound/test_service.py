"""One HTTP request in, one HTTP answer out, whatever happens in between."""

from __future__ import annotations

import gc
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from failsafe.chunks import Chunk
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken, Deadline
from failsafe.embeddings import EmbedReply, EmbedRequest
from failsafe.errors import (
    AllProvidersFailed,
    AuthenticationFailed,
    BulkheadFull,
    Cancelled,
    CircuitOpenError,
    ConfigError,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    InvalidRequest,
    Misconfigured,
    ModelNotFound,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RateLimitReached,
    RouterClosed,
    StreamInterrupted,
    Transient,
)
from failsafe.inbound.anthropic import AnthropicFormat
from failsafe.inbound.base import Format
from failsafe.inbound.gemini import GeminiFormat
from failsafe.inbound.openai import OpenAIFormat
from failsafe.inbound.service import EventStream, HttpAnswer, Service
from failsafe.inbound.statuses import status_of
from failsafe.models import ChatRequest, Reply, Usage
from failsafe.router import Router
from tests.inbound.answers import chunk, reply

SECRET = "sk-proj-nobody-may-see-this-0123456789"
OPENAI, ANTHROPIC, GEMINI = OpenAIFormat(), AnthropicFormat(), GeminiFormat()
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "gemini": "/v1beta/models/m:generateContent"}
STREAMING = {**PATHS, "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse"}
BODIES: dict[str, dict[str, Any]] = {
    "openai": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "anthropic": {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
every_format = pytest.mark.parametrize("form", [OPENAI, ANTHROPIC, GEMINI], ids=lambda form: form.name)


class FakeStream:
    """A stream of the given pieces; an exception among them is raised in its turn."""

    def __init__(self, *pieces: Any, response: Reply | None = None) -> None:
        self._pieces = iter(pieces)
        self._response = response
        self.provider, self.request_id = "p", "req_1"
        self.closed = 0

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if self.closed:
            raise StopIteration
        piece = next(self._pieces)
        if callable(piece):
            piece = piece()
        if isinstance(piece, BaseException):
            raise piece
        return cast("Chunk", piece)

    @property
    def response(self) -> Reply:
        if self._response is None:
            raise RuntimeError("not read to its end")
        return self._response

    def close(self) -> None:
        self.closed += 1


class FakeRouter:
    """Answers every call with one outcome and keeps how it was called."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome
        self.config = SimpleNamespace(
            providers=[SimpleNamespace(name="p", dialect="openai"), SimpleNamespace(name="claude", dialect="anthropic")]
        )
        self.request: ChatRequest | EmbedRequest | None = None
        self.arguments: dict[str, Any] = {}

    def ask(self, request: ChatRequest | EmbedRequest, **arguments: Any) -> Any:
        self.request, self.arguments = request, arguments
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    ask_stream = ask_embed = ask


def service(outcome: Any, form: Format = OPENAI, **settings: Any) -> Service:
    return Service(cast("Router", FakeRouter(outcome)), form, **settings)


def ask(outcome: Any, form: Format = OPENAI, **fields: Any) -> HttpAnswer:
    """The answer to a plain request in *form*, with *fields* added."""
    return service(outcome, form).answer(PATHS[form.name], json.dumps({**BODIES[form.name], **fields}).encode())


def ask_stream(outcome: Any, form: Format = OPENAI, **settings: Any) -> HttpAnswer:
    body = BODIES[form.name] if form is GEMINI else {**BODIES[form.name], "stream": True}
    return service(outcome, form, **settings).answer(STREAMING[form.name], json.dumps(body).encode())


def body_of(answer: HttpAnswer) -> Any:
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


def events_of(answer: HttpAnswer) -> EventStream:
    assert isinstance(answer.body, EventStream)
    return answer.body


def message_of(answer: HttpAnswer) -> str:
    """What the error body says; all three formats have it in one place."""
    said = body_of(answer)["error"]["message"]
    assert isinstance(said, str)
    return said


# -------------------------------------------------------------------------------------------------
# Whole answers
# -------------------------------------------------------------------------------------------------


def test_an_answer_says_who_gave_it_and_under_which_id() -> None:
    answer = ask(reply(content="hello", request_id="req_1"))
    assert (answer.status, answer.headers) == (
        200,
        {"Content-Type": "application/json", "x-failsafe-provider": "p", "x-request-id": "req_1"},
    )
    assert body_of(answer)["choices"][0]["message"]["content"] == "hello"


def test_the_id_stands_where_the_formats_clients_look_for_it() -> None:
    assert ask(reply(content="hello", request_id="req_1"), ANTHROPIC).headers["request-id"] == "req_1"


@pytest.mark.parametrize("request_id", [None, "", "line\r\nbreak: 1", "é"])
def test_an_id_that_no_header_can_say_is_left_out(request_id: str | None) -> None:
    assert set(ask(reply(request_id=request_id)).headers) == {"Content-Type", "x-failsafe-provider"}


def test_the_router_is_asked_what_the_client_asked() -> None:
    router = FakeRouter(reply(content="hello"))
    token, deadline = CancelToken(), Deadline.after(5)
    Service(cast("Router", router), OPENAI).answer(
        PATHS["openai"],
        json.dumps({**BODIES["openai"], "temperature": 1, "store": True}).encode(),
        timeout=deadline,
        cancel=token,
    )
    assert router.request == ChatRequest(
        model="m",
        messages=BODIES["openai"]["messages"],
        parameters={"temperature": 1},
        extra={"store": True},
        extra_for="openai",
    )
    assert router.arguments == {"timeout": deadline, "cancel": token}


def test_without_a_timeout_the_routers_own_holds() -> None:
    router = FakeRouter(FakeStream())
    asking = Service(cast("Router", router), OPENAI, on_interrupt="continue")
    asking.answer(PATHS["openai"], json.dumps({**BODIES["openai"], "stream": True}).encode())
    assert router.arguments == {"cancel": None, "on_interrupt": "continue"}


def test_a_body_in_the_clients_own_form_is_passed_on() -> None:
    raw = {"type": "message", "content": [{"type": "server_tool_use", "id": "x"}], "anything": [1]}
    assert body_of(ask(reply(content="hello", provider="claude", raw=raw), ANTHROPIC)) == raw


def test_a_body_in_another_form_is_written_anew() -> None:
    raw = {"choices": [{"message": {"content": "hello"}}]}
    written = body_of(ask(reply(content="hello", raw=raw), ANTHROPIC))
    assert written["content"] == [{"type": "text", "text": "hello"}]
    assert "choices" not in written


def test_a_router_that_answers_itself_has_no_body_of_its_own() -> None:
    written = body_of(ask(reply(content="later", provider="fallback"), ANTHROPIC))
    assert written["content"] == [{"type": "text", "text": "later"}]


def test_of_an_imitators_body_a_client_is_shown_what_it_can_read() -> None:
    raw = {"choices": [{"message": {"content": [{"type": "text", "text": "hello"}]}, "finish_reason": "eos"}], "x": 1}
    written = body_of(ask(reply(content="hello", raw=raw)))
    assert written["choices"][0]["message"]["content"] == "hello"
    assert written["choices"][0]["finish_reason"] == "stop"
    assert written["x"] == 1


def test_half_a_surrogate_pair_in_an_answer_breaks_nothing() -> None:
    answer = ask(reply(content="\ud83d"))
    assert answer.status == 200
    assert body_of(answer)["choices"][0]["message"]["content"] == "\ud83d"


# -------------------------------------------------------------------------------------------------
# Errors before the first byte
# -------------------------------------------------------------------------------------------------

ERRORS: list[tuple[Exception, int]] = [
    (InvalidRequest("why"), 400),
    (ContextWindowExceeded("why"), 400),
    (ContentFiltered("why"), 400),
    (ModelNotFound("why"), 404),
    (RateLimited("why", retry_after=2.5), 429),
    (RateLimitReached("l", "60 requests a minute", 2.5), 429),
    (AllProvidersFailed("why", retry_after=2.5), 503),
    (Cancelled("why"), 503),
    (RouterClosed("why"), 503),
    (CircuitOpenError("b", "open", 2.5), 503),
    (BulkheadFull("b", 5), 503),
    (AuthenticationFailed("why"), 503),
    (PermissionDenied("why"), 503),
    (QuotaExhausted("why"), 503),
    (StreamInterrupted("why", partial=None, provider="p"), 502),
    (Transient("why"), 502),
    (Misconfigured("why"), 502),
    (DeadlineExceeded("why"), 504),
    (ConfigError("why"), 500),
]


@every_format
@pytest.mark.parametrize("ask_for", [ask, ask_stream])
@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda value: type(value).__name__)
def test_every_error_is_an_answer_in_the_clients_format(
    form: Format, ask_for: Callable[..., HttpAnswer], error: Exception, status: int
) -> None:
    answer = ask_for(error, form)
    assert (answer.status, status_of(error)) == (status, status)
    assert body_of(answer) == form.error(status, error)
    assert message_of(answer) == str(error)
    assert answer.headers["x-should-retry"] == "false"
    waits = getattr(error, "retry_after", None)
    assert answer.headers.get("Retry-After") == (None if waits is None else "3")


def test_an_error_of_one_provider_says_whose_it_is_and_under_which_id() -> None:
    answer = ask(InvalidRequest("why", provider="p", request_id="req_1"))
    assert answer.headers["x-failsafe-provider"] == "p"
    assert answer.headers["x-request-id"] == "req_1"


@every_format
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"\\ud83d"', b"[" * 100_000, b"null", b"[]"])
def test_a_body_that_is_no_request_is_refused(form: Format, body: bytes) -> None:
    answer = service(None, form).answer(PATHS[form.name], body)
    assert answer.status == 400
    assert message_of(answer)


def _calling(arguments: str, form: Format) -> str:
    if form is GEMINI:
        part = f'{{"functionCall": {{"name": "f", "args": {arguments}}}}}'
        return f'{{"contents": [{{"role": "model", "parts": [{part}]}}]}}'
    use = f'{{"type": "tool_use", "id": "a", "name": "f", "input": {arguments}}}'
    return f'{{"model": "m", "max_tokens": 5, "messages": [{{"role": "assistant", "content": [{use}]}}]}}'


@pytest.mark.parametrize("form", [ANTHROPIC, GEMINI], ids=lambda form: form.name)
def test_no_depth_of_nesting_is_a_defect(form: Format) -> None:
    """Some depths can be decoded, and not encoded a few frames further down."""
    for depth in range(900, 1000):
        body = _calling('{"a":' * depth + "1" + "}" * depth, form).encode()
        answered = service(reply(content="hi"), form).answer(PATHS[form.name], body)
        assert answered.status in (200, 400), depth


def test_what_the_request_lacks_is_said_before_anyone_is_asked() -> None:
    router = FakeRouter(reply())
    answer = Service(cast("Router", router), OPENAI).answer(PATHS["openai"], b'{"model": "m", "messages": []}')
    assert answer.status == 400
    assert message_of(answer).startswith("messages = ")
    assert router.request is None


@every_format
@pytest.mark.parametrize("ask_for", [ask, ask_stream])
def test_a_foreign_exception_is_logged_by_its_place_and_never_shown(
    form: Format, ask_for: Callable[..., HttpAnswer], caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask_for(LookupError(f"Authorization: Bearer {SECRET}"), form)
    assert answer.status == 500
    assert message_of(answer) == "failsafe failed to handle the request; its log has the details"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("failsafe.inbound", logging.ERROR)
    assert "LookupError" in record.getMessage()
    assert "test_service.py" in record.getMessage()
    assert record.exc_info is None
    assert SECRET not in caplog.text
    assert SECRET.encode() not in cast("bytes", answer.body)


@every_format
@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf")])
def test_a_timeout_of_nothing_is_the_clients_mistake(form: Format, timeout: float) -> None:
    router = FakeRouter(reply())
    for path in (PATHS[form.name], STREAMING[form.name], "/v1/embeddings"):
        answer = Service(cast("Router", router), form).answer(
            path, json.dumps(BODIES[form.name]).encode(), timeout=timeout
        )
        assert answer.status == 400
        assert message_of(answer).startswith(f"timeout = {timeout!r}: a number of seconds above 0 is needed")
    assert router.request is None


def test_an_interrupt_is_no_answer() -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(KeyboardInterrupt())


@pytest.mark.parametrize("on_interrupt", ["restart", "ignore", None])
def test_no_client_can_be_told_to_drop_what_it_has(on_interrupt: Any) -> None:
    with pytest.raises(ConfigError, match="on_interrupt"):
        service(None, on_interrupt=on_interrupt)


# -------------------------------------------------------------------------------------------------
# Embeddings
# -------------------------------------------------------------------------------------------------

EMBED = json.dumps({"model": "m", "input": ["one", "two"]}).encode()
EMBEDDED = EmbedReply(
    vectors=([1.0], [2.0]), provider="p", model="m", asked_model="m", usage=Usage(prompt_tokens=2), request_id="req_1",
    latency_ms=1.0, attempts=(), skipped=(), adjustments=(),
)  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings/", "/v1/embeddings?api-version=1", "/x/embeddings"])
def test_what_is_sent_to_the_path_for_embeddings_is_answered_with_some(path: str) -> None:
    router = FakeRouter(EMBEDDED)
    token = CancelToken()
    answer = Service(cast("Router", router), OPENAI).answer(path, EMBED, timeout=5, cancel=token)
    assert answer.headers == {
        "Content-Type": "application/json", "x-failsafe-provider": "p", "x-request-id": "req_1",
    }  # fmt: skip
    assert [each["embedding"] for each in body_of(answer)["data"]] == [[1.0], [2.0]]
    assert router.request == EmbedRequest(model="m", texts=("one", "two"), extra_for="openai")
    assert router.arguments == {"timeout": 5, "cancel": token}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/embeddings/x", "/v1/myembeddings", "/v1/x?y=/embeddings"])
def test_nothing_else_is_taken_for_a_request_for_embeddings(path: str) -> None:
    answer = service(EMBEDDED).answer(path, EMBED)
    assert answer.status == 400
    assert message_of(answer).startswith("messages = ")


@pytest.mark.parametrize("form", [ANTHROPIC, GEMINI], ids=lambda form: form.name)
def test_a_format_without_embeddings_takes_every_path_for_a_chat(form: Format) -> None:
    assert service(EMBEDDED, form).answer("/v1/embeddings", EMBED).status == 400


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda value: type(value).__name__)
def test_embeddings_are_refused_as_chats_are(error: Exception, status: int) -> None:
    answer = service(error).answer("/v1/embeddings", EMBED)
    assert (answer.status, body_of(answer)) == (status, OPENAI.error(status, error))


# -------------------------------------------------------------------------------------------------
# Streams
# -------------------------------------------------------------------------------------------------

PIECES = (chunk(text="hel"), chunk(text="lo"), chunk(finish_reason="stop"))
WHOLE = reply(content="hello")


def test_a_stream_is_never_kept_by_anything_in_between() -> None:
    answer = ask_stream(FakeStream(*PIECES, response=WHOLE))
    assert (answer.status, answer.headers) == (
        200,
        {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            "x-failsafe-provider": "p",
            "x-request-id": "req_1",
        },
    )
    events_of(answer).close()


def test_the_id_of_a_stream_stands_where_the_formats_clients_look_for_it() -> None:
    stream = FakeStream(*PIECES, response=WHOLE)
    assert ask_stream(stream, ANTHROPIC).headers["request-id"] == "req_1"
    stream.request_id = "line\r\nbreak: 1"
    assert "request-id" not in ask_stream(stream, ANTHROPIC).headers


@every_format
def test_the_pieces_of_a_stream_are_what_the_format_writes(form: Format) -> None:
    pieces = list(events_of(ask_stream(FakeStream(*PIECES, response=WHOLE), form)))
    assert all(pieces)
    assert b"hel" in pieces[0]
    assert b"lo" in pieces[1]
    assert len(pieces) == 3


def test_a_stream_that_ended_stays_ended() -> None:
    stream = FakeStream(*PIECES, response=WHOLE)
    events = events_of(ask_stream(stream))
    assert len(list(events)) == 3
    assert list(events) == []
    events.close()
    events.close()


@every_format
@pytest.mark.parametrize(
    "error",
    [
        StreamInterrupted("cut", partial=None, provider="p"),
        ContentFiltered("filtered"),
        Cancelled("cancelled"),
    ],
)
def test_what_breaks_off_in_mid_stream_ends_with_the_formats_error_event(form: Format, error: Exception) -> None:
    stream = FakeStream(chunk(text="hel"), error)
    *_, last = events_of(ask_stream(stream, form))
    data = [line.removeprefix("data: ") for line in last.decode().splitlines() if line.startswith("data: ")]
    assert json.loads(data[-1])["error"]["message"] == str(error)
    assert stream.closed


@every_format
def test_a_foreign_exception_in_mid_stream_is_not_shown_either(form: Format, caplog: pytest.LogCaptureFixture) -> None:
    stream = FakeStream(chunk(text="hel"), LookupError(SECRET))
    written = b"".join(events_of(ask_stream(stream, form)))
    assert b"its log has the details" in written
    assert SECRET.encode() not in written
    assert SECRET not in caplog.text
    assert "LookupError" in caplog.text
    assert stream.closed


class BrokenWriter:
    """Fails at its first piece, or at the end."""

    def __init__(self, at: str) -> None:
        self._at = at

    def chunk(self, chunk: Chunk) -> bytes:
        return self._write("chunk")

    def end(self, reply: Reply) -> bytes:
        return self._write("end")

    def error(self, status: int, error: Exception) -> bytes:
        return f"{status} {error}".encode()

    def _write(self, at: str) -> bytes:
        if at == self._at:
            raise ZeroDivisionError(SECRET)
        return b"x"


@pytest.mark.parametrize("at", ["chunk", "end"])
def test_a_writer_that_fails_ends_the_answer_and_lets_go_of_the_stream(
    at: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = FakeStream(*PIECES, response=WHOLE)
    *_, last = EventStream(cast("Any", stream), BrokenWriter(at))
    assert last == b"500 failsafe failed to handle the request; its log has the details"
    assert stream.closed
    assert "ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text


def test_a_format_that_cannot_write_is_found_before_anyone_is_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    router = FakeRouter(FakeStream(*PIECES, response=WHOLE))
    monkeypatch.setattr(OpenAIFormat, "writer", lambda *_: 1 / 0)
    body = json.dumps({**BODIES["openai"], "stream": True}).encode()
    assert Service(cast("Router", router), OPENAI).answer(PATHS["openai"], body).status == 500
    assert router.request is None
    assert "ZeroDivisionError" in caplog.text


def test_who_stops_reading_closes_the_stream() -> None:
    stream = FakeStream(*PIECES, response=WHOLE)
    events = events_of(ask_stream(stream))
    assert next(events)
    events.close()
    assert stream.closed
    assert list(events) == []


def test_a_stream_that_nobody_ever_reads_is_closed_too() -> None:
    stream = FakeStream(*PIECES, response=WHOLE)
    events_of(ask_stream(stream)).close()
    assert stream.closed


@pytest.mark.parametrize("read", [0, 1, 2])
def test_an_answer_that_is_dropped_lets_go_of_its_stream_at_once(read: int) -> None:
    """No cycle may keep it: the stream closes its socket when it is dropped, not at the next collection."""
    stream = FakeStream(*PIECES, response=WHOLE)
    held = weakref.ref(stream)
    answer = ask_stream(stream)
    for _ in range(read):
        next(events_of(answer))
    gc.disable()
    try:
        del stream, answer
        assert held() is None
    finally:
        gc.enable()


def test_an_interrupt_in_mid_stream_closes_it_and_goes_through() -> None:
    stream = FakeStream(chunk(text="hel"), KeyboardInterrupt())
    events = events_of(ask_stream(stream))
    next(events)
    with pytest.raises(KeyboardInterrupt):
        next(events)
    assert stream.closed
    assert list(events) == []


def test_a_stream_that_another_thread_closes_ends_without_a_word() -> None:
    """Whoever closed it wants no more of it, not even an error."""
    waiting, closed = threading.Event(), threading.Event()

    def wait() -> BaseException:
        waiting.set()
        assert closed.wait(5)
        return Cancelled("closed by another thread")

    events = events_of(ask_stream(FakeStream(chunk(text="hel"), wait)))
    assert next(events)
    rest: list[bytes] = []
    reader = threading.Thread(target=lambda: rest.extend(events), name="test-reader")
    reader.start()
    assert waiting.wait(5)
    events.close()
    closed.set()
    reader.join(5)
    assert not reader.is_alive()
    assert rest == []


def test_a_stream_that_is_closed_while_its_end_comes_ends_without_a_word() -> None:
    events: EventStream

    def close() -> BaseException:
        events.close()
        return StopIteration()

    events = events_of(ask_stream(FakeStream(close)))
    assert list(events) == []


def test_a_service_reads_the_dialects_of_a_real_router() -> None:
    config = RouterConfig(
        providers=[
            ProviderConfig(name="mine", base_url="http://127.0.0.1:1/v1", dialect="openai", api_key=None, models=["m"])
        ]
    )
    with Router(config) as router:
        answer = Service(router, OPENAI).answer(
            PATHS["openai"], json.dumps({**BODIES["openai"], "model": "nowhere:m"}).encode()
        )
    assert answer.status == 404
    assert "no configured provider serves model 'nowhere:m'" in message_of(answer)
