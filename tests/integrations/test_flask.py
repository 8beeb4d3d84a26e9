"""The Flask extension: whose router, what an error becomes, what a stream looks like, how long a request may take."""

from __future__ import annotations

import gc
import json
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import Deadline, current_deadline
from failsafe.errors import AllProvidersFailed, ConfigError, FailsafeError
from failsafe.faults import Fault
from failsafe.integrations.flask import Failsafe, current_router, sse
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.testing import SentRequest, answer, failing, refusal, streaming
from tests.integrations.apps import asking_app, client_of, events_in, text_of
from tests.router_bench import BROKEN, LIMITED, Bench

LOST: dict[str, Any] = {"retry": RetryConfig(max_retries=0)}
ALONE = ProviderConfig(name="a", base_url="https://a.example/v1", api_key="sk-of-a-7f3a9c52e1d84b60")


class TestWhoseRouter:
    def test_a_view_asks_the_router_of_its_app(self) -> None:
        bench = Bench(answer("good day"))
        assert client_of(FAILSAFE_ROUTER=bench.router).get("/ask").text == "good day"

    def test_two_apps_of_one_extension_have_a_router_each(self) -> None:
        extension = Failsafe()
        apps = [Flask("one"), Flask("two")]
        for app in apps:
            app.config["FAILSAFE_CONFIG"] = RouterConfig(providers=[ALONE])
            extension.init_app(app)
        routers = []
        for app in apps:
            with app.app_context():
                routers.append(current_router._get_current_object())  # type: ignore[attr-defined]
                assert current_router.providers == ("a",)
        assert routers[0] is not routers[1]

    def test_a_file_names_the_providers(self, tmp_path: Path) -> None:
        path = tmp_path / "failsafe.toml"
        path.write_text('[providers.b]\nbase_url = "https://b.example/v1"\n', encoding="utf-8")
        for given in (path, str(path)):
            with asking_app(FAILSAFE_CONFIG=given).app_context():
                assert current_router.providers == ("b",)

    def test_a_table_names_the_providers_as_a_file_would(self) -> None:
        table = {"providers": {"b": {"base_url": "https://b.example/v1"}}, "timeout": 7}
        with asking_app(FAILSAFE_CONFIG=table).app_context():
            assert current_router.config.timeout == 7

    def test_the_environment_names_the_providers_when_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-7f3a9c52e1d84b60")
        with asking_app(FAILSAFE_FROM_ENV=True).app_context():
            assert current_router.providers == ("openai",)

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({}, "nothing in app.config says which providers to ask; set FAILSAFE_CONFIG"),
            ({"FAILSAFE_FROM_ENV": False, "FAILSAFE_CONFIG": None}, "nothing in app.config says"),
            ({"FAILSAFE_FROM_ENV": True, "FAILSAFE_CONFIG": "x"}, "FAILSAFE_CONFIG and FAILSAFE_FROM_ENV are both"),
            ({"FAILSAFE_FROM_ENV": "yes"}, "FAILSAFE_FROM_ENV = 'yes': true or false is needed"),
            ({"FAILSAFE_CONFIG": 3}, "FAILSAFE_CONFIG = 3: the path of a failsafe.toml, a RouterConfig or a table"),
            ({"FAILSAFE_CONFIG": ""}, "FAILSAFE_CONFIG = '': the path"),
            ({"FAILSAFE_CONFIG": "/nowhere/failsafe.toml"}, "/nowhere/failsafe.toml"),
            ({"FAILSAFE_ROUTER": "mine"}, "FAILSAFE_ROUTER = 'mine': a Router is needed"),
        ],
    )
    def test_a_wrong_source_is_refused_in_words(self, config: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigError) as raised:
            asking_app(**config)
        assert said in str(raised.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("FAILSAFE_URL_PREFIX", "no-slash"),
            ("FAILSAFE_URL_PREFIX", "/slash/"),
            ("FAILSAFE_URL_PREFIX", None),
            ("FAILSAFE_METRICS", 1),
            ("FAILSAFE_STATUS", "on"),
            ("FAILSAFE_REQUEST_TIMEOUT", 0),
            ("FAILSAFE_REQUEST_TIMEOUT", "30"),
            ("FAILSAFE_TIMEOUT_HEADER", "X Timeout"),
            ("FAILSAFE_TIMEOUT_HEADER", ""),
        ],
    )
    def test_a_wrong_setting_is_named(self, name: str, value: object) -> None:
        config: dict[str, Any] = {"FAILSAFE_CONFIG": RouterConfig(providers=[ALONE]), name: value}
        with pytest.raises(ConfigError, match=f"^{name} = "):
            asking_app(**config)

    def test_an_app_is_set_up_once(self) -> None:
        app = asking_app(FAILSAFE_CONFIG=RouterConfig(providers=[ALONE]))
        with pytest.raises(ConfigError, match="app 'app' has failsafe already"):
            Failsafe(app)

    def test_an_app_that_was_not_set_up_says_so(self) -> None:
        with (
            Flask("bare").app_context(),
            pytest.raises(ConfigError, match=r"'bare' has no failsafe; call Failsafe\(app"),
        ):
            current_router.status()

    def test_outside_of_any_app_flask_says_so(self) -> None:
        with pytest.raises(RuntimeError, match="application context"):
            current_router.status()


