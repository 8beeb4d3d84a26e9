"""Answers that are no success: countries, lists, models, paths, limits, money, outages, pages, redirects, clocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from failsafe.diagnosis.finding import Level
from failsafe.faults import Fault
from failsafe.sim import BEHAVIOURS, Behaviour, Error, FakeProvider, HalfJson, Healthy, Page
from tests.diagnosis.conftest import Lead
from tests.diagnosis.looking import KEY, MODELS, examined, http, listed, only, problems, settings_of
from tests.transport.raw_server import Peer, RawServer, answer


def says(fault: Fault, message: str, **details: Any) -> Behaviour:
    return Behaviour(Error(fault=fault, message=message, **details))


def behaving(behaviour: Behaviour, folder: Path, vendor: str = "openai", **wanted: Any) -> Any:
    with FakeProvider(vendor, behaviour=behaviour) as provider:
        return examined(folder, {vendor: settings_of(provider)}, **wanted)


# 403


@pytest.mark.parametrize(
    ("vendor", "message", "code"),
    [
        ("openai", "Country, region, or territory not supported", "region"),
        ("gemini", "User location is not supported for the API use.", "region"),
        ("anthropic", "Access to Anthropic models is not allowed from unsupported countries or regions.", "region"),
        ("openai", "Your IP address 203.0.113.7 is not authorized for this project.", "address-not-allowed"),
        ("azure", "Public access is disabled. Please configure private endpoint.", "address-not-allowed"),
        ("openai", "Project `proj_1` does not have access to model `o3-pro`", "model-not-permitted"),
        ("mistral", "You may not do this.", "permission"),
    ],
)
def test_a_refusal_is_told_by_its_cause(vendor: str, message: str, code: str, tmp_path: Path) -> None:
    finding = only(behaving(says(Fault.PERMISSION, message, status=403, code="forbidden"), tmp_path, vendor))
    assert (finding.level, finding.code, finding.subject) == (Level.ERROR, code, vendor)
    assert finding.why
    assert finding.do


def test_a_model_that_the_key_may_not_use_is_told(tmp_path: Path) -> None:
    refuses = Behaviour(Error(fault=Fault.PERMISSION), chat_only=True)
    finding = only(behaving(refuses, tmp_path, "anthropic", completion=True))
    assert finding.code == "model-not-permitted"
    assert "claude-haiku-5-5" in finding.found


def test_a_page_under_403_is_a_firewall_before_the_provider(tmp_path: Path) -> None:
    finding = only(behaving(Behaviour(Page(status=403)), tmp_path))
    assert finding.code == "blocked"
    assert finding.found.startswith("a firewall before it turns this machine away: a web page (403 | Simulated")
    assert "the key was not looked at" in finding.why


def test_cloudflare_is_called_by_its_name_with_the_id_its_support_wants(tmp_path: Path) -> None:
    page = b"<html><head><title>Attention Required! | Cloudflare</title></head></html>"
    raw = http("403 Forbidden", page, "Content-Type: text/html", "Server: cloudflare", "CF-RAY: 8f1a2b3c4d5e6f70-FRA")
    with RawServer(answer(raw)) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}}))
    assert finding.code == "blocked"
    assert finding.found.startswith("Cloudflare before it turns this machine away")
    assert finding.found.endswith("Ray ID 8f1a2b3c4d5e6f70-FRA")


# 404


def test_a_model_that_does_not_exist_is_told_with_the_nearest_names_of_the_live_list(tmp_path: Path) -> None:
    with FakeProvider("openai", models=["gpt-6-luna", "gpt-6.1-sol", "gpt-6.1-terra"]) as provider:
        settings = settings_of(provider, models=["gpt-6.1-soll"])
        finding = only(examined(tmp_path, {"openai": settings}))
    assert (finding.code, finding.subject) == ("model-unknown", "openai")
    assert finding.found == "does not know the model gpt-6.1-soll"
    assert finding.do[0].startswith("is one of these meant: gpt-6.1-sol, ")


@pytest.mark.parametrize("asked", ["GPT-6.1-SOL", "gpt-6-1-sol", "gpt_6.1_sol", "openai/gpt-6.1-sol"])
def test_another_spelling_of_a_model_is_recognised(asked: str, tmp_path: Path) -> None:
    with FakeProvider("openai", models=["gpt-6-luna", "gpt-6.1-sol"]) as provider:
        finding = only(examined(tmp_path, {"openai": settings_of(provider, models=[asked])}))
    assert finding.do[0] == "is one of these meant: gpt-6.1-sol?"


def test_a_model_that_has_ended_is_told_with_its_successor(tmp_path: Path) -> None:
    with FakeProvider("deepseek", models=["deepseek-flash"]) as provider:
        settings = settings_of(provider, models=["deepseek-chat"])
        found = problems(examined(tmp_path, {"deepseek": settings}, completion=True))
    finding = found["model-unknown"]
    assert finding.why == "it reached its end of life on 2026-07-24"
    assert finding.do == ("use deepseek-flash in its place",)
    assert found["model-ended"].level is Level.ERROR


def test_a_model_that_an_alias_names_is_compared_with_the_list_too(tmp_path: Path) -> None:
    with FakeProvider("openai", models=["gpt-6-luna"]) as provider:
        report = examined(
            tmp_path, {"openai": settings_of(provider)}, above='[aliases]\nfast = ["openai:gpt-6-lunar"]\n'
        )
    assert "gpt-6-lunar" in problems(report)["model-unknown"].found


def test_each_model_that_is_not_on_the_list_is_told_and_none_twice(tmp_path: Path) -> None:
    with FakeProvider("openai", models=["gpt-6-luna"]) as provider:
        settings = settings_of(provider, models=["gpt-one", "gpt-two"])
        report = examined(tmp_path, {"openai": settings}, completion=True)
    found = [each.found for each in report.findings if each.code == "model-unknown"]
    assert len(found) == 2
    assert sum("gpt-one" in each for each in found) == sum("gpt-two" in each for each in found) == 1


def test_a_model_of_ollama_that_was_not_pulled_is_told_with_the_command(tmp_path: Path) -> None:
    with FakeProvider("ollama", vendor="generic", models=["llama3.2:3b"], key=None) as provider:
        settings = {"base_url": provider.base_url, "models": ["qwen3:8b"]}
        finding = only(examined(tmp_path, {"ollama": settings}))
    assert finding.code == "model-unknown"
    assert finding.do[0] == "$ ollama pull qwen3:8b"


def test_a_model_that_the_list_has_and_the_key_may_not_use_is_told(tmp_path: Path) -> None:
    refuses = Behaviour(Error(fault=Fault.MODEL), chat_only=True)
    with FakeProvider("openai", models=["gpt-6-luna"], behaviour=refuses) as provider:
        finding = only(examined(tmp_path, {"openai": settings_of(provider)}, completion=True))
    assert finding.why == "it is on the list of models: the key's project may not use it"


def test_a_model_that_is_to_be_shut_down_is_warned_of(tmp_path: Path) -> None:
    body = b'{"data":[{"id":"gpt-6-luna","shutdown_date":"2027-03-01"},{"id":"other","shutdown_date":null}]}'
    with RawServer(answer(http("200 OK", body))) as server:
        settings = {"base_url": f"{server.url}/v1", "api_key": KEY, "models": ["gpt-6-luna"]}
        finding = only(examined(tmp_path, {"mine": settings}))
    assert (finding.level, finding.code) == (Level.WARNING, "model-ending")
    assert finding.found == "gpt-6-luna is shut down on 2027-03-01, as the provider's list says"


def test_a_list_that_goes_on_says_nothing_of_what_is_not_on_it(tmp_path: Path) -> None:
    body = b'{"data":[{"id":"claude-haiku-5-5"}],"has_more":true}'
    with RawServer(answer(http("200 OK", body))) as server:
        settings = {"base_url": server.url, "api_key": KEY, "models": ["claude-opus-5-5"]}
        report = examined(tmp_path, {"anthropic": settings})
        assert server.requests[0].startswith(b"GET /v1/models?limit=1000 HTTP/1.1\r\n")
    assert problems(report) == {}


def routes(**paths: bytes) -> Callable[[Peer], None]:
    """A script that knows these paths alone."""

    def script(peer: Peer) -> None:
        while request := peer.read_request():
            path = request.split(b" ")[1].decode()
            peer.send(paths.get(path.replace("/", "_"), http("404 Not Found", b"no such page")))

    return script


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("", "/v1"),
        ("/v1/v1", "/v1"),
        ("/v1/chat/completions", "/v1"),
        ("/chat/completions", "/v1"),
        ("/api", "/api/v1"),
    ],
)
def test_a_wrong_path_is_told_with_the_address_that_does_answer(written: str, right: str, tmp_path: Path) -> None:
    known = {f"{right}/models".replace("/", "_"): listed()}
    if written == "/chat/completions":
        known = {"_v1_models": listed()}
    with RawServer(routes(**known)) as server:
        settings = {"base_url": f"{server.url}{written}", "api_key": KEY}
        finding = only(examined(tmp_path, {"mine": settings}))
        assert (finding.level, finding.code) == (Level.ERROR, "wrong-path")
        assert finding.do == (f"base_url = '{server.url}{right}' (it answers there)",)
    assert "missing, doubled or too much" in finding.why


def test_anthropics_address_with_a_version_too_much_is_told(tmp_path: Path) -> None:
    with FakeProvider("anthropic") as provider:
        settings = settings_of(provider, base_url=f"{provider.base_url}/v1")
        finding = only(examined(tmp_path, {"anthropic": settings}))
        assert finding.code == "wrong-path"
        assert finding.do == (f"base_url = '{provider.base_url}' (it answers there)",)


def test_an_address_that_answers_only_to_refuse_the_key_is_right_too(tmp_path: Path) -> None:
    refuses = http("401 Unauthorized", b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}')
    with RawServer(routes(_v1_models=refuses)) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": server.url, "api_key": KEY}}))
        assert finding.do == (f"base_url = '{server.url}/v1' (it answers there)",)


def test_a_vendors_own_path_is_told_where_nothing_answers(tmp_path: Path) -> None:
    finding = only(behaving(BEHAVIOURS["unknown-path"], tmp_path))
    assert finding.code == "wrong-path"
    assert finding.do == ("check base_url: OpenAI's own address is https://api.openai.com/v1",)


def test_a_server_without_a_list_of_models_is_no_error_until_a_chat_fails(tmp_path: Path) -> None:
    with RawServer(answer(http("404 Not Found", b'{"error":{"message":"Not Found"}}'))) as server:
        settings = {"base_url": f"{server.url}/v1", "api_key": KEY, "models": ["m"]}
        finding = only(examined(tmp_path, {"mine": settings}))
        assert (finding.level, finding.code) == (Level.WARNING, "no-list")
        assert "$ failsafe doctor mine --completion" in finding.do[0]
        asked = only(examined(tmp_path, {"mine": settings}, completion=True))
        assert (asked.level, asked.code) == (Level.ERROR, "wrong-path")


def test_a_server_that_answers_chats_needs_no_list(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        chat = b'{"choices":[{"message":{"content":"OK"},"finish_reason":"stop"}],"usage":{}}'
        while request := peer.read_request():
            peer.send(http("200 OK", chat) if request.startswith(b"POST /v1/chat") else http("404 Not Found", b"{}"))

    with RawServer(script) as server:
        settings = {"base_url": f"{server.url}/v1", "api_key": KEY, "models": ["m"]}
        finding = only(examined(tmp_path, {"mine": settings}, completion=True))
    assert (finding.level, finding.code) == (Level.NOTE, "no-list")


# 429, 402


def test_a_rate_limit_is_told_with_its_end(tmp_path: Path) -> None:
    report = behaving(BEHAVIOURS["rate-limit"], tmp_path)
    finding = only(report)
    assert (finding.level, finding.code) == (Level.WARNING, "rate-limit")
    ends = re.match(r"limits the rate; it ends in 20 s, at (\d\d:\d\d:\d\d): HTTP 429", finding.found)
    assert ends
    at = report.providers[0].exchanges[0].at + 20
    assert ends[1] == f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M:%S}"
    assert report.exit_code == 0


def test_a_rate_limit_without_an_end_is_told_as_such(tmp_path: Path) -> None:
    finding = only(behaving(Behaviour(Error(fault=Fault.RATE_LIMIT, message="slow down")), tmp_path, "mistral"))
    assert finding.found.startswith("limits the rate; it does not say when it ends: HTTP 429")
    deepseek = only(behaving(BEHAVIOURS["rate-limit-no-hint"], tmp_path, "deepseek"))
    assert "credit left: https://platform.deepseek.com/top_up" in deepseek.do[-1]


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini", "deepseek", "openrouter", "xai", "together"])
def test_an_empty_account_is_told_for_every_vendor(vendor: str, tmp_path: Path) -> None:
    empty = Behaviour(Error(fault=Fault.QUOTA), chat_only=True)
    report = behaving(empty, tmp_path, vendor, completion=True)
    finding = only(report)
    assert (finding.level, finding.code) == (Level.ERROR, "quota")
    assert f"$ failsafe breakers reset {vendor}" in finding.do[-1]
    assert report.exit_code == 1


# 5xx


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("500 Internal Server Error", "provider-down"),
        ("502 Bad Gateway", "provider-down"),
        ("503 Service Unavailable", "overloaded"),
        ("529 Overloaded", "overloaded"),
    ],
)
def test_an_outage_is_told_with_the_vendors_status_page(status: str, code: str, tmp_path: Path, lead: Lead) -> None:
    lead({"api.openai.com": ["127.0.0.1"]})
    with RawServer(answer(http(status, b'{"error":{"message":"Sorry","code":null}}', "Retry-After: 30"))) as server:
        settings = {"base_url": f"http://api.openai.com:{server.port}/v1", "api_key": KEY, "allow_http": True}
        finding = only(examined(tmp_path, {"openai": settings}))
    assert (finding.level, finding.code) == (Level.ERROR, code)
    assert finding.found.endswith("it asks to come back in 30 s")
    assert "that is the provider's own trouble" in finding.why
    assert finding.do[0] == "see whether it has an incident: https://status.openai.com"


def test_an_aggregators_outage_names_who_is_behind_it(tmp_path: Path) -> None:
    with FakeProvider("generic", behaviour=BEHAVIOURS["server-error"]) as provider:
        settings = settings_of(provider, upstream=["openai", "anthropic"])
        finding = only(examined(tmp_path, {"mine": settings}))
    assert "which calls openai, anthropic in turn" in finding.why


def test_an_outage_of_chats_alone_is_found_by_asking_for_one(tmp_path: Path) -> None:
    broken = Behaviour(Error(fault=Fault.OVERLOADED), chat_only=True)
    assert problems(behaving(broken, tmp_path)) == {}
    assert only(behaving(broken, tmp_path, completion=True)).code == "overloaded"


# Pages, redirects, captive portals


def test_a_redirect_to_https_is_told_with_the_address_to_write(tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["127.0.0.1"]})
    with RawServer(answer(http("301 Moved", b"", "Location: https://api.test/v1/models?x=1"))) as server:
        settings = {"base_url": f"http://api.test:{server.port}/v1", "api_key": KEY, "allow_http": True}
        finding = only(examined(tmp_path, {"mine": settings}))
        assert server.connections == 3  # one looks at the way, one asks, one tries another path; the redirect
    assert finding.code == "redirect"
    assert finding.found == "redirects to https://api.test/v1/models (HTTP 301)"
    assert finding.do == (f"base_url = 'https://api.test:{server.port}/v1'",)


def test_a_redirect_of_a_vendors_own_host_to_another_one_is_a_captive_portal(tmp_path: Path, lead: Lead) -> None:
    lead({"api.openai.com": ["127.0.0.1"]})
    with RawServer(answer(http("302 Found", b"", "Location: http://login.hotel.test/?token=secret"))) as server:
        settings = {"base_url": f"http://api.openai.com:{server.port}/v1", "api_key": KEY, "allow_http": True}
        finding = only(examined(tmp_path, {"openai": settings}))
    assert finding.code == "captive-portal"
    assert "http://login.hotel.test" in finding.found
    assert "secret" not in repr(finding)


def test_a_redirect_that_holds_the_key_does_not_show_it(tmp_path: Path) -> None:
    with RawServer(answer(http("302 Found", b"", f"Location: https://other.test/{KEY}"))) as server:
        examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})  # looks for it


def test_a_network_that_asks_to_log_in_is_a_captive_portal(tmp_path: Path) -> None:
    with RawServer(answer(http("511 Network Authentication Required", b"<html>log in</html>"))) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}}))
    assert finding.code == "captive-portal"
    assert "log in, or change the network" in finding.do[0]


def test_a_page_of_a_vendors_own_host_is_a_captive_portal(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Any
) -> None:
    page = http("200 OK", b"<html><title>Welcome to Hotel Wi-Fi</title></html>", "Content-Type: text/html")
    lead({"api.openai.com": ["127.0.0.1"]})
    with RawServer(answer(page), tls=certified(authority, "api.openai.com")) as server:
        settings = {
            "base_url": f"https://api.openai.com:{server.port}/v1",
            "api_key": KEY,
            "ca_bundle": ca_bundle,
        }
        finding = only(examined(tmp_path, {"openai": settings}))
    assert finding.code == "captive-portal"
    assert "Welcome to Hotel Wi-Fi" in finding.found


def test_a_page_elsewhere_is_a_wrong_address(tmp_path: Path) -> None:
    finding = only(behaving(Behaviour(Page(status=200)), tmp_path))
    assert finding.code == "web-page"
    assert finding.do[0].startswith("check base_url (http://127.0.0.1:")


def test_a_page_beside_the_api_is_told_with_the_right_address(tmp_path: Path) -> None:
    page = http("200 OK", b"<!doctype html><title>My app</title>", "Content-Type: text/html")
    with RawServer(routes(_models=page, _v1_models=listed())) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": server.url, "api_key": KEY}}))
    assert finding.code == "wrong-path"
    assert "a web page (My app) under HTTP 200" in finding.found


@pytest.mark.parametrize("body", [b'{"hello":"world"}', b"OK", b"", b'"text"', b"[1,"])
def test_an_answer_in_another_form_is_told(body: bytes, tmp_path: Path) -> None:
    with RawServer(answer(http("200 OK", body))) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}}))
    assert finding.code == "not-the-api"


def test_half_an_answer_to_a_chat_is_told(tmp_path: Path) -> None:
    half = Behaviour(HalfJson(), chat_only=True)
    assert only(behaving(half, tmp_path, completion=True)).code == "not-the-api"


def test_a_list_of_any_form_is_one(tmp_path: Path) -> None:
    for body in (MODELS, b'[{"id":"m"}]', b'{"models":[{"name":"models/m"}]}', b'{"data":[]}', b'{"data":[{}]}'):
        with RawServer(answer(http("200 OK", body))) as server:
            assert problems(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})) == {}


def test_an_error_inside_a_success_is_told(tmp_path: Path) -> None:
    body = b'{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}'
    with RawServer(answer(http("200 OK", body))) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}}))
    assert finding.code == "key-rejected"


# The clock


def dated(offset: timedelta, *headers: str) -> bytes:
    return listed(f"Date: {format_datetime(datetime.now(UTC) + offset, usegmt=True)}", *headers)


@pytest.mark.parametrize(
    ("offset", "level", "said"),
    [
        (timedelta(minutes=-7), Level.WARNING, r"this machine's clock is (7|7\.0\d) min fast"),
        (timedelta(hours=5), Level.ERROR, r"this machine's clock is 5 h slow"),
    ],
)
def test_a_clock_that_is_wrong_is_told_with_the_amount(
    offset: timedelta, level: Level, said: str, tmp_path: Path
) -> None:
    with RawServer(answer(dated(offset))) as server:
        report = examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})
    finding = only(report)
    assert (finding.code, finding.level) == ("clock", level)
    assert re.fullmatch(said, finding.found)
    assert "certificates count as expired" in finding.why


@pytest.mark.parametrize("headers", [(), ("Age: 7200",)], ids=["right", "from a cache"])
def test_a_clock_that_is_right_is_not_told(headers: tuple[str, ...], tmp_path: Path) -> None:
    with RawServer(answer(dated(timedelta(hours=-2) if headers else timedelta(), *headers))) as server:
        assert problems(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})) == {}


def test_one_server_whose_own_clock_is_wrong_is_not_believed(tmp_path: Path) -> None:
    with RawServer(answer(dated(timedelta(hours=9)))) as wrong, RawServer(answer(dated(timedelta()))) as right:
        each = {name: {"base_url": f"{server.url}/v1", "api_key": KEY} for name, server in (("a", wrong), ("b", right))}
        assert problems(examined(tmp_path, each)) == {}


def test_a_date_that_is_none_is_passed_over(tmp_path: Path) -> None:
    with RawServer(answer(listed("Date: yesterday"))) as server:
        assert problems(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})) == {}


# A short answer


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_a_short_answer_is_asked_for_only_when_wanted(vendor: str, tmp_path: Path) -> None:
    with FakeProvider(vendor) as provider:
        examined(tmp_path, {vendor: settings_of(provider)})
        assert provider.count() == 1
        report = examined(tmp_path, {vendor: settings_of(provider)}, completion=True)
        assert provider.count() == 3
    (well,) = [each for each in report.findings if each.code == "answers"]
    assert " answered in " in well.found
    assert report.providers[0].completion is not None
    assert report.providers[0].completion.model in well.found


def test_a_limit_on_the_length_that_is_refused_is_left_out(tmp_path: Path) -> None:
    with FakeProvider("openai", behaviour=Behaviour(Healthy())) as provider:
        first = Behaviour(
            Error(fault=Fault.UNSUPPORTED_PARAMETER, parameter="max_completion_tokens"), chat_only=True, first=1
        )
        provider.behave(first)
        assert problems(examined(tmp_path, {"openai": settings_of(provider)}, completion=True)) == {}


def test_nobody_is_asked_for_an_answer_whose_key_was_rejected(tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        examined(tmp_path, {"openai": settings_of(provider, api_key=KEY)}, completion=True)
        assert provider.count("/chat/completions") == 0


def test_a_provider_whose_models_nobody_knows_is_not_asked(tmp_path: Path) -> None:
    with RawServer(answer(http("200 OK", b'{"data":[]}'))) as server:
        report = examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1"}}, completion=True)
        assert len(server.requests) == 1
    assert report.providers[0].completion is None


def test_a_server_without_a_list_at_all_is_only_connected_to(tmp_path: Path) -> None:
    with RawServer(answer()) as server:
        report = examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "models_path": ""}})
        assert server.requests == []
    assert [each.found for each in report.findings if each.code == "answers"] == ["can be reached"]
