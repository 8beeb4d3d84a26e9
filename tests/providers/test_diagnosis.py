"""What a rejected key is said to suffer from."""

from __future__ import annotations

import functools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failsafe.catalog import catalog
from failsafe.providers.diagnosis import diagnose_key
from failsafe.providers.error_body import ErrorBody
from failsafe.secret import Secret

PREFIXES = {name: preset.key_prefixes for name, preset in catalog().presets.items()}
PLAIN = ErrorBody(kind="json", message="Unauthorized")
REST = "0123456789abcdefghij0123456789"


def said_of(key: str | None, vendor: str = "openai", body: ErrorBody = PLAIN, status: int = 401) -> str:
    secret = None if key is None else Secret(key)
    return diagnose_key(secret, provider="main", vendor=vendor, prefixes=PREFIXES, status=status, body=body)


@pytest.mark.parametrize(
    ("key", "vendor", "expected"),
    [
        ("sk-or-v1-" + REST, "openai", "it looks like a key of openrouter, and is set for main"),
        ("sk-ant-api03-" + REST, "openai", "it looks like a key of anthropic, and is set for main"),
        ("sk-proj-" + REST, "anthropic", "it looks like a key of openai, and is set for main"),
        ("sk-proj-" + REST, "deepseek", "it looks like a key of openai, and is set for main"),
        ("gsk_" + REST, "xai", "it looks like a key of groq, and is set for main"),
        ("xai-" + REST, "groq", "it looks like a key of xai, and is set for main"),
        ("AQ." + REST, "mistral", "it looks like a key of gemini, and is set for main"),
        ("sk-admin-" + REST, "openai", "it is an OpenAI admin key"),
        ("sk-ant-admin01-" + REST, "anthropic", "it is an Anthropic admin key"),
        ("sk-ant-oat01-" + REST, "anthropic", "it is an OAuth token of a Claude subscription"),
        ("AIza" + REST, "gemini", "it is of the old kind, which Google no longer accepts"),
        ("sk-" + REST, "openai", "it begins as keys of several providers do (openai, deepseek and others)"),
        ("sk-" + REST, "anthropic", "it begins as keys of several providers do (openai, deepseek and others)"),
        ("plainhex" + REST, "groq", "it does not begin as keys of groq do"),
        ("plainhex" + REST, "mistral", "nothing is visibly wrong with it"),
        ("sk-proj-" + REST, "openai", "nothing is visibly wrong with it"),
        ("plainhex" + REST, "unknown-vendor", "nothing is visibly wrong with it"),
        (None, "openai", "nothing is visibly wrong with it"),
    ],
)
def test_the_beginning_of_a_key_tells_whose_it_is(key: str | None, vendor: str, expected: str) -> None:
    assert expected in said_of(key, vendor)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", "is empty"),
        ("YOUR_API_KEY", "placeholder"),
        ("<your key>", "placeholder"),
        ("sk-...", "placeholder"),
        ("changeme", "placeholder"),
        ("sk-proj-" + REST + "\n", "newline"),
        (" sk-proj-" + REST, "white space"),
        ("'sk-proj-" + REST + "'", "quotes"),
        ("Bearer sk-proj-" + REST, "Bearer"),
    ],
)
def test_what_is_visibly_wrong_comes_first(key: str, expected: str) -> None:
    assert said_of(key).startswith("the key ")
    assert expected in said_of(key)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("API key expired. Please renew the API key.", "it has expired"),
        ("Your API key was reported as leaked.", "it was published somewhere"),
        ("This API key has been revoked", "the provider has revoked it"),
        ("The API key is disabled", "the provider has revoked it"),
        ("You must be a member of an organization to use the API", "its owner is not in the organisation"),
        ("Your IP is not on the allow list", "not on the allow list"),
        ("invalid subscription key or wrong API endpoint", "it belongs to another resource or region"),
        ("Multiple authentication credentials received", "it was sent beside another one"),
        ("OAuth authentication is currently not supported.", "it was taken for an OAuth token"),
        ("This credential is only authorized for use with Claude Code", "it is bound to another product"),
    ],
)
def test_what_the_provider_says_is_put_into_advice(message: str, expected: str) -> None:
    body = ErrorBody(kind="json", message=message)
    assert expected in said_of("sk-proj-" + REST, body=body)
    assert expected in said_of("sk-" + REST, body=body)
    assert expected in said_of(None, body=body)


def test_a_reason_for_programs_is_understood_too() -> None:
    body = ErrorBody(kind="json", reasons=("ACCESS_TOKEN_TYPE_UNSUPPORTED",))
    assert "it was taken for an OAuth token" in said_of("AQ." + REST, "gemini", body)


@pytest.mark.parametrize("kind", ["html", "text", "empty"])
def test_a_rejection_that_the_provider_did_not_write_points_to_the_address(kind: str) -> None:
    body = ErrorBody(kind=kind)  # type: ignore[arg-type]
    assert "check that base_url leads there" in said_of("sk-proj-" + REST, body=body)


ONE_OF_EACH_KIND = (
    *("", " ", "a\n", " a", "'a", "Bearer a", "env :A", "$A", "YOUR_KEY", "a\nb", "a b", "\u0100", "\x01", "a" * 8193),
    *(start + REST for starts in PREFIXES.values() for start in starts),
    *("sk-admin-" + REST, "sk-ant-admin01-" + REST, "sk-ant-oat01-" + REST, "AIza" + REST, "plainhex" + REST),
)
"""A key for each thing that can be said of one."""

BEGINNINGS = ["", "Bearer ", "'", "$", "YOUR_", "sk-admin-", "sk-ant-oat01-", "AIza", *sum(PREFIXES.values(), ())]


@functools.cache
def all_that_is_said(vendor: str) -> frozenset[str]:
    return frozenset(said_of(key, vendor) for key in ONE_OF_EACH_KIND)


@given(
    start=st.sampled_from(BEGINNINGS),
    rest=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    vendor=st.sampled_from([*PREFIXES, "nobody"]),
)
@example(start="", rest="provider0000", vendor="nobody")  # a key may well be made of words that are said of any key
def test_no_part_of_the_key_is_ever_shown(start: str, rest: str, vendor: str) -> None:
    """Of every key one of a few sentences is said, the same as of other keys: nothing in it can be part of a key."""
    assert said_of(start + rest, vendor) in all_that_is_said(vendor)


def test_what_is_said_is_one_line() -> None:
    said = frozenset[str]().union(*map(all_that_is_said, [*PREFIXES, "nobody"]))
    assert len(said) > 20
    assert [sentence for sentence in said if not sentence.isprintable()] == []
