"""Base URLs that can only be read one way, and the hosts they name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import addresses
from failsafe.errors import ConfigError

GOOD = {
    "https://api.openai.com/v1": "https://api.openai.com/v1",
    "https://api.openai.com/v1/": "https://api.openai.com/v1",
    "https://api.openai.com": "https://api.openai.com",
    "HTTPS://API.OpenAI.com/V1": "https://api.openai.com/V1",
    "http://127.0.0.1:8080/v1": "http://127.0.0.1:8080/v1",
    "http://[::1]:8080/v1": "http://[::1]:8080/v1",
    "http://my_service:8000": "http://my_service:8000",
    "https://host.example/openai/deployments/a-b.c": "https://host.example/openai/deployments/a-b.c",
    "https://host.example/a@b:c": "https://host.example/a@b:c",
}

BAD = {
    "api.openai.com/v1": "absolute address",
    "//api.openai.com/v1": "absolute address",
    "ftp://api.openai.com": "absolute address",
    "file:///etc/passwd": "absolute address",
    "https://": "absolute address",
    "https:///v1": "absolute address",
    "https://api openai.com": "absolute address",
    "https://api.openai.com.": "absolute address",
    "https://-api.openai.com": "absolute address",
    "https://api..com": "absolute address",
    "https://\u0430pi.openai.com": "absolute address",
    "https://api.openai.com:0/v1": "port from 1 to 65535",
    "https://api.openai.com:65536/v1": "port from 1 to 65535",
    "https://api.openai.com:port/v1": "absolute address",
    "https://api.openai.com/../v1": "'.' and '..'",
    "https://api.openai.com/./v1": "'.' and '..'",
    "https://api.openai.com/v1?key=marked": "without '?' and '#'",
    "https://api.openai.com/v1#marked": "without '?' and '#'",
    "https://user:marked@api.openai.com/v1": "without user name",
    "https://marked@api.openai.com/v1": "without user name",
    "https://api.openai.com\\@marked.example/v1": "backslash",
    "https://api.openai.com\n.marked.example/v1": "control characters",
    "https://[abc]/v1": "an IPv6 address",
    "https://[1.2.3.4]/v1": "an IPv6 address",
    "https://[:::1]/v1": "an IPv6 address",
    "": "a text is needed",
}


@pytest.mark.parametrize(("given_", "normal"), GOOD.items())
def test_an_address_has_one_normal_form(given_: str, normal: str) -> None:
    assert str(addresses.parse("base_url", given_)) == normal


@pytest.mark.parametrize(("given_", "said"), BAD.items(), ids=[ascii(url) for url in BAD])
def test_what_could_be_read_in_two_ways_is_refused(given_: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^base_url = ") as caught:
        addresses.parse("base_url", given_)
    assert said in str(caught.value)


@pytest.mark.parametrize("url", [url for url in BAD if "@" in url or "?" in url])
def test_what_may_be_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        addresses.parse("base_url", url)
    assert "marked" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, b"https://api.openai.com", ["https://api.openai.com"]])
def test_an_address_is_a_text(value: object) -> None:
    with pytest.raises(ConfigError, match="a text is needed"):
        addresses.parse("base_url", value)


@given(st.text(alphabet="https:/.@\\?#[]%aé\t ", max_size=40))
def test_every_accepted_address_is_read_alike_by_urllib3(rest: str) -> None:
    from urllib3.util import parse_url

    try:
        address = addresses.parse("base_url", "https://" + rest)
    except ConfigError:
        return
    theirs = parse_url(str(address))
    assert ((theirs.host or "").strip("[]"), theirs.port, theirs.auth) == (address.host, address.port, None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert addresses.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.example.com",
        "example.localhost",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "10.0.0.1",
        "2130706433",
        "127.1",
        "::",
    ],
)
def test_nothing_else_is_loopback(host: str) -> None:
    assert not addresses.is_loopback(host)


@pytest.mark.parametrize(
    ("host", "pattern", "matches"),
    [
        ("api.openai.com", "api.openai.com", True),
        ("eu.api.openai.com", "*.api.openai.com", True),
        ("api.openai.com", "*.api.openai.com", False),
        ("evilapi.openai.com", "*.api.openai.com", False),
        ("api.openai.com.evil.example", "api.openai.com", False),
        ("gateway.example.com", "Gateway.Example.COM", True),
        ("::1", "[::1]", True),
    ],
)
def test_a_pattern_is_a_host_or_what_lies_below_one(host: str, pattern: str, matches: bool) -> None:
    assert addresses.host_matches(host, [pattern]) is matches


@pytest.mark.parametrize(
    "value", ["gateway.example.com", ["*"], ["https://gateway.example.com"], ["a.com:8080"], [5], [""]]
)
def test_an_allowed_host_is_a_bare_name_in_a_list(value: object) -> None:
    with pytest.raises(ConfigError, match="allow_key_host"):
        addresses.host_patterns("allow_key_host", value)
