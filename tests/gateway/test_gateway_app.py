"""The gateway as an application: who is let in, what is answered, how long it may take."""

from __future__ import annotations

import io
import json
import logging
from typing import Any, ClassVar

import pytest

from failsafe.config import ProviderConfig
from failsafe.deadline import CancelToken
from failsafe.errors import ConfigError
from failsafe.faults import Fault
from failsafe.gateway import Gateway
from failsafe.gateway.app import CANCEL
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.testing import SentRequest, answer, failing, refusal, streaming, vectors
from tests.gateway.asking import BEARER, CHAT, MESSAGES, TOKEN, Got, ask, environ_of
from tests.router_bench import BROKEN, LIMITED, Bench, Script

EMBED: dict[str, Any] = {"model": "text-embedding-3-small", "input": ["one", "two"]}
ALONE: dict[str, Any] = {"retry": RetryConfig(max_retries=0)}
REFUSALS = {"x-should-retry", "content-type", "content-length", "www-authenticate", "allow"}


def gateway_over(*scripts: tuple[Script, ...] | Script, **settings: Any) -> tuple[Gateway, Bench]:
    bench = Bench(*scripts, **settings)
    return Gateway(bench.router, TOKEN), bench


class TestAnswers:
    def test_openai_clients_get_openais_form(self) -> None:
        gateway, bench = gateway_over(answer("good day"))
        got = ask(gateway, json_body=CHAT)
        assert (got.status, got.headers["Content-Type"]) == (200, "application/json")
        assert got.json["object"] == "chat.completion"
        assert got.json["choices"][0]["message"]["content"] == "good day"
        assert got.headers["x-failsafe-provider"] == "a"
        assert int(got.headers["Content-Length"]) == len(got.body)
        assert bench.transports["a"].requests[0].body["messages"] == CHAT["messages"]

    def test_anthropic_clients_get_anthropics_form_whoever_answers(self) -> None:
        gateway, _ = gateway_over(answer("good day"))
        got = ask(gateway, "/v1/messages", json_body=MESSAGES, token=None, headers={"x-api-key": TOKEN})
        assert (got.json["type"], got.json["content"]) == ("message", [{"type": "text", "text": "good day"}])

    def test_streams_come_in_the_form_of_the_path(self) -> None:
        gateway, _ = gateway_over((streaming("good ", "day"),))
        openai = ask(gateway, json_body={**CHAT, "stream": True})
        assert openai.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "Content-Length" not in openai.headers
        assert openai.body.endswith(b"data: [DONE]\n\n")
        anthropic = ask(gateway, "/v1/messages", json_body={**MESSAGES, "stream": True})
        assert b"event: message_stop" in anthropic.body

    def test_a_stream_that_breaks_off_ends_with_the_formats_error(self) -> None:
        gateway, _ = gateway_over((streaming("half", failing(Fault.NETWORK)),))
        got = ask(gateway, json_body={**CHAT, "stream": True})
        assert got.status == 200
        last = json.loads(got.body.rstrip().rpartition(b"data: ")[2])
        assert last["error"]["type"] == "server_error"

    def test_a_stream_may_be_gone_on_with(self) -> None:
        bench = Bench((streaming("half", failing(Fault.NETWORK)),), (streaming(" and half"),))
        gateway = Gateway(bench.router, TOKEN, on_interrupt="continue")
        got = ask(gateway, json_body={**CHAT, "stream": True})
        assert b" and half" in got.body
        assert got.body.endswith(b"data: [DONE]\n\n")

    def test_embeddings_come_in_openais_form(self) -> None:
        gateway, bench = gateway_over(BROKEN, vectors([0.5], [0.25]), **ALONE)
        got = ask(gateway, "/v1/embeddings", json_body=EMBED)
        assert (got.status, got.headers["x-failsafe-provider"]) == (200, "b")
        assert [each["embedding"] for each in got.json["data"]] == [[0.5], [0.25]]
        assert bench.transports["b"].requests[0].body["input"] == EMBED["input"]

    def test_a_request_for_embeddings_may_take_as_long_as_it_says(self) -> None:
        left: list[float] = []

        def noting(sent: SentRequest) -> Any:
            left.append(sent.limits.deadline.left)
            return vectors([0.5], [0.25])

        gateway, _ = gateway_over(noting, of_provider={"timeout": 1000.0}, timeout=60)
        ask(gateway, "/v1/embeddings", json_body=EMBED, headers={"X-Request-Timeout": "8"})
        assert left == [8]

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models/sk-proj-7f3a9c52e1d84b607f3a9c52"])
    def test_a_key_that_was_typed_where_a_model_belongs_is_not_shown(self, path: str) -> None:
        body = {**CHAT, "model": "sk-proj-7f3a9c52e1d84b607f3a9c52"} if "chat" in path else None
        listing = ProviderConfig(name="a", base_url="http://127.0.0.1:9/v1", models=["gpt-4.1"])
        with Router([listing]) as router:
            got = ask(Gateway(router, TOKEN), path, json_body=body)
        assert got.status == 404
        assert b"7f3a9c52" not in got.body

    @pytest.mark.parametrize(("outcome", "status"), [(BROKEN, 503), (LIMITED, 429), (refusal(400, "bad"), 400)])
    def test_errors_have_a_status_and_are_not_to_be_tried_again(self, outcome: Script, status: int) -> None:
        gateway, _ = gateway_over(outcome, **ALONE)
        got = ask(gateway, json_body=CHAT)
        assert (got.status, got.headers["x-should-retry"]) == (status, "false")
        assert got.json["error"]["message"]
        assert ("Retry-After" in got.headers) == (outcome is LIMITED)

    def test_a_body_that_is_no_json_is_refused_in_the_clients_form(self) -> None:
        gateway, bench = gateway_over(answer())
        assert "not JSON" in ask(gateway, body=b"{").json["error"]["message"]
        got = ask(gateway, "/v1/messages", body=b"{")
        assert (got.status, got.json["type"]) == (400, "error")
        assert bench.asked() == {"a": 0}


