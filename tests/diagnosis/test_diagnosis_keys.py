"""Rejected keys, and keys that never arrive: each cause is told apart, and no key is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.diagnosis.finding import Level
from failsafe.faults import Fault
from failsafe.sim import BEHAVIOURS, Behaviour, Error, FakeProvider
from tests.diagnosis.conftest import Lead
from tests.diagnosis.looking import examined, http, listed, only, problems, settings_of
from tests.transport.raw_server import RawServer, answer

KEY = "sk-proj-MARKED0123456789abcdef"
NO_KEY = b'{"error":{"message":"You didn\'t provide an API key.","type":"invalid_request_error","code":null}}'


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini", "deepseek", "xai", "groq", "mistral", "azure"])
def test_a_rejected_key_is_told_for_every_vendor(vendor: str, tmp_path: Path) -> None:
    with FakeProvider(vendor) as provider:
        settings = settings_of(provider, api_key="MARKED0123456789", preset=vendor)
        report = examined(tmp_path, {"mine": settings})
    finding = only(report)
    assert (finding.level, finding.code, finding.subject) == (Level.ERROR, "key-rejected", "mine")
    assert finding.found.startswith("rejects the key ")
    assert "written in the settings" in finding.found
    assert any("http" in step for step in finding.do)
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("sk-or-v1-MARKED0123456789", "it looks like a key of openrouter"),
        ("sk-admin-MARKED0123456789", "it is an OpenAI admin key"),
        ("sk-MARKED0123456789", "it begins as keys of several providers do"),
        ("MARKED0123456789", "it does not begin as keys of openai do"),
    ],
)
def test_what_the_beginning_of_a_rejected_key_tells_is_said(key: str, why: str, tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        report = examined(tmp_path, {"openai": settings_of(provider, api_key=key)})
    assert why in problems(report)["key-rejected"].why
    assert "key-shape" not in problems(report)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("This API key has been revoked.", "has revoked it"),
        ("Your API key has expired.", "it has expired"),
        ("Your API key was reported as leaked.", "because it was published"),
        ("You must be a member of an organization to use the API.", "not in the organisation"),
        ("Your IP address is not on the allow list.", "not on the allow list"),
    ],
)
def test_what_the_provider_says_of_a_key_is_said(message: str, why: str, tmp_path: Path) -> None:
    rejects = Behaviour(Error(fault=Fault.AUTH, message=message))
    with FakeProvider("openai", behaviour=rejects, key=KEY) as provider:
        report = examined(tmp_path, {"openai": settings_of(provider)})
    assert why in only(report).why


def test_a_key_from_a_variable_is_called_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeProvider("openai", key="another") as provider:
        finding = only(examined(tmp_path, {"openai": settings_of(provider, api_key="env:OPENAI_API_KEY")}))
    assert finding.found.startswith("rejects the key in OPENAI_API_KEY: HTTP 401")
    assert "$ export OPENAI_API_KEY='...'" in finding.do


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f" {KEY}", "white space"),
        (f"{KEY}\\n", "newline"),
        (f"'{KEY}'", "wrapped in quotes"),
        (f"Bearer {KEY}", "begins with 'Bearer'"),
        ("YOUR_API_KEY", "is a placeholder"),
        ("", "is empty"),
    ],
)
def test_a_malformed_key_is_told_before_it_is_sent(key: str, said: str, tmp_path: Path) -> None:
    with FakeProvider("openai") as provider:
        report = examined(
            tmp_path, {"openai": {"base_url": provider.base_url, "api_key": key.encode().decode("unicode_escape")}}
        )
        assert provider.count() == 0
    finding = problems(report)["provider-settings"]
    assert (finding.level, finding.subject) == (Level.ERROR, "openai")
    assert finding.found.startswith("the key in the settings ")
    assert said in finding.found
    assert report.exit_code == 2


def test_a_doubt_about_a_key_that_is_accepted_is_dropped(tmp_path: Path) -> None:
    key = "sk-or-v1-MARKED0123456789"
    with FakeProvider("openai", key=key) as provider:
        report = examined(tmp_path, {"openai": settings_of(provider)})
        assert problems(report) == {}
        offline = examined(tmp_path, {"openai": settings_of(provider)}, offline=True)
    assert only(offline).code == "key-shape"
    assert "looks like a key of openrouter" in only(offline).found


def test_each_of_several_keys_is_tried(tmp_path: Path) -> None:
    with FakeProvider("openai", key="sk-proj-good0123456789") as provider:
        keys = [provider.key, "sk-proj-MARKED0123456789"]
        report = examined(tmp_path, {"openai": settings_of(provider, api_key=keys)})
        assert provider.count() == 2
    assert only(report).code == "key-rejected"


def test_a_key_that_went_to_another_host_than_its_vendors_is_told(tmp_path: Path, lead: Lead) -> None:
    lead({"gateway.test": ["127.0.0.1"]})
    with RawServer(answer(http("401 Unauthorized", b'{"error":{"message":"Invalid token"}}'))) as server:
        settings = {
            "base_url": f"http://gateway.test:{server.port}/v1",
            "api_key": KEY,
            "allow_http": True,
        }
        finding = only(examined(tmp_path, {"openai": settings}))
    assert finding.code == "key-rejected"
    assert finding.why == "it is a key of OpenAI, and went to gateway.test"
    assert finding.do[0].startswith("take base_url out of [providers.openai]")


def test_a_vendors_key_that_went_to_a_gateway_on_this_machine_is_told_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from failsafe.diagnosis.examination import Wanted, examine

    with RawServer(answer(http("401 Unauthorized", b'{"error":{"message":"wrong token"}}'))) as server:
        environ = {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "FAILSAFE_STORE": "off",
            "FAILSAFE_CONFIG": "",
        }
        finding = problems(examine(Wanted(timeout=2.0), environ=environ))["key-rejected"]
    assert "it is a key of OpenAI, and went to 127.0.0.1, which is on this machine" in finding.why
    assert finding.do[0] == "$ unset OPENAI_BASE_URL"
    assert "MARKED" not in repr(finding)


def test_a_provider_that_wants_a_key_and_was_sent_none_is_told(tmp_path: Path) -> None:
    with RawServer(answer(http("401 Unauthorized", NO_KEY))) as server:
        finding = only(examined(tmp_path, {"openai": {"base_url": f"{server.url}/v1"}}))
    assert (finding.code, finding.found) == ("no-key", "asks for a key, and none is set")
    assert finding.why == "failsafe looks for it in OPENAI_API_KEY"
    assert "$ export OPENAI_API_KEY='...'" in finding.do


@pytest.mark.parametrize(
    "said",
    [
        "You didn't provide an API key. You need to provide your API key in an Authorization header",
        "No auth credentials found",
        "No cookie auth credentials found",
        "x-api-key header is required",
        "Missing Authentication header",
        "Method doesn't allow unregistered callers (callers without established identity).",
        "Missing bearer or basic authentication in header",
    ],
)
def test_a_proxy_that_takes_the_key_out_is_suspected_when_the_provider_says_that_none_came(
    said: str, tmp_path: Path, lead: Lead
) -> None:
    body = b'{"error":{"message":"' + said.encode() + b'","type":"invalid_request_error"}}'
    with RawServer(answer(http("401 Unauthorized", body))) as proxy:
        settings = {"base_url": "http://api.test/v1", "api_key": KEY, "allow_http": True}
        report = examined(tmp_path, {"mine": settings}, environ={"http_proxy": proxy.url})
        assert b"Authorization: Bearer" in proxy.requests[0]
    finding = only(report)
    assert finding.code == "key-not-sent"
    assert f"the proxy 127.0.0.1:{proxy.port} (http_proxy)" in finding.why
    assert "takes the header Authorization out" in finding.why
    assert "if it can be reached without one: $ export NO_PROXY=api.test" in finding.do


def test_a_proxy_that_may_have_replaced_the_key_is_named_beside_the_other_causes(tmp_path: Path) -> None:
    body = b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}'
    with RawServer(answer(http("401 Unauthorized", body))) as proxy:
        settings = {"base_url": "http://api.test/v1", "api_key": "MARKED0123456789", "allow_http": True}
        finding = only(examined(tmp_path, {"mine": settings}, environ={"http_proxy": proxy.url}))
    assert finding.code == "key-rejected"
    assert finding.do[-1].endswith("(http_proxy) puts another key in its place: ask whoever runs it")


def test_without_a_proxy_the_gateway_or_the_header_is_suspected(tmp_path: Path) -> None:
    with RawServer(answer(http("401 Unauthorized", NO_KEY))) as server:
        finding = only(examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}}))
        assert "a gateway or proxy between takes the header Authorization out" in finding.why
        wrong = {"base_url": f"{server.url}/v1", "api_key": KEY, "auth_header": "X-Key", "auth_prefix": ""}
        finding = only(examined(tmp_path, {"openai": wrong}))
    assert finding.why == "OpenAI reads Authorization"
    assert finding.do == ("take auth_header out of [providers.openai]",)


def test_a_key_that_the_provider_repeats_is_not_shown(tmp_path: Path) -> None:
    with FakeProvider("openai", key=KEY, behaviour=BEHAVIOURS["echoed-key"]) as provider:
        report = examined(tmp_path, {"openai": settings_of(provider)})
    assert problems(report).keys() == {"key-rejected"}


def test_a_key_in_a_header_or_a_models_name_is_not_kept(tmp_path: Path) -> None:
    body = b'{"data":[{"id":"good"},{"id":"' + KEY.encode() + b'"}]}'
    raw = http("200 OK", body, "Content-Type: application/json", f"Server: {KEY}")
    with RawServer(answer(raw)) as server:
        report = examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})
    (facts,) = report.providers
    assert facts.models == ("good",)
    assert "MARKED" not in repr(facts)


def test_two_variables_with_different_keys_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "AQ.MARKED-one-0123456789")
    with FakeProvider("gemini", key=None) as provider:
        settings = {"gemini": {"base_url": provider.base_url, "api_key": "env:GOOGLE_API_KEY"}}
        one = {"GOOGLE_API_KEY": "AQ.MARKED-one-0123456789", "GEMINI_API_KEY": "AQ.MARKED-two-0123456789"}
        finding = only(examined(tmp_path, settings, environ=one))
        same = dict.fromkeys(one, "AQ.MARKED-one-0123456789")
        assert problems(examined(tmp_path, settings, environ=same)) == {}
    assert finding.code == "two-keys"
    assert finding.found == "GOOGLE_API_KEY and GEMINI_API_KEY hold different keys; GOOGLE_API_KEY is used"


def test_a_public_list_of_models_proves_no_key(tmp_path: Path) -> None:
    """OpenRouter's list needs no key; what its key is worth says /key."""
    with FakeProvider("openrouter", models=["openai/gpt-4o"]) as provider:
        settings = settings_of(provider, preset="openrouter")
        good = examined(tmp_path, {"openrouter": settings})
        assert good.providers[0].models == ("openai/gpt-4o",)
        bad = examined(tmp_path, {"openrouter": {**settings, "api_key": "sk-or-v1-MARKED0123456789"}})
    assert problems(good) == {}
    assert only(bad).code == "key-rejected"


def test_a_good_answer_is_told_in_a_line(tmp_path: Path) -> None:
    with RawServer(answer(listed())) as server:
        report = examined(tmp_path, {"mine": {"base_url": f"{server.url}/v1", "api_key": KEY}})
    (finding,) = [each for each in report.findings if each.code == "answers"]
    assert finding.found.startswith("GET /models answered in ")
    assert finding.found.endswith("2 models")
    assert report.exit_code == 0
