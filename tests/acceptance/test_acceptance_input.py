"""Bad input gets an error that names the thing, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError, InvalidRequest, ModelNotFound
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import FakeCloud
from tests.acceptance import leaks
from tests.acceptance.routers import config

USER = {"role": "user", "content": "hello"}


def tool(name: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


@pytest.fixture
def router(cloud: FakeCloud) -> Iterator[Router]:
    with Router(config(cloud)) as made:
        yield made
    assert [provider.connections for provider in cloud] == [0, 0, 0], "something was sent"


@pytest.mark.parametrize(
    ("timeout", "named"),
    [
        (-1, "timeout=-1"),
        (0, "timeout=0"),
        (None, "timeout=None"),
        (math.nan, "timeout=nan"),
        pytest.param(10**5000, "timeout=<int of 16610 bits>", id="huge"),
        (math.inf, "timeout=inf"),
        (True, "timeout=True"),
        ("10", "timeout='10'"),
    ],
)
def test_a_timeout_that_is_none_is_refused(router: Router, timeout: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}: a number of seconds above 0 is needed") as raised:
        router.chat("hello", model="fast", timeout=timeout)
    assert "Deadline.unlimited()" in str(raised.value)


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ([{"content": "hello"}], r"messages\[0\]\.role = None: one of system, "),
        ([USER, {"role": "robot", "content": "x"}], r"messages\[1\]\.role = 'robot'"),
        ([USER, {"role": "user"}], r"messages\[1\]\.content = None"),
        ([], r"messages = <list of 0>"),
        (None, r"messages = None"),
        (b"hello", r"messages = b'hello'"),
        ([USER, "hello"], r"messages\[1\] = 'hello'"),
        ("half a pair: \ud800", r"messages\[0\]\.content = .*character 13 is half a surrogate pair"),
        ([USER, {"role": "user", "content": "\udfff"}], r"messages\[1\]\.content = .*half a surrogate pair"),
        ([{**USER, "name": "a\ud83d"}], r"messages\[0\]\.name = .*half a surrogate pair"),
        ([{**USER, "cache": math.nan}], r"messages\[0\]\.cache = nan: NaN and Infinity are not JSON"),
        ([{**USER, "cache": {1, 2}}], r"messages\[0\]\.cache = <set>: this is no JSON value"),
        ([{"role": "tool", "content": "x", "tool_call_id": "none"}], r"messages\[0\]\.tool_call_id = 'none'"),
    ],
)
def test_a_bad_message_is_named(router: Router, messages: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{named}") as raised:
        router.chat(messages, model="fast")
    assert str(raised.value).endswith("nothing was sent")


def test_a_prompt_of_a_hundred_megabytes_is_named_with_its_size_and_the_limit(router: Router) -> None:
    history = [USER, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "x" * 100_000_000}]
    with pytest.raises(InvalidRequest) as raised:
        router.chat(history, model="fast")
    said = str(raised.value)
    assert "at most 33,554,432 are allowed" in said
    assert "messages[2] with 100,000" in said
    assert "raise max_request_bytes; nothing was sent" in said
    assert len(said) < 500


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"temperature": math.nan}, r"temperature = nan: a number from 0 to 2 is needed"),
        ({"temperature": 3}, r"temperature = 3: a number from 0 to 2 is needed"),
        ({"top_p": math.inf}, r"top_p = inf: a number from 0 to 1 is needed"),
        ({"max_tokens": 0}, r"max_tokens = 0: a whole number from 1"),
        ({"max_tokens": "100"}, r"max_tokens = '100'"),
        ({"logit_bias": {"50256": math.nan}}, r"logit_bias\['50256'\] = nan"),
        ({"extra": {"top_k": math.nan}}, r"extra\.top_k = nan: NaN and Infinity are not JSON"),
        ({"extra": {"stream": True}}, r"extra\['stream'\] = True: this field is not free"),
        ({"extra": {"temperature": 1}}, r"extra\['temperature'\] = 1: use the parameter temperature= instead"),
        ({"temprature": 1}, r"unknown parameter 'temprature': did you mean temperature=\?"),
        ({"max_completion_tokens": 9}, r"unknown parameter 'max_completion_tokens': did you mean max_tokens=\?"),
        ({"tools": [tool("get weather")]}, r"tools\[0\]\.function\.name = 'get weather': 1 to 64 of"),
        ({"tools": [tool("x" * 65)]}, r"tools\[0\]\.function\.name = "),
        ({"tools": [tool("wetter_für")]}, r"tools\[0\]\.function\.name = 'wetter_für'"),
        ({"tools": [tool("one"), tool(None)]}, r"tools\[1\]\.function\.name = None"),
        ({"tools": [tool("one"), tool("one")]}, r"tools\[1\]\.function\.name = 'one': tools\[0\] has this name"),
        ({"tools": []}, r"tools = <list of 0>"),
        ({"tool_choice": "auto"}, r"tool_choice = 'auto': this needs tools="),
    ],
)
def test_a_bad_parameter_is_named(router: Router, parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{named}") as raised:
        router.chat("hello", model="fast", **parameters)
    assert "nothing was sent" in str(raised.value)


@pytest.mark.parametrize("model", ["", None, 5, "gpt\n4", "a\ud800"])
def test_a_bad_model_name_is_named(router: Router, model: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^model = "):
        router.chat("hello", model=model)


def test_an_unknown_model_is_named_with_one_that_is_close(router: Router) -> None:
    with pytest.raises(ModelNotFound, match=r"no configured provider serves model 'fats' .*did you mean fast\?"):
        router.chat("hello", model="fats")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"timeout": -1}, r"timeout = -1: a number above 0"),
        ({"timeout": None}, r"timeout = None: a number above 0"),
        ({"timeout": math.nan}, r"timeout = nan: a number above 0"),
        ({"timeout": "60"}, r"timeout = '60': a number above 0"),
        ({"retry": {"max_retries": 2}}, r"retry = .*: a RetryConfig is needed"),
        ({"aliases": {"fast": "gpt-4.1-mini"}}, r"aliases\.fast = 'gpt-4\.1-mini': a list"),
        ({"aliases": {"fast": ["gpt-none"]}}, r"aliases\.fast = \['gpt-none'\]: a model that one of the providers"),
    ],
)
def test_a_wrong_setting_of_the_router_is_named(cloud: FakeCloud, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}"):
        config(cloud, **settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"timeout": -1}, r"providers\.openai\.timeout = -1: a number above 0"),
        ({"max_retries": 1.5}, r"providers\.openai\.max_retries = 1\.5: a whole number from 0 to 100"),
        ({"base_url": "127.0.0.1"}, r"providers\.openai\.base_url = "),
        ({"models": "gpt-4.1"}, r"providers\.openai\.models = 'gpt-4\.1': "),
        ({"api_key": "sk-with\nnewline"}, r"providers\.openai\.api_key"),
        ({"api_key": 5}, r"providers\.openai\.api_key"),
        ({"headers": {"X-Team": "a\r\nX-Evil: b"}}, r"providers\.openai\.headers\.X-Team = "),
        ({"extra": {"top_k": math.nan}}, r"providers\.openai\.extra\.top_k = nan"),
    ],
)
def test_a_wrong_setting_of_a_provider_is_named(cloud: FakeCloud, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}") as raised:
        config(cloud, of={"openai": settings})
    assert "newline" not in str(raised.value).replace("a newline", "")


@pytest.mark.parametrize("router_config", [None, [], "openai", [None], RouterConfig])
def test_a_router_without_providers_is_refused(router_config: Any) -> None:
    with pytest.raises(ConfigError, match=r"^providers") as raised:
        Router(router_config)
    shown = [repr(value) for _, value in leaks.held_in(raised.value) if isinstance(value, Router)]
    assert set(shown) == {"<Router, refused>"}, "crash reports ask for it"


def test_wrong_policies_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^failure_threshold = 0: "):
        CircuitBreakerConfig(failure_threshold=0)
    with pytest.raises(ConfigError, match=r"^base_delay = nan: "):
        RetryConfig(base_delay=math.nan)


GOOD = '[providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "env:ACCEPTANCE_KEY"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("timeout = \n", "line 1, column 11: this is not TOML"),
        ("[providers.openai\n", "line 1, column 18: this is not TOML"),
        ("timeout = '60'\n" + GOOD, "timeout = '60': a number above 0"),
        ("timeout = nan\n" + GOOD, "timeout = nan: a number above 0"),
        ("timout = 60\n" + GOOD, r"timout: there is no such setting \(did you mean 'timeout'\?\)"),
        (GOOD + "prority = 1\n", r"providers\.openai\.prority: there is no such setting \(did you mean 'priority'\?\)"),
        (GOOD + "priority = 'high'\n", r"providers\.openai\.priority = 'high': a whole number"),
        ("breaker = 5\n" + GOOD, r"breaker = 5: a table \[breaker\] is needed"),
        ("", r"providers: at least one table"),
        (GOOD.replace("ACCEPTANCE_KEY", "UNSET_KEY"), "the environment variable UNSET_KEY is not set"),
    ],
)
def test_a_bad_file_is_named_with_the_place_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, named: str
) -> None:
    monkeypatch.setenv("ACCEPTANCE_KEY", "sk-acceptance-1")
    path = tmp_path / "failsafe.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=named) as raised:
        Router.from_file(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_key_with_a_newline_in_the_environment_is_named_and_not_shown(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCEPTANCE_KEY", "sk-acceptance-1\n")
    with pytest.raises(ConfigError, match=r"^providers\.openai\.api_key") as raised:
        ProviderConfig(name="openai", base_url=cloud["openai"].base_url, api_key="env:ACCEPTANCE_KEY")
    assert "sk-acceptance" not in str(raised.value)