class TestWhoIsLetIn:
    @pytest.mark.parametrize(
        "headers",
        [BEARER, {"Authorization": f"bearer {TOKEN}"}, {"x-api-key": TOKEN}, {"x-api-key": "other", **BEARER}],
    )
    def test_the_token_opens_in_either_header(self, headers: dict[str, str | None]) -> None:
        gateway, _ = gateway_over(answer())
        assert ask(gateway, json_body=CHAT, token=None, headers=headers).status == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": f"Bearer {TOKEN.upper()}"},
            {"Authorization": "Bearer caf\xe9"},
            {"x-api-key": ""},
            {"x-api-key": f"Bearer {TOKEN}"},
            {"Cookie": f"token={TOKEN}"},
        ],
    )
    @pytest.mark.parametrize(
        "path",
        ["/v1/chat/completions", "/v1/embeddings", "/v1/messages", "/v1/models", "/v1/models/x", "/nothing"],
    )
    def test_without_the_token_nothing_is_done(self, headers: dict[str, str | None], path: str) -> None:
        gateway, bench = gateway_over(answer())
        posted = path in ("/v1/chat/completions", "/v1/embeddings", "/v1/messages")
        got = ask(gateway, path, json_body=MESSAGES if posted else None, token=None, headers=headers)
        assert (got.status, got.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert bench.asked() == {"a": 0}
        assert TOKEN not in got.body.decode()

    @pytest.mark.parametrize("token", ["dev", "x" * 15])
    def test_a_token_that_can_be_guessed_is_refused_and_not_shown(self, token: str) -> None:
        with pytest.raises(ConfigError, match=r"^token: at least 16 characters are needed") as raised:
            Gateway(Bench(answer()).router, token)
        assert f"{token} " not in str(raised.value)
        assert Gateway(Bench(answer()).router, "x" * 16)

    def test_the_token_in_the_address_does_not_open(self) -> None:
        gateway, _ = gateway_over(answer())
        assert ask(gateway, json_body=CHAT, token=None, environ={"QUERY_STRING": f"key={TOKEN}"}).status == 401

    @pytest.mark.parametrize("token", ["two words", "two\nlines", "caf\xe9", None, 7])
    def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(self, token: Any) -> None:
        with pytest.raises(ConfigError, match=r"^token: a text of printable ASCII characters") as raised:
            Gateway(Bench(answer()).router, token)
        assert not token or str(token) not in str(raised.value)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "127.9.9.9"]
    )
    def test_this_machine_may_be_called_by_any_of_its_own_names(self, host: str) -> None:
        gateway, _ = gateway_over(answer())
        assert ask(gateway, json_body=CHAT, headers={"Host": host}).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            None,
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.5",
            "[fe80::1]",
            "0.0.0.0",
            "[::1",
            "[localhost]",
            "localhost:80:80",
            "localhost:x",
            "localhost, evil.example",
            "user@localhost",
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/models", "/healthz"])
    def test_a_name_that_somebody_elses_dns_points_here_is_refused(self, host: str | None, path: str) -> None:
        gateway, _ = gateway_over(answer())
        got = ask(gateway, path, headers={"Host": host})
        assert got.status == 403
        assert "Host header" in got.json["error"]["message"]

    def test_names_that_were_allowed_open_and_so_does_any_address_where_that_was_said(self) -> None:
        bench = Bench(answer())
        named = Gateway(bench.router, TOKEN, hosts=["llm.lan", "*.example.com", "[fd00::7]"])
        for host, status in {
            "llm.lan:80": 200,
            "LLM.lan": 200,
            "a.example.com": 200,
            "[fd00::7]:80": 200,
            "example.com": 403,
            "10.0.0.5": 403,
        }.items():
            assert ask(named, "/v1/models", headers={"Host": host}).status == status, host
        anywhere = Gateway(bench.router, TOKEN, any_address=True)
        for host, status in {"10.0.0.5:80": 200, "[fe80::1]": 200, "evil.example": 403}.items():
            assert ask(anywhere, "/v1/models", headers={"Host": host}).status == status, host

    def test_a_host_that_is_none_is_refused_at_the_start(self) -> None:
        with pytest.raises(ConfigError, match="a bare host name"):
            Gateway(Bench(answer()).router, TOKEN, hosts=["http://llm.lan/"])

    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "null",
            "http://localhost:3000",
            "http://127.0.0.1",
            "app://x",
            "",
            "http://127.0.0.1:8080/",
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/healthz"])
    def test_foreign_pages_are_refused_even_with_the_token(self, origin: str, path: str) -> None:
        gateway, bench = gateway_over(answer())
        posted = CHAT if path != "/healthz" else None
        got = ask(gateway, path, json_body=posted, headers={"Origin": origin})
        assert got.status == 403
        assert "Origin header" in got.json["error"]["message"]
        assert bench.asked() == {"a": 0}

    def test_a_page_of_the_gateways_own_place_is_no_foreign_one(self) -> None:
        gateway, _ = gateway_over(answer())
        assert ask(gateway, json_body=CHAT, headers={"Origin": "http://127.0.0.1:8080"}).status == 200

    def test_no_answer_ever_lets_a_page_read_it(self) -> None:
        gateway, _ = gateway_over((answer(), streaming("x")))
        page: dict[str, str | None] = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answers: list[Got] = [
            ask(gateway, method="OPTIONS", headers=page),
            ask(gateway, method="OPTIONS", headers={"Access-Control-Request-Method": "POST"}),
            ask(gateway, json_body=CHAT),
            ask(gateway, json_body={**CHAT, "stream": True}),
            ask(gateway, "/healthz"),
            ask(gateway, "/v1/models"),
            ask(gateway, "/nothing"),
        ]
        assert [got.status for got in answers] == [403, 405, 200, 200, 200, 200, 404]
        assert not any(name.lower().startswith("access-control") for got in answers for name in got.headers)

    @pytest.mark.parametrize(
        "kind",
        [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"],
    )
    def test_what_a_form_can_send_is_refused(self, kind: str | None) -> None:
        gateway, bench = gateway_over(answer())
        got = ask(gateway, json_body=CHAT, headers={"Content-Type": kind or None})
        assert got.status == 415
        assert bench.asked() == {"a": 0}

    def test_json_may_have_a_charset_but_no_coding(self) -> None:
        gateway, _ = gateway_over(answer())
        spelt = {"Content-Type": "Application/JSON; charset=utf-8", "Content-Encoding": "identity"}
        assert ask(gateway, json_body=CHAT, headers={**spelt}).status == 200
        assert ask(gateway, json_body=CHAT, headers={"Content-Encoding": "gzip"}).status == 415

    @pytest.mark.parametrize(
        ("path", "method", "allowed"),
        [
            ("/v1/chat/completions", "GET", "POST"),
            ("/v1/embeddings", "GET", "POST"),
            ("/v1/messages", "PUT", "POST"),
            ("/v1/models", "DELETE", "GET, HEAD"),
            ("/v1/models/gpt-4.1", "DELETE", "GET, HEAD"),
            ("/healthz", "OPTIONS", "GET, HEAD"),
        ],
    )
    def test_another_method_is_refused_with_those_that_there_are(self, path: str, method: str, allowed: str) -> None:
        gateway, _ = gateway_over(answer())
        got = ask(gateway, path, method=method)
        assert (got.status, got.headers["Allow"]) == (405, allowed)

    def test_what_is_not_there_is_refused_with_what_there_is(self) -> None:
        gateway, _ = gateway_over(answer())
        for path in ("/", "/v1", "/v1/chat/completions/", "/v1/embeddings/", "/v1/responses", "/V1/models"):
            got = ask(gateway, path)
            assert got.status == 404
            assert "/v1/chat/completions" in got.json["error"]["message"]

    def test_a_refusal_is_in_the_form_that_the_client_can_read(self) -> None:
        gateway, _ = gateway_over(answer())
        got = ask(gateway, "/v1/models", token=None, headers={"anthropic-version": "2023-06-01"})
        assert (got.status, got.json["type"], got.json["error"]["type"]) == (401, "error", "authentication_error")
        assert {name.lower() for name in got.headers} <= REFUSALS


class TestBodies:
    def test_the_largest_body_is_the_routers_largest_request(self) -> None:
        gateway, _ = gateway_over(answer(), max_request_bytes=4096)
        fits = json.dumps(CHAT).encode().ljust(4096)
        assert ask(gateway, body=fits).status == 200
        got = ask(gateway, body=fits + b" ")
        assert got.status == 413
        assert "4,096 bytes" in got.json["error"]["message"]

    def test_a_body_that_is_announced_too_large_is_not_read(self) -> None:
        gateway = Gateway(Bench(answer()).router, TOKEN, max_body=1024)
        for length in ("1025", "9" * 5000):
            request = environ_of("POST", "/v1/messages", b"x", {**BEARER, "Content-Length": length})
            request["wsgi.input"] = Unreadable()
            assert gateway.answer(request).status == 413

    @pytest.mark.parametrize(
        ("length", "status"), [("-1", 400), ("ten", 400), ("1_0", 400), ("\xb2", 400), (None, 411)]
    )
    def test_a_length_that_is_none_is_refused(self, length: str | None, status: int) -> None:
        gateway, _ = gateway_over(answer())
        request = environ_of("POST", "/v1/messages", b"{}", {**BEARER, "Content-Length": length})
        assert gateway.answer(request).status == status

    def test_a_body_that_ends_early_is_not_taken_for_a_whole_one(self) -> None:
        gateway, bench = gateway_over(answer())
        whole = json.dumps(CHAT).encode()
        request = environ_of("POST", "/v1/chat/completions", whole, {**BEARER, "Content-Length": str(len(whole) + 5)})
        assert gateway.answer(request).status == 400
        assert bench.asked() == {"a": 0}

    def test_a_server_that_knows_the_end_of_the_body_need_not_announce_it(self) -> None:
        gateway = Gateway(Bench(answer()).router, TOKEN, max_body=1024)
        for body, status in ((json.dumps(CHAT).encode(), 200), (b"x" * 1025, 413)):
            request = environ_of("POST", "/v1/chat/completions", body, {**BEARER, "Content-Length": None})
            request["wsgi.input_terminated"] = True
            assert gateway.answer(request).status == status

    def test_a_largest_body_that_makes_no_sense_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="max_body = 0"):
            Gateway(Bench(answer()).router, TOKEN, max_body=0)


