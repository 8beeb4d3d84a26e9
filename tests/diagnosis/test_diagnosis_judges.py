"""The judges alone, on facts that a test makes up: they never raise, and say something for whatever they are given."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.config import ProviderConfig
from failsafe.diagnosis import answers, certificates, network, settings
from failsafe.diagnosis.facts import Exchanged, ProviderFacts, how_to_set, key_in_words
from failsafe.diagnosis.finding import Finding
from failsafe.diagnosis.names import model_to_try, nearest, other_urls
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.provider_rules import preset_of
from failsafe.providers.classify import classify
from failsafe.providers.error_body import parse_error
from failsafe.secret import Secret
from failsafe.transport.inspection import Certificate, Connected, Handshake, Lookup

KEY = Secret("sk-proj-MARKED0123456789", source="env:OPENAI_API_KEY")
OPENAI = ProviderFacts(config=ProviderConfig(name="openai", api_key=KEY))
TEXT = st.text(max_size=60)


def exchanged(status: int, body: bytes, headers: dict[str, str], model: str = "") -> Exchanged:
    """An answer that is no success, as the look at a provider keeps it."""
    failure = classify(
        status,
        headers,
        body,
        vendor="openai",
        dialect="openai",
        model=model,
        clock_time=0.0,
        key=KEY,
        provider="openai",
    )
    said = parse_error(body, headers.get("content-type", ""), [KEY])
    return Exchanged(
        asked="GET /models", key=KEY, model=model, status=status, headers=headers, said=said, failure=failure
    )


@given(
    status=st.integers(300, 599),
    body=st.one_of(
        st.binary(max_size=80),
        st.builds(lambda text: msgspec.json.encode({"error": {"message": text}}), TEXT),
        st.builds(lambda text: f"<html><title>{text}</title>".encode("utf-8", "replace"), TEXT),
    ),
    headers=st.dictionaries(
        st.sampled_from(["location", "date", "age", "server", "cf-ray", "retry-after", "content-type"]), TEXT
    ),
    model=st.sampled_from(["", "gpt-6-luna"]),
)
def test_every_answer_is_explained_in_words(status: int, body: bytes, headers: dict[str, str], model: str) -> None:
    one = exchanged(status, body, headers, model)
    finding = answers.judge(OPENAI, one)
    assert isinstance(finding, Finding)
    assert finding.found
    assert finding.do
    assert "MARKED" not in repr(finding)
    list(answers.clock((msgspec.structs.replace(OPENAI, exchanges=(one,)),)))


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("status", [None, 418])
def test_every_fault_is_explained(fault: Fault, status: int | None) -> None:
    phase = Phase.DONE if status else Phase.WAIT
    one = Exchanged(asked="a", key=KEY, status=status, failure=Failure(fault=fault, message="it failed", phase=phase))
    finding = answers.judge(OPENAI, one)
    assert finding is not None
    assert finding.do


def test_what_nothing_more_is_known_of_is_called_by_its_fault() -> None:
    one = exchanged(400, b'{"error":{"message":"Invalid value for messages."}}', {})
    finding = answers.judge(OPENAI, one)
    assert finding is not None
    assert finding.code == "fault-bad-request"
    assert finding.found == "refused GET /models: HTTP 400: Invalid value for messages"


def test_a_page_under_500_is_an_outage() -> None:
    finding = answers.judge(OPENAI, exchanged(502, b"<html><title>Bad gateway</title>", {"content-type": "text/html"}))
    assert finding is not None
    assert finding.code == "provider-down"


def test_a_location_that_is_no_address_is_told_all_the_same() -> None:
    finding = answers.judge(OPENAI, exchanged(302, b"", {"location": "http://[::1"}))
    assert finding is not None
    assert finding.code == "redirect"


def test_googles_words_for_an_unknown_path_are_told_as_one() -> None:
    facts = ProviderFacts(config=ProviderConfig(name="gemini", api_key="AQ.0123456789abcdef"))
    failure = Failure(fault=Fault.MODEL, message="HTTP 404 NOT_FOUND", status=404)
    finding = answers.judge(facts, Exchanged(asked="GET /models", status=404, failure=failure))
    assert finding is not None
    assert finding.code == "wrong-path"


@given(code=st.integers(1, 100), reason=TEXT, named=st.booleans(), late=st.booleans())
def test_every_failed_handshake_is_explained(code: int, reason: str, named: bool, late: bool) -> None:
    certificate = Certificate(subject="s", issuer=reason, names=("a.test",)) if named else None
    for made in (
        Handshake(problem="p", code=code, certificate=certificate),
        Handshake(problem="p", reason=reason, late=late),
    ):
        finding = certificates.judge(msgspec.structs.replace(OPENAI, handshake=made), 0.0)
        assert finding.code.startswith(("tls-", "bundle-"))
        assert finding.do


@given(
    addresses=st.lists(st.sampled_from(["127.0.0.1", "::1"]), unique=True),
    seconds=st.floats(0, 20),
    problems=st.lists(st.sampled_from(["", "refused"]), max_size=2),
    late=st.booleans(),
)
def test_every_way_is_judged(addresses: list[str], seconds: float, problems: list[str], late: bool) -> None:
    facts = msgspec.structs.replace(
        OPENAI,
        lookup=Lookup(addresses=tuple(addresses), seconds=seconds, problem="" if addresses else "none", late=late),
        connections=tuple(
            Connected(address=address, problem=problem, late=late)
            for address, problem in zip(addresses, problems, strict=False)
        ),
    )
    found = list(network.judge(facts, 0.0))
    if not addresses or (facts.connections and all(each.problem for each in facts.connections)):
        assert found
    assert network.judge_together([facts]) is None


@pytest.mark.parametrize(
    ("key", "words", "step"),
    [
        (KEY, "the key in OPENAI_API_KEY", "$ export OPENAI_API_KEY='...'"),
        (Secret("k" * 20, source="keyring:openai"), "the key openai of the keyring", "$ keyring set failsafe openai"),
        (Secret("k" * 20), f"the key {Secret('k' * 20).fingerprint} written in the settings", "put it into api_key of"),
    ],
)
def test_a_key_is_called_by_its_place_and_changed_there(key: Secret, words: str, step: str) -> None:
    assert key_in_words(key) == words
    assert how_to_set(key, OPENAI.preset).startswith(step)


def test_a_missing_keyring_is_told_with_its_extra() -> None:
    said = (
        "providers.a.api_key = 'keyring:a': the keyring package is not installed; pip install 'failsafe-llm[keyring]'"
    )
    assert settings.of_provider("a", said).do == ("$ pip install 'failsafe-llm[keyring]'",)


@pytest.mark.parametrize(
    ("url", "dialect", "first"),
    [
        ("https://api.test", "openai", "https://api.test/v1"),
        ("https://api.test/v1/v1", "openai", "https://api.test/v1"),
        ("https://api.test/v1/chat/completions", "openai", "https://api.test/v1"),
        ("https://api.test/v1", "anthropic", "https://api.test"),
        ("https://api.test/v1/messages", "anthropic", "https://api.test/v1"),
        ("https://api.test", "gemini", "https://api.test/v1beta"),
        ("https://api.test/v1beta/models", "gemini", "https://api.test/v1beta"),
    ],
)
def test_addresses_that_may_be_meant_are_on_the_same_host(url: str, dialect: str, first: str) -> None:
    urls = other_urls(ProviderConfig(name="mine", base_url=url, dialect=dialect))
    assert urls[0] == first
    assert all(each.startswith("https://api.test") for each in urls)
    assert url not in urls


def test_a_vendors_own_path_is_the_first_that_may_be_meant() -> None:
    config = ProviderConfig(name="groq", base_url="https://api.groq.com/v1", api_key="gsk_0123456789ab")
    assert other_urls(config)[0] == "https://api.groq.com/openai/v1"


def test_names_come_from_the_list_and_without_one_from_the_catalogue() -> None:
    preset = preset_of(OPENAI.config)
    assert nearest("gpt-6-lunar", ["mistral-large", "gpt-6-luna"], preset) == ["gpt-6-luna"]
    assert nearest("gpt-6-lunar", [], preset)[0] == "gpt-6-luna"
    assert nearest("entirely-else", ["gpt-6-luna"], preset) == []


@pytest.mark.parametrize(
    ("settings_", "listed", "model"),
    [
        ({}, [], "gpt-6-luna"),
        ({"models": ["gpt-6.1-sol"]}, [], "gpt-6.1-sol"),
        ({"models": ["gpt-6.1-sol", "gpt-6-luna"]}, [], "gpt-6-luna"),
        ({"name": "mine", "base_url": "http://127.0.0.1:1/v1"}, ["llama"], "llama"),
        ({"name": "mine", "base_url": "http://127.0.0.1:1/v1"}, [], None),
    ],
)
def test_the_model_to_try_is_one_that_the_settings_allow(
    settings_: dict[str, object], listed: list[str], model: str | None
) -> None:
    config = ProviderConfig(**{"name": "openai", "api_key": KEY, **settings_})  # type: ignore[arg-type]
    assert model_to_try(config, listed) == model
