"""Settings from a file that can be trusted, and from the environment."""

from __future__ import annotations

import logging
import os
import pickle
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import loader, trusted_file
from failsafe.catalog import catalog
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError
from failsafe.monitoring_config import StoreConfig
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig

KEY = "sk-marked-4711-do-not-show"
EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "failsafe.toml"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration that is readable by its owner alone, unless told otherwise."""

    def write(text: str | bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "failsafe.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        loader.load_file(path)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "4711" not in str(caught.value)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# What a file can say.


def test_the_example_of_the_guide_loads(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BACKUP_KEY",
        "HOLYSHEEP_API_KEY",
    ):
        monkeypatch.setenv(name, f"marked-{name}")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    config = loader.load_file(write(EXAMPLE.read_bytes(), mode=0o644))
    providers = {each.name: each for each in config.providers}
    assert [each.name for each in config.ordered] == [
        "openai", "anthropic", "anthropic-backup", "azure", "ollama", "holysheep",
    ]  # fmt: skip
    assert [key.source for key in providers["openai"].keys] == ["env:OPENAI_API_KEY", "env:OPENAI_API_KEY_2"]
    assert providers["anthropic"].breaker == CircuitBreakerConfig(failure_threshold=3, timeout=30.0)
    assert providers["anthropic-backup"].vendor == "anthropic"
    assert providers["azure"].serves("gpt-4.1") == "production-gpt-41"
    assert not providers["gateway"].enabled
    assert config.aliases["fast"] == ("gpt-4.1-mini", "claude-haiku-5-5", "ollama:llama3.2")
    assert [route.provider.name for route in config.targets("fast")] == [
        "openai", "anthropic", "anthropic-backup", "ollama", "holysheep",
    ]  # fmt: skip
    assert config.retry == RetryConfig(max_retries=2, base_delay=0.5, max_delay=8.0)


def test_everything_at_the_top_reaches_the_router(write: Write) -> None:
    path = write(
        """
        timeout = 5
        same_provider_retries = 1
        failover_on_content_filter = true
        max_request_bytes = 2048
        retry = { max_retries = 0, jitter = false }
        breaker = { success_threshold = 1 }
        aliases = { fast = ["any"] }
        providers.mine.base_url = "https://llm.example.com"
        """
    )
    config = loader.load_file(path)
    assert (config.timeout, config.same_provider_retries, config.max_request_bytes) == (5, 1, 2048)
    assert config.failover_on_content_filter
    assert config.retry == RetryConfig(max_retries=0, jitter=False)
    assert config.breaker == CircuitBreakerConfig(success_threshold=1)
    assert config.aliases == {"fast": ("any",)}


def test_a_byte_order_mark_and_windows_line_ends_are_read(write: Write) -> None:
    path = write(b'\xef\xbb\xbf[providers.mine]\r\nbase_url = "https://llm.example.com"\r\n')
    assert loader.load_file(path).providers[0].name == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "providers: at least one table [providers.NAME]"),
        ("providers = 5", "providers = 5: a table [providers] is needed"),
        ("providers = []", "a table [providers] is needed"),
        ("[providers]\nmine = 5", "providers.mine = 5: a table [providers.mine] is needed"),
        ("timeot = 5", "timeot: there is no such setting (did you mean 'timeout'?)"),
        ("zzz = 5", "zzz: there is no such setting; known are providers, aliases, timeout"),
        ("[provider.mine]", "provider: there is no such setting (did you mean 'providers'?)"),
        (f"[providers.mine]\n{KEY} = 5", "providers.mine.[masked]: there is no such setting"),
        ("[providers.mine]\nkeys = []", "providers.mine.keys: there is no such setting"),
        ("[providers.mine]\nname = 'x'", "providers.mine.name: there is no such setting"),
        (
            "[providers.mine]\napikey = 'x4711'",
            "providers.mine.apikey: there is no such setting (did you mean 'api_key'?)",
        ),
        (
            "[providers.mine]\nbase_url = 'https://a.example'\ntimeout = '5'",
            "providers.mine.timeout = '5': a number above 0",
        ),
        (
            "[providers.mine]\nbase_url = 'https://a.example'\ntimeout = nan",
            "providers.mine.timeout = nan: a number above 0",
        ),
        ("[providers.mine]\nbase_url = 1979-05-27", "providers.mine.base_url = datetime.date(1979, 5, 27): a text"),
        ("[providers.mine.breaker]\ntimeot = 5", "providers.mine.breaker.timeot: there is no such setting"),
        ("[providers.mine.breaker]\ntimeout = 0", "providers.mine.breaker.timeout = 0: a number above 0"),
        ("[providers.mine]\nbreaker = 5", "a table [providers.mine.breaker] is needed"),
        (
            "[retry]\nmax_retries = -1\n[providers.mine]\nbase_url = 'https://a.example'",
            "retry.max_retries = -1: a whole",
        ),
        (
            "[retry]\nretry_on = []\n[providers.mine]\nbase_url = 'https://a.example'",
            "retry.retry_on: there is no such",
        ),
        ("breaker = 5\n[providers.mine]\nbase_url = 'https://a.example'", "breaker = 5: a table [breaker] is needed"),
        ("[aliases]\nfast = 'a'\n[providers.mine]\nbase_url = 'https://a.example'", "aliases.fast = 'a': a list"),
        ("[providers.'my name']\nbase_url = 'https://a.example'", "providers = 'my name': a name of 1 to 64 letters"),
    ],
)
def test_a_wrong_setting_is_named_in_full_with_the_file(write: Write, text: str, said: str) -> None:
    assert refused(write(text)).startswith(said) or said in refused(write(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "timeout = 5\ntimeout = 6\n",
            "line 2, column 12: this is not TOML: Cannot overwrite a value: 'timeout = ...'",
        ),
        (f'[providers.openai]\napi_key = "{KEY}\n', "line 2, column 38: this is not TOML"),
        (
            f"[providers.openai]\napi_key = {KEY}\n",
            "line 2, column 11: this is not TOML: Invalid value: 'api_key = ...'",
        ),
        (f'[providers.openai]\napi_key = [\n  "{KEY}"\n  "x"\n]\n', "line 4, column 3: this is not TOML"),
        (f"[providers.openai]\n{KEY}\n", "line 2"),
        ("[providers.openai\n", "line 1, column 18: this is not TOML: Expected ']'"),
        ("timeout = ", "this is not TOML: Invalid value (at the end of the file)"),
        (f'api_key = """{KEY}', "at the end of the file"),
        ("x = " + "[" * 100_000, "this is not TOML: it is nested too deeply"),
        ("x = " + "9" * 5000, "this is not TOML: Exceeds the limit"),
    ],
)
def test_a_malformed_file_is_reported_by_line_and_column_without_its_values(write: Write, text: str, said: str) -> None:
    assert said in refused(write(text))