class Unreadable(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        pytest.fail("the body was read")


class TestTime:
    def limit(
        self, headers: dict[str, str | None], *, stream: bool = False, path: str = "/v1/chat/completions"
    ) -> float:
        """Seconds that the provider was given, the router allowing 60 (of which its own attempt takes at most 1000)."""
        seen: list[float] = []

        def noting(request: SentRequest) -> Any:
            seen.append(request.limits.deadline.left)
            return streaming("hello") if stream else answer()

        gateway, _ = gateway_over(noting, of_provider={"timeout": 1000.0}, timeout=60)
        assert ask(gateway, path, json_body={**MESSAGES, "stream": stream}, headers=headers).status == 200
        return seen[0]

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, 60),
            ({"X-Request-Timeout": "2.5"}, 2.5),
            ({"X-Request-Timeout": "600"}, 60),
            ({"x-stainless-read-timeout": "7"}, 7),
            ({"x-stainless-read-timeout": "600"}, 60),
            ({"x-stainless-timeout": "9", "x-stainless-read-timeout": "7"}, 7),
            ({"x-stainless-timeout": "NOT_GIVEN", "x-stainless-read-timeout": "7"}, 7),
            ({"x-stainless-timeout": "None"}, 60),
            ({"x-stainless-read-timeout": "nan"}, 60),
            ({"X-Request-Timeout": "8", "x-stainless-read-timeout": "7"}, 8),
        ],
    )
    def test_a_call_takes_no_longer_than_its_client_waits_and_the_router_allows(
        self, headers: dict[str, str | None], seconds: float
    ) -> None:
        assert self.limit(headers) == pytest.approx(seconds)

    def test_for_a_stream_the_sdks_mean_the_time_between_two_pieces(self) -> None:
        assert self.limit({"x-stainless-read-timeout": "7"}, stream=True) == pytest.approx(60)
        assert self.limit({"x-stainless-timeout": "7"}, stream=True, path="/v1/messages") == pytest.approx(60)
        assert self.limit({"X-Request-Timeout": "7"}, stream=True) == pytest.approx(7)

    def test_a_body_that_is_no_json_is_no_stream_either(self) -> None:
        gateway, _ = gateway_over(answer())
        for body in (b"{", b'{"stream": "yes"}', b"\xff"):
            assert ask(gateway, body=body, headers={"x-stainless-read-timeout": "7"}).status == 400

    @pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "1e999"])
    def test_a_timeout_that_makes_no_sense_is_refused(self, text: str) -> None:
        gateway, bench = gateway_over(answer())
        got = ask(gateway, json_body=CHAT, headers={"X-Request-Timeout": text})
        assert got.status == 400
        assert "X-Request-Timeout" in got.json["error"]["message"]
        assert bench.asked() == {"a": 0}

    def test_a_server_that_sees_its_client_leave_ends_the_call(self) -> None:
        gateway, bench = gateway_over(answer())
        gone = CancelToken()
        gone.cancel()
        assert ask(gateway, json_body=CHAT, environ={CANCEL: gone}).status == 503
        assert bench.asked() == {"a": 0}


