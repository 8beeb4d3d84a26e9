"""Settings: what is taken from a preset, what is refused and how, and that no key is ever shown."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from failsafe import checks
from failsafe.catalog import ModelInfo, Quirks
from failsafe.config import ROUTER_POLICIES, ProviderConfig, RouterConfig
from failsafe.errors import ConfigError
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.secret import Secret

KEY = "sk-marked-4711-do-not-show"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"


def openai(**settings: Any) -> ProviderConfig:
    return ProviderConfig(name="openai", **{"api_key": KEY, **settings})


def custom(**settings: Any) -> ProviderConfig:
    return ProviderConfig(name="mine", **{"base_url": "https://llm.example.com/v1", **settings})


def router(*providers: ProviderConfig, **settings: Any) -> RouterConfig:
    return RouterConfig(providers=providers or (custom(),), **settings)


def refused(make: Callable[..., object], **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make(**settings)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


# What a provider takes from its preset.


def test_a_known_name_needs_nothing_but_a_key() -> None:
    provider = ProviderConfig(name="anthropic", api_key=KEY)
    assert provider.base_url == "https://api.anthropic.com"
    assert provider.dialect == "anthropic"
    assert provider.vendor == "anthropic"
    assert provider.headers == {"anthropic-version": "2023-06-01"}
    assert (provider.auth_header, provider.auth_prefix) == ("x-api-key", "")
    assert provider.models_path == "/v1/models?limit=1"
    assert provider.quirks.temperature_max == 1.0


def test_a_custom_provider_needs_an_address_and_serves_every_name() -> None:
    provider = custom()
    assert (provider.dialect, provider.vendor, provider.preset) == ("openai", "generic", None)
    assert (provider.auth_header, provider.auth_prefix) == ("Authorization", "Bearer ")
    assert provider.keys == ()
    assert provider.serves("any/model:at-all") == "any/model:at-all"


def test_another_name_can_start_from_a_preset() -> None:
    provider = ProviderConfig(name="backup", preset="holysheep", api_key=KEY)
    assert provider.vendor == "holysheep"
    assert provider.serves("claude-sonnet-4-5") == "claude-sonnet-4.5"


def test_what_is_given_wins_over_the_preset() -> None:
    provider = ProviderConfig(
        name="anthropic",
        api_key=KEY,
        base_url="https://gateway.example.com/anthropic/",
        headers={"Anthropic-Version": "2099-01-01", "X-Team": "search"},
        models_path="",
        upstream=["anthropic"],
    )
    assert provider.base_url == "https://gateway.example.com/anthropic"
    assert provider.headers == {"Anthropic-Version": "2099-01-01", "X-Team": "search"}
    assert (provider.models_path, provider.upstream) == ("", ("anthropic",))


def test_local_servers_get_a_short_connect_timeout() -> None:
    assert ProviderConfig(name="ollama").connect_timeout == 2.0
    assert openai().connect_timeout == 5.0
    assert ProviderConfig(name="ollama", connect_timeout=9).connect_timeout == 9


def test_a_list_of_models_keeps_the_ids_of_the_preset() -> None:
    provider = ProviderConfig(name="holysheep", api_key=KEY, models=["claude-sonnet-4-5", "new-model"])
    assert provider.serves("claude-sonnet-4-5") == "claude-sonnet-4.5"
    assert provider.serves("new-model") == "new-model"
    assert provider.serves("gpt-4.1") is None
    assert provider.known_models == ("claude-sonnet-4-5", "new-model")


def test_a_table_of_models_says_which_id_is_sent() -> None:
    provider = custom(models={"gpt-4.1": "production-gpt-41"})
    assert provider.serves("gpt-4.1") == "production-gpt-41"
    assert provider.serves("production-gpt-41") is None
    assert provider.model_info("production-gpt-41").context_window == 1_000_000
    assert provider.model_info("something-else") == ModelInfo()


def test_a_table_of_quirks_changes_single_ones_and_a_value_all() -> None:
    assert ProviderConfig(name="mistral", api_key=KEY, quirks={"stop_max": 1}).quirks.seed_field == "random_seed"  # type: ignore[arg-type]
    assert ProviderConfig(name="mistral", api_key=KEY, quirks=Quirks(stop_max=1)).quirks.seed_field == "seed"


def test_a_changed_copy_keeps_what_was_settled() -> None:
    provider = openai(models=["gpt-4.1"], headers={"X-Team": "search"})
    changed = replace(provider, timeout=3.0)
    assert changed.timeout == 3.0
    assert replace(changed, timeout=30.0) == provider
    assert changed.keys == provider.keys


def test_given_mappings_are_copied() -> None:
    headers, extra = {"X-Team": "search"}, {"metadata": {"team": ["search"]}}
    provider = custom(headers=headers, extra=extra)
    headers["X-Team"] = "other"
    extra["metadata"]["team"].append("other")
    assert provider.headers == {"X-Team": "search"}
    assert provider.extra == {"metadata": {"team": ["search"]}}


def test_settings_do_not_change() -> None:
    for config in (custom(), router(), RetryConfig(), CircuitBreakerConfig()):
        with pytest.raises(FrozenInstanceError):
            setattr(config, fields(config)[0].name, 1)


# What is refused, and how.

SELF: list[Any] = []
SELF.append(SELF)

BAD_PROVIDER: list[tuple[str, Any, str]] = [
    *(("timeout", value, "above 0 and at most 86400") for value in (0, -1, math.nan, math.inf, "30", True, None, [30])),
    *(("connect_timeout", value, "above 0 and at most 3600") for value in (0, -1, math.nan, "5", True)),
    *(("quota_off", value, "above 0 and at most 2.592e+06") for value in (0, math.nan, "1h")),
    *(("weight", value, "above 0") for value in (0, -1, math.nan, "1", False)),
    *(("max_retries", value, "whole number from 0 to 100") for value in (-1, 101, 1.0, "2", True, None)),
    *(("pool_size", value, "whole number from 1 to 10000") for value in (0, -5, 1.5, "many")),
    *(("max_answer_bytes", value, "whole number from 1024") for value in (0, 1023, 1e9, "1 GB")),
    *(("priority", value, "whole number from 0") for value in (-1, 0.5, "first", True)),
    *(("enabled", value, "true or false") for value in (1, "yes", None)),
    *(("allow_http", value, "true or false") for value in (0, "no")),
    ("dialect", "opnai", "did you mean 'openai'?"),
    ("dialect", 5, "one of openai, anthropic, gemini"),
    ("preset", "antropic", "did you mean 'anthropic'?"),
    ("preset", 5, "a text is needed"),
    ("base_url", "llm.example.com", "absolute address"),
    ("base_url", 5, "a text is needed"),
    ("models", [], "at least one model"),
    ("models", "gpt-4.1", "a list of texts"),
    ("models", ["gpt-4.1", 5], "models[1]"),
    ("models", {"gpt-4.1": ""}, "providers.mine.models.gpt-4.1"),
    ("models", {"gpt-4.1": 5}, "providers.mine.models.gpt-4.1"),
    ("headers", {"X Team": "search"}, "a header name"),
    ("headers", {"X-Team": "a\r\nX-Other: b"}, "without control characters"),
    ("headers", {"X-Team": "café"}, "ASCII text"),
    ("headers", {"X-Team": " a"}, "white space at its ends"),
    ("headers", {"X-Team": 5}, "without control characters"),
    ("headers", ["X-Team"], "a table of texts"),
    ("query", {"version": 5}, "without control characters"),
    ("extra", {"model": "other"}, "set by failsafe"),
    ("extra", {"stream": True}, "set by failsafe"),
    ("extra", {"top_k": math.nan}, "providers.mine.extra.top_k"),
    ("extra", {"deep": [{"raw": b"bytes"}]}, "providers.mine.extra.deep[0].raw"),
    ("extra", {"big": 2**64}, "providers.mine.extra.big"),
    ("extra", {"text": "\udc80"}, "providers.mine.extra.text"),
    ("extra", {"deep": SELF}, "nested less deeply"),
    ("timeout", 10**400, "above 0 and at most 86400"),
    ("timeout", 16**10_000, "timeout = (int): a number"),
    ("timeout", SELF, "timeout = [[...]]: a number"),
    ("extra", ["top_k"], "a table of body fields"),
    ("auth_header", "X Key", "a header name"),
    ("auth_prefix", "Bearer\n", "without control characters"),
    ("allow_key_host", "llm.example.com", "a list of texts"),
    ("upstream", [5], "upstream[0]"),
    ("quirks", {"drop": []}, "did you mean 'drops'?"),
    ("quirks", {"stop_max": "four"}, "stop_max"),
    ("quirks", 5, "a table of quirks"),
    ("quirks", {"tool_call_id": "("}, "providers.mine.quirks.tool_call_id = '(': a regular expression is needed"),
    ("quirks", {"temperature_max": float("nan")}, "quirks.temperature_max = nan: a number above 0"),
    ("quirks", {"stop_max": -1}, "quirks.stop_max = -1: a whole number"),
    ("quirks", {"images": ["url", "file"]}, "quirks.images = 'file': one of url, data"),
    ("quirks", {"seed_field": "model"}, "quirks.seed_field = 'model': a field that failsafe does not write itself"),
    ("quirks", {"max_tokens_field": ""}, "quirks.max_tokens_field = '': a text is needed"),
    ("quirks", Quirks(drops="temperature"), "Expected `array`, got `str` - at `$.drops`"),  # type: ignore[arg-type]
    ("headers", {"Upgrade": "h2c"}, "this header is set by failsafe"),
    ("headers", {"content-encoding": "gzip"}, "this header is set by failsafe"),
    ("ca_bundle", "~nobody-of-this-name/ca.pem", "an existing file or folder is needed"),
    ("api_key", "env:", "the name of an environment variable is needed"),
    ("breaker", {"failure_threshold": 3}, "a CircuitBreakerConfig is needed"),
    ("ca_bundle", "/no/such/file.pem", "an existing file or folder"),
    ("client_cert", "/no/such/file.pem", "an existing file"),
    ("client_cert", ["one", "two", "three"], "the pair of certificate and key"),
    ("proxy", "proxy.example.com:3128", "absolute address"),
    ("proxy", "socks5://proxy.example.com", "absolute address"),
    ("models_path", "models", "begins with '/'"),
    ("api_key", 5, "a text or a list of texts"),
    ("api_key", [], "a list of texts"),
    ("api_key", [KEY, None], "api_key[1]"),
]


@pytest.mark.parametrize(
    ("name", "value", "said"), BAD_PROVIDER, ids=[f"{name}-{place}" for place, (name, _, _) in enumerate(BAD_PROVIDER)]
)
def test_a_wrong_setting_is_named_with_what_is_allowed(name: str, value: Any, said: str) -> None:
    message = refused(custom, **{name: value})
    assert re.match(rf"(a name in )?providers\.mine\.{name}\b", message)
    assert said in message


@pytest.mark.parametrize("name", ["", "my provider", "a:b", "-a", "a" * 65, 5, None, "größe"])
def test_a_name_is_short_and_plain(name: Any) -> None:
    assert "letters, digits" in refused(ProviderConfig, name=name, base_url="https://llm.example.com")


def test_an_unknown_name_without_an_address_is_taken_for_a_slip() -> None:
    assert "did you mean 'openai'?" in refused(ProviderConfig, name="opnai", api_key=KEY)


def test_azure_needs_an_address_of_ones_own() -> None:
    assert "https://{resource}.openai.azure.com" in refused(ProviderConfig, name="azure", api_key=KEY)


@pytest.mark.parametrize(
    "name", ["Authorization", "authorization", "X-Api-Key", "api-key", "X-Goog-Api-Key", "Host", "X-Own"]
)
def test_a_header_that_carries_the_key_is_not_a_header_of_ones_own(name: str) -> None:
    message = refused(custom, headers={name: KEY}, auth_header="X-Own")
    assert "api_key" in message
    assert KEY not in message


@pytest.mark.parametrize("name", ["key", "api_key", "API-Key", "access_token"])
def test_no_key_travels_in_the_address(name: str) -> None:
    message = refused(custom, query={name: KEY})
    assert "no key travels in an address" in message
    assert KEY not in message


def test_files_that_exist_are_taken(tmp_path: Path) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    certificate.touch()
    key.touch()
    provider = custom(ca_bundle=str(tmp_path), client_cert=(str(certificate), str(key)), proxy="http://127.0.0.1:3128/")
    assert provider.ca_bundle == str(tmp_path)
    assert provider.client_cert == (str(certificate), str(key))
    assert provider.proxy == "http://127.0.0.1:3128"
    assert custom(client_cert=str(certificate)).client_cert == str(certificate)


# Keys.


@pytest.mark.parametrize(
    "key", ["", " ", KEY + "\n", f"Bearer {KEY}", f'"{KEY}"', KEY + " x", KEY + "\u2010", "<4711>"]
)
def test_a_spoilt_key_is_refused_without_being_shown(key: str) -> None:
    message = refused(custom, api_key=key)
    assert message.startswith("providers.mine.api_key: the key ")
    assert "4711" not in message


def test_the_message_says_where_a_spoilt_key_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKED_API_KEY", KEY + "\n")
    message = refused(custom, api_key=["env:MARKED_API_KEY", "other"])
    assert message.startswith("providers.mine.api_key[0] (env:MARKED_API_KEY): the key ends with a newline")


def test_a_variable_that_is_not_set_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARKED_API_KEY", raising=False)
    message = refused(custom, api_key="env:MARKED_API_KEY")
    assert message.startswith("providers.mine.api_key = 'env:MARKED_API_KEY': ")


def test_several_keys_keep_their_order_and_double_ones_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKED_API_KEY", "from-the-environment")
    provider = custom(api_key=["one-key", Secret("two-key"), "one-key", "env:MARKED_API_KEY"])
    assert [key.reveal() for key in provider.keys] == ["one-key", "two-key", "from-the-environment"]
    assert provider.api_key == provider.keys


def test_at_its_own_address_a_preset_finds_its_key_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    provider = ProviderConfig(name="gemini")
    assert [key.source for key in provider.keys] == ["env:GEMINI_API_KEY"]
    assert ProviderConfig(name="gemini", base_url="http://127.0.0.1:9").keys == ()


def test_a_vendor_without_a_key_says_which_variable_to_export() -> None:
    assert "export OPENAI_API_KEY and set api_key = 'env:OPENAI_API_KEY'" in refused(ProviderConfig, name="openai")


def test_a_disabled_provider_needs_no_key() -> None:
    provider = ProviderConfig(name="openai", api_key="env:NO_SUCH_VARIABLE", enabled=False)
    assert (provider.enabled, provider.keys, provider.api_key) == (False, (), None)


@pytest.mark.parametrize(
    "place", ["base_url", "dialect", "preset", "timeout", "priority", "models", "proxy", "auth_prefix"]
)
def test_a_key_in_the_wrong_setting_is_not_shown(place: str) -> None:
    assert "4711" not in refused(custom, **{place: KEY})


@pytest.mark.parametrize("key", [KEY, ["first-4711", "second-4711"]])
def test_no_form_of_the_settings_shows_a_key(key: Any) -> None:
    provider = custom(api_key=key, headers={"X-Token": "4711"}, query={"v": "4711"}, extra={"x": "4711"})
    config = router(provider)
    shown = [repr(provider), str(provider), repr(config), f"{config}", str(asdict(provider)["keys"])]
    assert [form for form in shown if "4711" in form] == []
    assert provider.keys[0].fingerprint in repr(provider)


def test_settings_with_keys_by_value_do_not_pickle() -> None:
    with pytest.raises(TypeError, match="env:NAME") as caught:
        pickle.dumps(router(custom(api_key=KEY)))
    assert KEY not in str(caught.value)


def test_settings_with_references_pickle_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKED_API_KEY", KEY)
    config = router(custom(api_key="env:MARKED_API_KEY"), aliases={"fast": ["gpt-4.1"]})
    data = pickle.dumps(config)
    assert KEY.encode() not in data
    assert pickle.loads(data) == config


def test_copies_are_equal() -> None:
    config = router(openai(), aliases={"fast": ["gpt-4.1"]})
    assert copy.deepcopy(config) == copy.copy(config) == config


# Where keys may go.


def vendor_key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return "env:OPENAI_API_KEY"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://eu.api.openai.com/v1",
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "http://[::1]",
    ],
)
def test_a_vendors_variable_goes_to_the_vendor_and_to_this_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert custom(base_url=url, api_key=vendor_key(monkeypatch)).keys


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evilapi.openai.com/v1",
        "https://api.anthropic.com",
        "https://localhost.evil.example",
    ],
)
@pytest.mark.parametrize("name", ["mine", "openai"])
def test_a_vendors_variable_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch, url: str, name: str) -> None:
    message = refused(ProviderConfig, name=name, base_url=url, api_key=["harmless", vendor_key(monkeypatch)])
    assert "env:OPENAI_API_KEY holds a key of OpenAI and may only be sent to api.openai.com" in message
    assert "allow_key_host = [" in message


def test_a_secret_from_a_vendors_variable_is_held_to_its_hosts_too() -> None:
    secret = Secret(KEY, source="keyring:openai_api_key")
    assert "may only be sent to" in refused(custom, api_key=secret)


def test_an_allowed_host_may_have_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = vendor_key(monkeypatch)
    assert custom(api_key=key, allow_key_host=["llm.example.com"]).keys
    assert custom(api_key=key, allow_key_host=["*.example.com"]).keys
    assert "may only be sent to" in refused(custom, api_key=key, allow_key_host=["*.llm.example.com"])


def test_variables_of_nobody_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", KEY)
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    assert custom(api_key=["env:GATEWAY_KEY", "env:VLLM_API_KEY"]).keys


@pytest.mark.parametrize("url", ["http://llm.example.com/v1", "http://10.0.0.1:8000", "http://0.0.0.0:8000"])
def test_a_key_travels_encrypted_or_not_at_all(url: str) -> None:
    assert "allow_http = true" in refused(custom, base_url=url, api_key=KEY)
    assert custom(base_url=url, api_key=KEY, allow_http=True).keys
    assert custom(base_url=url).keys == ()


def test_a_proxy_elsewhere_does_not_see_a_key_for_this_machine() -> None:
    local = {"base_url": "http://127.0.0.1:8080", "api_key": KEY}
    assert "allow_http = true" in refused(custom, proxy="http://proxy.example.com:3128", **local)
    assert custom(proxy="http://127.0.0.1:3128", **local).keys
    assert custom(proxy="http://proxy.example.com:3128", api_key=KEY).keys


# The router.


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout": 0}, "timeout = 0"),
        ({"timeout": None}, "timeout = None"),
        ({"timeout": math.nan}, "timeout = nan"),
        ({"timeout": True}, "timeout = True"),
        ({"retry": {"max_retries": 1}}, "a RetryConfig is needed"),
        ({"breaker": None}, "a CircuitBreakerConfig is needed"),
        ({"same_provider_retries": 11}, "from 0 to 10"),
        ({"failover_on_content_filter": "yes"}, "true or false"),
        ({"max_request_bytes": 10}, "from 1024"),
        ({"providers": ()}, "at least one ProviderConfig"),
        ({"providers": "openai"}, "at least one ProviderConfig"),
        ({"providers": ["openai"]}, "providers[0]"),
        ({"providers": [custom(), custom()]}, "a name of its own"),
        ({"providers": [custom(enabled=False)]}, "at least one enabled provider"),
        ({"aliases": ["fast"]}, "a table from each name"),
        ({"aliases": {"fast": "gpt-4.1"}}, "aliases.fast = 'gpt-4.1': a list of texts"),
        ({"aliases": {"fast": []}}, "a model that one of the providers serves"),
        ({"aliases": {"": ["gpt-4.1"]}}, "a name in aliases"),
        ({"aliases": {"fast": [5]}}, "aliases.fast[0]"),
    ],
)
def test_a_wrong_setting_of_the_router_is_named(settings: dict[str, Any], said: str) -> None:
    assert said in refused(RouterConfig, **{"providers": [custom()], **settings})


def test_an_alias_must_be_served_by_somebody() -> None:
    assert "aliases do not nest" in refused(
        RouterConfig, providers=[openai()], aliases={"fast": ["gpt-4.1"], "best": ["fast"]}
    )
    kept = router(openai(), aliases={"fast": ["gpt-4.1", "claude-haiku-5-5"]})
    assert kept.aliases == {"fast": ("gpt-4.1", "claude-haiku-5-5")}


def test_a_misspelt_provider_in_an_alias_is_named() -> None:
    message = refused(RouterConfig, providers=[openai()], aliases={"fast": ["opnai:gpt-4.1", "gpt-4.1"]})
    assert message == "aliases.fast = 'opnai:gpt-4.1': no provider is called 'opnai' (did you mean 'openai'?)"


def routes(config: RouterConfig, model: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(route.provider.name, route.models) for route in config.targets(model)]


def test_the_same_model_crosses_providers_under_each_ones_id() -> None:
    config = router(
        openai(), ProviderConfig(name="openrouter", api_key=KEY), ProviderConfig(name="anthropic", api_key=KEY)
    )
    assert routes(config, "gpt-4.1") == [("openai", ("gpt-4.1",)), ("openrouter", ("openai/gpt-4.1",))]
    assert routes(config, "nobody-has-this") == []


def test_an_alias_brings_other_models_in_its_order() -> None:
    config = router(
        openai(),
        ProviderConfig(name="anthropic", api_key=KEY),
        aliases={"fast": ["claude-haiku-5-5", "gpt-4.1-mini", "gpt-4.1", "openai:gpt-4.1-mini"]},
    )
    assert routes(config, "fast") == [("openai", ("gpt-4.1-mini", "gpt-4.1")), ("anthropic", ("claude-haiku-5-5",))]


def test_a_bound_model_goes_to_that_provider_only_and_unknown_names_too() -> None:
    config = router(openai(), custom())
    assert routes(config, "openai:brand-new") == [("openai", ("brand-new",))]
    assert routes(config, "llama3.2:3b") == [("mine", ("llama3.2:3b",))]


def test_embeddings_are_asked_of_those_who_serve_the_very_model() -> None:
    config = router(
        openai(), ProviderConfig(name="openrouter", api_key=KEY), ProviderConfig(name="anthropic", api_key=KEY)
    )
    found = [(route.provider.name, route.models) for route in config.embedding_targets("text-embedding-3-small")]
    assert found == [("openai", ("text-embedding-3-small",)), ("openrouter", ("openai/text-embedding-3-small",))]
    assert config.embedding_targets("gpt-4.1") == ()
    assert routes(config, "text-embedding-3-small") == []


def test_a_name_for_embeddings_must_be_of_a_model_that_embeds() -> None:
    kept = router(openai(), embeddings={"vectors": ["text-embedding-3-small", "gpt-4.1"]})
    assert [route.models for route in kept.embedding_targets("vectors")] == [("text-embedding-3-small",)]
    assert "embeddings.vectors" in refused(RouterConfig, providers=[openai()], embeddings={"vectors": ["gpt-4.1"]})
    assert "aliases.fast" in refused(RouterConfig, providers=[openai()], aliases={"fast": ["text-embedding-3-small"]})


def test_priority_comes_before_position_and_disabled_ones_are_left_out() -> None:
    config = router(
        custom(priority=1),
        replace(custom(), name="second"),
        replace(custom(), name="third", priority=0),
        replace(custom(), name="fourth", priority=1),
        replace(custom(), name="off", enabled=False),
    )
    assert [each.name for each in config.ordered] == ["third", "mine", "second", "fourth"]


# Policies.


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (RetryConfig, {"max_retries": -1}, "max_retries = -1"),
        (RetryConfig, {"base_delay": math.nan}, "base_delay = nan"),
        (RetryConfig, {"max_delay": 0.1}, "at least base_delay (0.5)"),
        (RetryConfig, {"exponential_base": 0.5}, "from 1 to 1000"),
        (RetryConfig, {"jitter": 1}, "true or false"),
        (RetryConfig, {"retry_after_cap": -1}, "retry_after_cap = -1"),
        (RetryConfig, {"retry_on": ValueError}, "a tuple of exception classes"),
        (RetryConfig, {"retry_on": (KeyboardInterrupt,)}, "a tuple of exception classes"),
        (CircuitBreakerConfig, {"failure_threshold": 0}, "failure_threshold = 0"),
        (CircuitBreakerConfig, {"success_threshold": True}, "success_threshold = True"),
        (CircuitBreakerConfig, {"timeout": "60"}, "timeout = '60'"),
        (CircuitBreakerConfig, {"half_open_max_calls": 0}, "half_open_max_calls = 0"),
        (CircuitBreakerConfig, {"half_open_max_wait": 0}, "half_open_max_wait = 0"),
        (CircuitBreakerConfig, {"timeout_jitter": 2}, "from 0 to 1"),
        (CircuitBreakerConfig, {"timeout_multiplier": 0.9}, "from 1 to 1000"),
        (CircuitBreakerConfig, {"max_timeout": 5}, "from 60 to 86400"),
    ],
)
def test_a_wrong_setting_of_a_policy_is_named(kind: Any, settings: dict[str, Any], said: str) -> None:
    assert said in refused(kind, **settings)


def test_the_defaults_are_those_of_the_design() -> None:
    assert RetryConfig() == RetryConfig(max_retries=2, base_delay=0.5, max_delay=8.0, jitter=True)
    assert CircuitBreakerConfig() == CircuitBreakerConfig(
        failure_threshold=5, success_threshold=3, timeout=60.0, half_open_max_calls=3
    )
    assert (router().timeout, router().same_provider_retries, custom().timeout, custom().max_retries) == (60, 0, 30, 2)


# Messages and documentation.


def test_a_long_value_is_cut_in_the_message() -> None:
    message = refused(custom, timeout="x" * 100_000_000)
    assert len(message) < 400


@pytest.mark.parametrize("kind", [RouterConfig, ProviderConfig, Quirks, *ROUTER_POLICIES.values()])
def test_the_guide_names_every_setting(kind: Any) -> None:
    names = kind.__struct_fields__ if kind is Quirks else [each.name for each in fields(kind) if each.init]
    documented = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert [name for name in names if name not in documented] == []


def test_a_suggestion_is_made_only_for_what_is_close() -> None:
    assert checks.suggestion("timeot", ["timeout", "retry"]) == " (did you mean 'timeout'?)"
    assert checks.suggestion("zzz", ["timeout", "retry"]) == ""