class TestClosing:
    def test_a_router_that_the_extension_made_is_closed_when_its_app_goes(self) -> None:
        app = asking_app(FAILSAFE_CONFIG=RouterConfig(providers=[ALONE]))
        with app.app_context():
            router: Router = current_router._get_current_object()  # type: ignore[attr-defined]
        gone = weakref.ref(app)
        del app
        gc.collect()
        assert gone() is None
        with pytest.raises(FailsafeError, match="closed"):
            router.chat("hi", model="gpt-4.1")

    def test_a_router_of_the_users_own_is_left_open(self) -> None:
        bench = Bench(answer())
        app = asking_app(FAILSAFE_ROUTER=bench.router)
        del app
        gc.collect()
        assert bench.ask().content == "hello"


class TestErrors:
    @pytest.mark.parametrize(
        ("outcome", "status", "kind"),
        [
            (BROKEN, 503, "AllProvidersFailed"),
            (LIMITED, 429, "AllProvidersFailed"),
            (refusal(400, "no"), 400, "InvalidRequest"),
        ],
    )
    def test_an_error_becomes_an_answer_that_names_no_provider(self, outcome: Any, status: int, kind: str) -> None:
        response = client_of(FAILSAFE_ROUTER=Bench(outcome, **LOST).router).get("/ask")
        assert (response.status_code, response.mimetype) == (status, "application/json")
        assert response.json is not None
        assert response.json["error"]["type"] == kind
        assert "example" not in response.text
        assert "HTTP" not in response.text

    def test_when_to_come_back_is_said_where_it_is_known(self) -> None:
        bench = Bench(LIMITED, **LOST)
        error = bench.lose()
        assert isinstance(error, AllProvidersFailed)
        assert error.retry_after is not None
        response = client_of(FAILSAFE_ROUTER=bench.router).get("/ask")
        assert 1 <= int(response.headers["Retry-After"]) <= 23  # the 20 s that were asked for, and some by chance
        assert "Retry-After" not in client_of(FAILSAFE_ROUTER=Bench(refusal(400)).router).get("/ask").headers

    def test_a_deadline_that_ends_becomes_504(self) -> None:
        bench = Bench(answer())
        bench.transports["a"]._outcomes[0] = lambda request: _too_late(bench, request)
        response = client_of(FAILSAFE_ROUTER=bench.router).get("/ask")
        assert response.status_code == 504

    def test_while_debugging_the_whole_report_is_shown(self) -> None:
        app = asking_app(FAILSAFE_ROUTER=Bench(BROKEN, **LOST).router)
        app.debug = True
        response = app.test_client().get("/ask")
        assert response.json is not None
        assert "it broke" in response.json["error"]["message"]

    def test_a_wrong_setting_in_a_view_is_an_error_of_the_server(self, caplog: pytest.LogCaptureFixture) -> None:
        app = asking_app(FAILSAFE_ROUTER=Bench(answer()).router)
        app.add_url_rule("/wrong", view_func=lambda: current_router.chat("hi", model="gpt-4.1", timeout=-1).content)
        response = app.test_client().get("/wrong")
        assert response.status_code == 500
        assert "timeout=-1" in caplog.text
        assert "timeout" not in response.text

    def test_the_apps_own_handler_comes_first(self) -> None:
        app = asking_app(FAILSAFE_ROUTER=Bench(BROKEN, **LOST).router)
        app.register_error_handler(FailsafeError, lambda error: (jsonify(own=type(error).__name__), 418))
        response = app.test_client().get("/ask")
        assert (response.status_code, response.json) == (418, {"own": "AllProvidersFailed"})

    def test_a_handler_for_one_error_comes_before_the_tree(self) -> None:
        app = asking_app(FAILSAFE_ROUTER=Bench(BROKEN, **LOST).router)
        app.register_error_handler(AllProvidersFailed, lambda error: ("sorry", 200))
        assert app.test_client().get("/ask").text == "sorry"