class TestModels:
    SETTINGS: ClassVar[dict[str, Any]] = {
        "aliases": {"fast": ["gpt-4.1-mini"]},
        "each": {"a": {"models": ["gpt-4.1", "gpt-4.1-mini"]}, "b": {"models": {"gpt-4.1": "x", "org/own": "y"}}},
    }

    def test_the_list_has_aliases_and_models_in_openais_form(self) -> None:
        gateway, _ = gateway_over(answer(), answer(), **self.SETTINGS)
        got = ask(gateway, "/v1/models").json
        assert got["object"] == "list"
        assert {each["id"]: each["owned_by"] for each in got["data"]} == {
            "fast": "failsafe",
            "gpt-4.1": "a",
            "gpt-4.1-mini": "a",
            "org/own": "b",
        }

    def test_anthropic_clients_get_anthropics_form(self) -> None:
        gateway, _ = gateway_over(answer(), answer(), **self.SETTINGS)
        version: dict[str, str | None] = {"anthropic-version": "2023-06-01"}
        got = ask(gateway, "/v1/models", headers=version).json
        assert (got["first_id"], got["last_id"], got["has_more"]) == ("fast", "org/own", False)
        assert {each["type"] for each in got["data"]} == {"model"}
        assert ask(gateway, "/v1/models/fast", headers=version).json["display_name"] == "fast"

    def test_names_of_embedding_models_are_listed_and_found(self) -> None:
        embedding = {"docs": ["text-embedding-3-small"]}
        gateway, _ = gateway_over(answer(), embeddings=embedding, each={"a": {"models": ["text-embedding-3-small"]}})
        listed = {each["id"]: each["owned_by"] for each in ask(gateway, "/v1/models").json["data"]}
        assert listed == {"docs": "failsafe", "text-embedding-3-small": "a"}
        for model, owner in listed.items():
            assert ask(gateway, f"/v1/models/{model}").json["owned_by"] == owner

    def test_a_list_may_be_empty(self) -> None:
        gateway, _ = gateway_over(answer())  # a provider that takes every name, and lists none
        assert ask(gateway, "/v1/models").json["data"] == []
        got = ask(gateway, "/v1/models", headers={"anthropic-version": "2023-06-01"}).json
        assert (got["data"], got["first_id"]) == ([], None)

    def test_a_provider_that_goes_by_a_pattern_lists_its_usual_model(self) -> None:
        gateway, bench = gateway_over(answer(), each={"a": {"preset": "openai"}})
        (one,) = ask(gateway, "/v1/models").json["data"]
        assert bench.router.config.providers[0].serves(one["id"])

    def test_one_model_is_found_by_its_name(self) -> None:
        gateway, _ = gateway_over(answer(), answer(), **self.SETTINGS)
        assert ask(gateway, "/v1/models/org/own").json["owned_by"] == "b"
        assert ask(gateway, "/v1/models/fast").json == {
            "id": "fast", "object": "model", "created": 0, "owned_by": "failsafe",
        }  # fmt: skip
        got = ask(gateway, "/v1/models/gr\xc3\xbcn")  # UTF-8, as WSGI has it
        assert got.status == 404
        assert "grün" in got.json["error"]["message"]

    def test_head_is_get_without_a_body(self) -> None:
        gateway, _ = gateway_over(answer())
        for path in ("/v1/models", "/healthz"):
            whole, head = ask(gateway, path), ask(gateway, path, method="HEAD")
            assert (head.status, head.body, head.headers) == (200, b"", whole.headers)