def test_a_file_that_is_not_utf8_is_reported_by_line(write: Write) -> None:
    assert refused(write(b"timeout = 5\n# caf\xe9\n")) == "line 2 is not UTF-8; save the file as UTF-8"


SETTINGS = sorted({each.name for kind in (RouterConfig, ProviderConfig) for each in fields(kind)} - {"providers"})
values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(), st.binary(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(st.sampled_from(SETTINGS) | st.text(max_size=8), values, max_size=3)


@given(tables, tables, st.sampled_from(["openai", "azure", "ollama", "mine"]))
def test_any_table_gives_settings_or_a_configuration_error(top: Any, provider: Any, name: str) -> None:
    table = {**top, "providers": {name: {"base_url": "http://127.0.0.1:1", **provider}}}
    try:
        config = loader.parse(table)
    except ConfigError:
        return
    assert config.providers[0].name == name
    assert repr(config)


# Which file is trusted.

GOOD = f'[providers.mine]\nbase_url = "https://llm.example.com"\napi_key = "{KEY}"\n'


def test_a_key_by_value_is_taken_from_a_file_that_only_its_owner_reads(write: Write) -> None:
    assert loader.load_file(write(GOOD)).providers[0].keys[0].reveal() == KEY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
@pytest.mark.parametrize("given", [f'"{KEY}"', f'["env:OPENAI_API_KEY", "{KEY}"]'])
def test_a_key_by_value_is_refused_in_a_file_that_others_read(write: Write, mode: int, given: str) -> None:
    path = write(f'[providers.mine]\nbase_url = "https://a.example"\napi_key = {given}\n', mode=mode)
    assert f"run: chmod 600 {path}" in refused(path)


def test_references_may_be_read_by_everybody(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKED_API_KEY", KEY)
    path = write(GOOD.replace(KEY, "env:MARKED_API_KEY"), mode=0o644)
    assert loader.load_file(path).providers[0].keys[0].source == "env:MARKED_API_KEY"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(write: Write, mode: int) -> None:
    path = write(GOOD, mode=mode)
    assert f"run: chmod go-w {path}" in refused(path)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_file_in_a_folder_that_others_can_write_is_refused(write: Write, mode: int) -> None:
    path = write(GOOD)
    path.parent.chmod(mode)
    assert f"run: chmod go-w {path.parent}" in refused(path)
    path.parent.chmod(mode | stat.S_ISVTX)
    assert loader.load_file(path).providers


def test_the_folder_behind_a_link_is_looked_at_too(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    write(GOOD).rename(folder / "failsafe.toml")
    link = tmp_path / "link.toml"
    link.symlink_to(folder / "failsafe.toml")
    assert loader.load_file(link).providers
    folder.chmod(0o777)
    assert f"run: chmod go-w {folder}" in refused(link)


def test_no_folder_above_lets_everybody_exchange_what_is_in_it(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "open" / "mine"
    folder.mkdir(parents=True)
    write(GOOD).rename(folder / "failsafe.toml")
    folder.parent.chmod(0o777)
    assert f"run: chmod go-w {folder.parent}" in refused(folder / "failsafe.toml")
    folder.parent.chmod(0o1777)
    assert loader.load_file(folder / "failsafe.toml").providers


def test_a_folder_of_another_user_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner may put a link there, to a file of the reader's own that names other hosts."""
    path, status_of = write(GOOD), os.stat

    def of_another(name: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        found = list(status_of(name, *args, **kwargs))
        if Path(name) == path.parent:
            found[stat.ST_UID] = os.geteuid() + 4242
        return os.stat_result(found)

    monkeypatch.setattr(os, "stat", of_another)
    assert "belongs to another user" in refused(path)


def test_a_file_of_another_user_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(GOOD)
    status = list(path.stat())
    status[stat.ST_UID] = os.geteuid() + 4242
    monkeypatch.setattr(os, "fstat", lambda _descriptor: os.stat_result(status))
    assert "belongs to another user" in refused(path)
    status[stat.ST_UID] = 0
    assert loader.load_file(path).providers


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in refused(pipe)
    assert "not a regular file" in refused(tmp_path)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing.toml")


@pytest.mark.parametrize("path", [5, None, "~nobody-of-this-name/failsafe.toml"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigError, match="the path of a file is needed") as caught:
        loader.load_file(path)
    assert caught.value.__context__ is None


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_opens_and_cannot_be_read_says_why() -> None:
    assert "the file cannot be read" in refused(Path("/proc/self/mem"))


@pytest.mark.parametrize("key", ["a." * 50_000 + "a", " . ".join(["'a'"] * 20_000), '"a\\"' + '."b"' * 60])
def test_a_key_of_very_many_parts_is_refused_before_it_eats_the_memory(write: Write, key: str) -> None:
    for text in (f"{key} = 1", f"[{key}]", f"x = {{ {key} = 1 }}"):
        assert "nested too deeply" in refused(write(f"{GOOD}\n{text}"))


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="its name is not valid"):
        loader.load_file("a\0b")


def test_a_huge_file_is_refused(write: Write) -> None:
    assert "larger than 1 MiB" in refused(write(b"#" * (trusted_file.LARGEST + 1)))
    exactly = GOOD.encode() + b"#" * (trusted_file.LARGEST - len(GOOD))
    assert loader.load_file(write(exactly)).providers


def test_the_opened_file_is_checked_not_its_name(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(GOOD)
    really_open = os.open

    def open_and_exchange(name: Any, *args: Any) -> int:
        descriptor = really_open(name, *args)
        path.unlink()
        path.write_text('[providers.evil]\nbase_url = "https://evil.example"\n')
        return descriptor

    monkeypatch.setattr(os, "open", open_and_exchange)
    assert [each.name for each in loader.load_file(path).providers] == ["mine"]


def test_every_descriptor_is_closed(write: Write) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    loader.load_file(write(GOOD))
    refused(write(GOOD, mode=0o666))
    refused(write(GOOD).parent)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# Where the file is looked for.


def test_without_a_file_there_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert loader.default_path() is None


def test_the_users_folder_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    usual = tmp_path / "failsafe" / "failsafe.toml"
    usual.parent.mkdir()
    usual.touch()
    assert loader.default_path() == usual


def test_the_named_file_comes_first_even_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "named.toml"
    monkeypatch.setenv("FAILSAFE_CONFIG", str(named))
    assert loader.default_path() == named
    with pytest.raises(ConfigError, match=r"named\.toml: the file cannot be read"):
        loader.load()


def test_a_named_file_must_not_depend_on_the_current_folder() -> None:
    with pytest.raises(ConfigError, match="an absolute path is needed"):
        loader.default_path({"FAILSAFE_CONFIG": "failsafe.toml"})


def test_the_current_folder_is_never_looked_at(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.chdir(tmp_path)
    for home in (".", "", str(tmp_path / "nothing")):
        monkeypatch.setenv("XDG_CONFIG_HOME", home)
        monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
        assert loader.default_path() is None


def test_load_takes_the_path_else_the_named_file_else_the_environment(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    assert [each.name for each in loader.load(write(GOOD)).providers] == ["mine"]
    assert [each.name for each in loader.load().providers] == ["groq"]
    monkeypatch.setenv("FAILSAFE_CONFIG", str(write(GOOD)))
    assert [each.name for each in loader.load().providers] == ["mine"]


# The environment alone.


def names(config: RouterConfig) -> list[str]:
    return [each.name for each in config.providers]


def unusable(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        loader.from_env(environ)
    assert "4711" not in str(caught.value)
    assert caught.value.__context__ is None
    return str(caught.value)


def test_every_provider_whose_key_is_set_in_the_catalogues_order(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="failsafe"):
        config = loader.from_env(
            {"GROQ_API_KEY": KEY, "OPENAI_API_KEY": KEY, "HOLYSHEEP_API_KEY": KEY, "XAI_API_KEY": ""}
        )
    assert names(config) == ["holysheep", "openai", "groq"]
    assert [record.name for record in caplog.records] == ["failsafe"]
    said = caplog.text
    assert said.index("holysheep (env:HOLYSHEEP_API_KEY") < said.index("openai (env:OPENAI") < said.index("groq (env:")
    assert "4711" not in said


def test_every_vendor_can_be_used_from_the_environment() -> None:
    vendors = {name: preset for name, preset in catalog().presets.items() if not preset.local}
    environ = {preset.key_env[-1]: KEY for preset in vendors.values()}
    environ["AZURE_OPENAI_ENDPOINT"] = "https://resource.openai.azure.com/"
    assert names(loader.from_env(environ)) == list(vendors)


def test_without_any_key_the_variables_looked_for_are_listed() -> None:
    message = unusable({})
    presets = catalog().presets.values()
    wanted = [each for preset in presets if not preset.local for each in preset.key_env]
    wanted += [preset.base_url_env for preset in presets if preset.local and preset.base_url_env]
    assert [name for name in wanted if name not in message] == []


def test_the_first_of_two_variables_wins() -> None:
    config = loader.from_env({"GEMINI_API_KEY": "second", "GOOGLE_API_KEY": "first"})
    assert [key.reveal() for key in config.providers[0].keys] == ["first"]


@pytest.mark.parametrize(
    ("name", "token", "rest"),
    [
        ("anthropic", "ANTHROPIC_AUTH_TOKEN", {}),
        ("azure", "AZURE_OPENAI_AD_TOKEN", {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com"}),
    ],
)
def test_a_token_is_sent_as_bearer_unless_a_key_is_set_and_only_to_the_vendor(
    name: str, token: str, rest: dict[str, str]
) -> None:
    provider = loader.from_env({token: KEY, **rest}).providers[0]
    assert [key.source for key in provider.keys] == [f"env:{token}"]
    assert (provider.auth_header, provider.auth_prefix) == ("Authorization", "Bearer ")
    key, variable = catalog().presets[name].key_env[0], catalog().presets[name].base_url_env or ""
    provider = loader.from_env({token: KEY, key: KEY, **rest}).providers[0]
    assert [secret.source for secret in provider.keys] == [f"env:{key}"]
    assert provider.auth_header == catalog().presets[name].auth_header
    assert f"env:{token} holds a key of" in unusable({token: KEY, variable: "https://gateway.example.com"})


@pytest.mark.parametrize(
    ("variable", "value", "address"),
    [
        ("OLLAMA_HOST", "127.0.0.1:1234", "http://127.0.0.1:1234/v1"),
        ("OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("OLLAMA_HOST", ":1234", "http://127.0.0.1:1234/v1"),
        ("OLLAMA_HOST", "[::]:1234", "http://127.0.0.1:1234/v1"),
        ("OLLAMA_HOST", "[::1]", "http://[::1]:11434/v1"),
        ("OLLAMA_HOST", "gpu-box", "http://gpu-box:11434/v1"),
        ("OLLAMA_HOST", "https://ollama.example.com", "https://ollama.example.com/v1"),
        ("VLLM_BASE_URL", "http://gpu-box:8000/v1/", "http://gpu-box:8000/v1"),
        ("LLAMACPP_BASE_URL", "http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("LMSTUDIO_BASE_URL", "http://127.0.0.1:1234/api/v1", "http://127.0.0.1:1234/api/v1"),
    ],
)
def test_a_local_server_is_used_when_its_address_is_set(variable: str, value: str, address: str) -> None:
    assert [each.base_url for each in loader.from_env({variable: value}).providers] == [address]


def test_a_local_servers_key_alone_does_not_bring_it_in() -> None:
    assert "no provider is configured" in unusable({"VLLM_API_KEY": KEY, "OLLAMA_API_KEY": KEY})
    config = loader.from_env({"VLLM_API_KEY": KEY, "VLLM_BASE_URL": "https://gpu-box:8000"})
    assert [key.source for key in config.providers[0].keys] == ["env:VLLM_API_KEY"]


@pytest.mark.parametrize(
    ("key", "variable", "value", "address"),
    [
        ("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://eu.api.openai.com/v1", "https://eu.api.openai.com/v1"),
        ("OPENAI_API_KEY", "OPENAI_BASE_URL", "http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("GROQ_API_KEY", "GROQ_BASE_URL", "https://api.groq.com", "https://api.groq.com/openai/v1"),
        ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com/", "https://api.anthropic.com"),
        (
            "AZURE_OPENAI_API_KEY",
            "AZURE_OPENAI_ENDPOINT",
            "https://r.openai.azure.com/",
            "https://r.openai.azure.com/openai/v1",
        ),
    ],
)
def test_an_address_variable_is_followed_and_completed(key: str, variable: str, value: str, address: str) -> None:
    assert [each.base_url for each in loader.from_env({key: KEY, variable: value}).providers] == [address]


def test_an_address_variable_cannot_send_a_key_to_a_stranger() -> None:
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://gateway.example.com/v1"}
    message = unusable(environ)
    assert "may only be sent to api.openai.com" in message
    assert "(from OPENAI_BASE_URL)" in message
    assert "FAILSAFE_ALLOW_KEY_HOST" in message
    config = loader.from_env({**environ, "FAILSAFE_ALLOW_KEY_HOST": " other.example.com, gateway.example.com "})
    assert config.providers[0].base_url == "https://gateway.example.com/v1"


def test_an_address_variable_cannot_send_a_key_unencrypted() -> None:
    message = unusable({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://api.openai.com/v1"})
    assert "https is needed" in message
    assert "(from OPENAI_BASE_URL)" in message


def test_azure_without_its_address_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("failsafe")
    seen = [handler for handler in logger.handlers if handler is not caplog.handler]
    for handler in seen:
        logger.removeHandler(handler)
    try:
        assert names(loader.from_env({"AZURE_OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY})) == ["groq"]
        assert "AZURE_OPENAI_API_KEY needs an address too" in unusable({"AZURE_OPENAI_API_KEY": KEY})
    finally:
        for handler in seen:
            logger.addHandler(handler)
    assert "AZURE_OPENAI_API_KEY is set without AZURE_OPENAI_ENDPOINT" in caplog.text


def test_a_spoilt_key_is_named_by_its_variable() -> None:
    assert "(env:OPENAI_API_KEY): the key ends with a newline" in unusable({"OPENAI_API_KEY": KEY + "\n"})


def test_organisation_and_project_are_sent_to_openai() -> None:
    config = loader.from_env({"OPENAI_API_KEY": KEY, "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-2"})
    assert config.providers[0].headers == {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj-2"}


def test_settings_from_the_environment_pickle_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = loader.from_env()
    data = pickle.dumps(config)
    assert KEY.encode() not in data
    assert pickle.loads(data) == config


def test_settings_do_not_import_what_only_loading_needs() -> None:
    program = (
        "import sys, failsafe.config\n"
        "print([name for name in ('tomllib', 'platformdirs', 'difflib', 'importlib.resources', 'keyring',"
        " 'requests') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout.strip() == "[]"


def test_a_table_without_a_setting_that_has_no_default_is_refused_in_words() -> None:
    providers = {"mine": {"base_url": "http://localhost/v1"}}
    with pytest.raises(ConfigError, match=r"^bulkhead\.max_concurrent: this setting is needed"):
        loader.parse({"providers": providers, "bulkhead": {}})
    with pytest.raises(ConfigError, match=r"^providers\.mine\.bulkhead\.max_concurrent: "):
        loader.parse({"providers": {"mine": {**providers["mine"], "bulkhead": {"max_wait": 1.0}}}})


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("", StoreConfig()),
        ('store = "off"', StoreConfig(enabled=False)),
        ('store = "/var/store.db"', StoreConfig(path="/var/store.db")),
        ("[store]\nkeep_attempts = 7200.0", StoreConfig(keep_attempts=7200.0)),
    ],
)
def test_the_settings_of_the_store_are_read_without_keys_and_providers(
    write: Write, text: str, store: StoreConfig
) -> None:
    path = write(text + '\n[providers.openai]\napi_key = "env:NOT_SET_ANYWHERE"\nno_such_setting = 1\n')
    assert loader.load_store(path) == store
    assert [*loader.load_table(path)["providers"]] == ["openai"]


def test_without_a_file_the_store_is_as_usual() -> None:
    assert loader.load_table() == {}
    assert loader.load_store() == StoreConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[store]\nno_such = 1", "store.no_such: there is no such setting"),
        ("store = 3", "a table [store] is needed"),
        ("[store", "this is not TOML"),
    ],
)
def test_wrong_settings_of_the_store_are_named(write: Write, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        loader.load_store(write(text))