def _too_late(bench: Bench, request: SentRequest) -> Any:
    bench.clock.advance(request.limits.deadline.left)
    return failing(Fault.TIMEOUT)


class TestStreams:
    def test_a_stream_comes_as_events_and_the_last_one_has_the_counts(self) -> None:
        response = client_of(FAILSAFE_ROUTER=Bench((streaming("Hel", "lo\n\n"),)).router).get("/stream")
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        events = events_in(response.data)
        assert text_of(events) == "Hello\n\n"
        name, last = events[-1]
        assert (name, last["finish_reason"]) == ("done", "stop")
        assert last["usage"]["completion_tokens"] == 2
        assert events[0] == ("message", {"text": "Hel"})

    def test_no_character_of_an_answer_breaks_its_events(self) -> None:
        """Clients that decode first split lines where ``str.splitlines`` does, and some characters split them."""
        text = "a\u2028b\x85c\r\ndata: d\n\nevent: done\n"
        body = client_of(FAILSAFE_ROUTER=Bench((streaming(text, "e"),)).router).get("/stream").data
        assert text_of(events_in(body)) == text + "e"
        assert len(body.decode().splitlines()) == len(body.split(b"\n")) - 1

    def test_a_stream_that_fails_before_its_first_content_is_failed_over(self) -> None:
        bench = Bench(BROKEN, (streaming("from b"),))
        response = client_of(FAILSAFE_ROUTER=bench.router).get("/stream")
        assert text_of(events_in(response.data)) == "from b"

    def test_when_nobody_streams_the_answer_is_an_error_with_its_status(self) -> None:
        response = client_of(FAILSAFE_ROUTER=Bench(BROKEN, **LOST).router).get("/stream")
        assert (response.status_code, response.mimetype) == (503, "application/json")

    def test_a_stream_that_breaks_off_ends_with_an_error_event(self) -> None:
        cut = streaming("half", failing(Fault.NETWORK, "reset by a.example"))
        response = client_of(FAILSAFE_ROUTER=Bench((cut,)).router).get("/stream")
        assert response.status_code == 200
        assert events_in(response.data) == [
            ("message", {"text": "half"}),
            ("error", {"type": "StreamInterrupted", "message": "the answer broke off"}),
        ]

    def test_an_answer_that_begins_again_says_so(self) -> None:
        bench = Bench((streaming("half", failing(Fault.NETWORK)),), (streaming("whole"),))
        app = asking_app(FAILSAFE_ROUTER=bench.router)
        app.add_url_rule("/again", view_func=lambda: _restarting())
        events = events_in(app.test_client().get("/again").data)
        names = [name for name, _ in events]
        assert (names[0], names[-1]) == ("message", "done")
        assert text_of(events[names.index("restarted") :]) == "whole"

    def test_a_client_that_goes_away_closes_the_providers_connection(self) -> None:
        bench = Bench((streaming("one", "two", "three"),))
        response = client_of(FAILSAFE_ROUTER=bench.router).get("/stream", buffered=False)
        pieces: Iterator[Any] = iter(response.response)
        assert b"one" in next(pieces)
        (stream,) = bench.transports["a"].streams
        assert not stream.closed
        response.close()
        assert stream.closed

    def test_a_head_request_leaves_no_stream_open(self) -> None:
        bench = Bench((streaming("one", "two"),))
        response = client_of(FAILSAFE_ROUTER=bench.router).head("/stream")
        assert (response.status_code, response.data) == (200, b"")
        response.close()
        (stream,) = bench.transports["a"].streams
        assert stream.closed