class TestHealth:
    def test_needs_no_token_and_names_nobody(self) -> None:
        gateway, _ = gateway_over(answer())
        got = ask(gateway, "/healthz", token=None)
        assert (got.status, got.json) == (200, {"status": "ok", "providers": {"ready": 1, "all": 1}})

    def test_is_503_when_nobody_can_answer(self, expect_logs: object) -> None:
        gateway, bench = gateway_over(BROKEN, breaker=CircuitBreakerConfig(failure_threshold=1), **ALONE)
        bench.lose()
        assert ask(gateway, "/healthz", token=None).status == 503


class TestLog:
    def test_a_request_is_one_line_without_secrets(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "failsafe.gateway")
        gateway, _ = gateway_over(answer())
        ask(gateway, json_body=CHAT, environ={"QUERY_STRING": f"key={TOKEN}"})
        ask(gateway, f"/{TOKEN}/sk-proj-7f3a9c52e1d84b60\n\x1b[2J")
        ask(gateway, "/" + "x" * 5000, token=None)
        lines = [record.getMessage() for record in caplog.records if record.name == "failsafe.gateway"]
        assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines[:2]] == [
            "POST /v1/chat/completions 200 a",
            "GET /[masked]/[masked] [2J 404 -",
        ]
        assert len(lines[2]) < 250
        assert not any(TOKEN in line or "7f3a9c52" in line or "\n" in line for line in lines)

    def test_nothing_is_said_unless_somebody_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        gateway, _ = gateway_over(answer())
        ask(gateway, json_body=CHAT)
        assert not [record for record in caplog.records if record.name == "failsafe.gateway"]