def _restarting() -> Any:
    return sse_response("restart")


def sse_response(on_interrupt: Any) -> Any:
    from flask import Response

    return Response(sse(current_router.stream("hi", model="gpt-4.1", on_interrupt=on_interrupt)))


class TestDeadlines:
    def seconds_of(self, headers: dict[str, str] | None = None, **config: Any) -> float | None:
        """How much time the view saw in force."""
        app = asking_app(FAILSAFE_ROUTER=Bench(answer(), timeout=20).router, **config)
        app.add_url_rule("/left", view_func=lambda: jsonify(_left()))
        assert current_deadline() is None
        response = app.test_client().get("/left", headers=headers)
        assert current_deadline() is None
        assert response.status_code == 200
        left: float | None = response.json
        return left

    def test_nothing_is_in_force_unless_somebody_asked(self) -> None:
        assert self.seconds_of() is None

    def test_a_request_may_say_how_long_it_waits(self) -> None:
        assert self.seconds_of({"X-Request-Timeout": "2.5"}) == pytest.approx(2.5, abs=1)

    def test_a_request_gets_no_more_than_the_router_allows(self) -> None:
        assert self.seconds_of({"X-Request-Timeout": "9e9"}) == pytest.approx(20, abs=1)

    def test_the_server_may_set_a_limit_that_a_request_can_only_lower(self) -> None:
        assert self.seconds_of(FAILSAFE_REQUEST_TIMEOUT=5) == pytest.approx(5, abs=1)
        assert self.seconds_of({"X-Request-Timeout": "99"}, FAILSAFE_REQUEST_TIMEOUT=5) == pytest.approx(5, abs=1)
        assert self.seconds_of({"X-Request-Timeout": "1.5"}, FAILSAFE_REQUEST_TIMEOUT=5) == pytest.approx(1.5, abs=1)

    def test_the_header_has_the_name_that_was_chosen_or_none(self) -> None:
        assert self.seconds_of({"X-Deadline": "2"}, FAILSAFE_TIMEOUT_HEADER="X-Deadline") == pytest.approx(2, abs=1)
        assert self.seconds_of({"X-Request-Timeout": "2"}, FAILSAFE_TIMEOUT_HEADER="X-Deadline") is None
        assert self.seconds_of({"X-Request-Timeout": "2"}, FAILSAFE_TIMEOUT_HEADER=None) is None

    @pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "1e999"])
    def test_a_header_that_makes_no_sense_is_refused(self, text: str) -> None:
        bench = Bench(answer())
        response = client_of(FAILSAFE_ROUTER=bench.router).get("/ask", headers={"X-Request-Timeout": text})
        assert response.status_code == 400
        assert "X-Request-Timeout needs a number of seconds above 0" in response.text
        assert bench.asked() == {"a": 0}

    @pytest.mark.parametrize("path", ["/ask", "/stream"])
    def test_calls_without_a_timeout_take_what_is_left_of_the_requests(self, path: str) -> None:
        seen: list[float] = []

        def noting(request: SentRequest) -> Any:
            seen.append(request.limits.deadline.left)
            return answer() if path == "/ask" else streaming("hello")

        bench = Bench(noting, timeout=20)
        client = client_of(FAILSAFE_ROUTER=bench.router)
        client.get(path, headers={"X-Request-Timeout": "2"})
        client.get(path)
        assert seen[0] <= 2
        assert seen[1] > 2

    def test_the_deadline_ends_with_its_request_even_if_the_view_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        app = asking_app(FAILSAFE_ROUTER=Bench(answer()).router)
        app.add_url_rule("/fails", view_func=_failing)
        with app.test_client() as client:  # keeps the context of each request until the next one
            assert client.get("/fails", headers={"X-Request-Timeout": "2"}).status_code == 500
            client.get("/ask")
        assert current_deadline() is None

    def test_requests_within_one_context_do_not_get_each_others_deadline(self) -> None:
        app = asking_app(FAILSAFE_ROUTER=Bench(answer()).router)
        app.add_url_rule("/left", view_func=lambda: jsonify(_left()))
        with app.app_context():
            assert app.test_client().get("/left", headers={"X-Request-Timeout": "2"}).json
            assert app.test_client().get("/left").json is None

    def test_a_request_that_is_answered_before_its_turn_has_none(self) -> None:
        app = Flask("early")
        app.before_request(lambda: "early")
        app.config["FAILSAFE_ROUTER"] = Bench(answer()).router
        Failsafe(app)
        assert app.test_client().get("/", headers={"X-Request-Timeout": "2"}).text == "early"


def _left() -> float | None:
    deadline: Deadline | None = current_deadline()
    return None if deadline is None else deadline.left


def _failing() -> str:
    raise ZeroDivisionError


@pytest.fixture
def tripped(expect_logs: object) -> Bench:
    """Two providers, whose breakers have opened at a failure that quotes a secret."""
    said = refusal(500, "the tenant 4711-private failed")
    bench = Bench(said, said, breaker=CircuitBreakerConfig(failure_threshold=1), **LOST)
    bench.lose()
    return bench


class TestViews:
    def test_healthy_is_200_while_anybody_can_answer_and_then_503(self, tripped: Bench) -> None:
        client = client_of(FAILSAFE_ROUTER=tripped.router)
        response = client.get("/healthz")
        assert (response.status_code, response.json) == (
            503,
            {"status": "unavailable", "providers": {"ready": 0, "all": 2}},
        )
        assert response.headers["Cache-Control"] == "no-store"
        tripped.router.reset("b")
        assert client.get("/healthz").status_code == 200

    def test_only_the_health_is_shown_unless_more_is_switched_on(self) -> None:
        client = client_of(FAILSAFE_ROUTER=Bench(answer()).router)
        assert [client.get(path).status_code for path in ("/healthz", "/metrics", "/status")] == [200, 404, 404]

    def test_a_prefix_moves_the_views(self) -> None:
        on: dict[str, Any] = {"FAILSAFE_METRICS": True, "FAILSAFE_STATUS": True, "FAILSAFE_URL_PREFIX": "/_failsafe"}
        client = client_of(FAILSAFE_ROUTER=Bench(answer()).router, **on)
        for name in ("healthz", "metrics", "status"):
            assert client.get(f"/{name}").status_code == 404
            assert client.get(f"/_failsafe/{name}").status_code == 200

    def test_the_status_has_counts_and_no_words_of_the_providers(self, tripped: Bench) -> None:
        response = client_of(FAILSAFE_ROUTER=tripped.router, FAILSAFE_STATUS=True).get("/status")
        providers = json.loads(response.data)["providers"]
        assert providers["a"]["breaker"]["state"] == "open"
        assert (providers["a"]["ready"], providers["a"]["failures"]) == (False, 1)
        assert "4711" not in response.text

    def test_the_status_has_no_trace_of_a_key(self, expect_logs: object) -> None:
        bench = Bench(refusal(401, "no such key", code="invalid_api_key"), **LOST)
        bench.lose()
        (put_off,) = bench.router.stats()["a"]["put_off"]
        response = client_of(FAILSAFE_ROUTER=bench.router, FAILSAFE_STATUS=True).get("/status")
        (shown,) = json.loads(response.data)["providers"]["a"]["put_off"]
        assert shown["fault"] == "auth"
        assert put_off["key"] not in response.text
        assert "no such key" not in response.text

    def test_the_status_is_json_even_of_what_has_no_end(self) -> None:
        bench = Bench(answer())
        bench.router._endpoints[0].cooldowns.put_off(None, None, float("inf"), Fault.AUTH, "gone")
        response = client_of(FAILSAFE_ROUTER=bench.router, FAILSAFE_STATUS=True).get("/status")
        assert json.loads(response.data, parse_constant=_not_json)["providers"]["a"]["ready"] is False


def _not_json(constant: str) -> None:
    pytest.fail(f"{constant} is no JSON")


SAMPLE = re.compile(r'(?P<name>[a-z0-9_]+)\{(?P<labels>(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (?P<value>[-+.e0-9]+)')


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read Prometheus' text format as its specification has it; each family is announced once, before its samples."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    announced: list[str] = []
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, keyword, name, _ = line.split(" ", 3)
            if keyword == "HELP":
                assert name not in announced
                announced.append(name)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert re.sub(r"_(bucket|sum|count)$", "", match["name"]) == announced[-1]
        labels = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match["labels"])
        key = (match["name"], frozenset((name, _unescaped(value)) for name, value in labels if name != "pid"))
        assert key not in found
        found[key] = float(match["value"])
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


class TestMetrics:
    def reading(self, router: Router) -> Callable[[], Callable[..., float]]:
        client = client_of(FAILSAFE_ROUTER=router, FAILSAFE_METRICS=True)

        def read() -> Callable[..., float]:
            response = client.get("/metrics")
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            found = samples(response.text)
            return lambda name, **labels: found[f"failsafe_{name}", frozenset({"router": "", **labels}.items())]

        return read

    def test_every_count_is_there_with_its_provider(self, expect_logs: object) -> None:
        bench = Bench(BROKEN, BROKEN, breaker=CircuitBreakerConfig(failure_threshold=1), **LOST)
        read = self.reading(bench.router)
        bench.lose()
        value = read()
        assert value("attempts_total", provider="a", model="gpt-4.1", fault="server") == 1
        assert value("calls_total", model="gpt-4.1", outcome="AllProvidersFailed") == 1
        assert value("provider_ready", provider="a") == 0
        assert value("breaker_state", provider="a", model="", state="open") == 1
        assert value("breaker_state", provider="a", model="", state="closed") == 0
        assert value("breaker_opened_total", provider="b", model="") == 1
        assert value("events_dropped_total") == 0
        assert value("retry_budget", provider="a") == 10

    def test_a_provider_that_answered_has_a_time(self) -> None:
        bench = Bench(answer())
        read = self.reading(bench.router)
        bench.ask()
        value = read()
        answered = {"provider": "a", "model": "gpt-4.1", "outcome": "answered"}
        assert value("attempt_duration_seconds_sum", **answered) == 0
        assert value("attempt_duration_seconds_count", **answered) == 1
        assert value("attempt_duration_seconds_bucket", **answered, le="0.05") == 1
        assert value("provider_ready", provider="a") == 1

    def test_a_label_may_hold_anything(self, expect_logs: object) -> None:
        model = 'q"uo\\te'
        bench = Bench(answer(model=model), breaker_scope="model")
        read = self.reading(bench.router)
        bench.ask(model=model)
        assert read()("breaker_rejected_total", provider="a", model=model) == 0

    def test_a_router_of_the_users_own_is_counted_no_more_when_the_app_goes(self) -> None:
        bench = Bench(answer())
        bus = bench.router._reporter.bus
        before = len(bus._sync)
        app = asking_app(FAILSAFE_ROUTER=bench.router, FAILSAFE_METRICS=True)
        assert len(bus._sync) == before + 1
        del app
        gc.collect()
        assert len(bus._sync) == before

    def test_without_metrics_nothing_is_counted(self) -> None:
        bench = Bench(answer())
        before = len(bench.router._reporter.bus._sync)
        asking_app(FAILSAFE_ROUTER=bench.router)
        assert len(bench.router._reporter.bus._sync) == before
