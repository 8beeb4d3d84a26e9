"""Several providers at once, by name and from TOML."""

from __future__ import annotations

import tomllib

import pytest

from failsafe import loader
from failsafe.environment import from_env
from failsafe.errors import ConfigError
from failsafe.sim import BEHAVIOURS, HEALTHY, SUMMARIES, VENDORS, FakeCloud, FakeProvider, behaviour_named
from failsafe.testing import FakeClock
from tests.sim.sim_client import ask

TOML = """
[providers.first]
vendor = "openai"
key = "sk-first-0123456789abcdef"
models = ["m-1"]
schedule = [{at = 5, behaviour = "server-error"}, {at = 8, behaviour = "healthy", latency = 0.001}]

[providers.anthropic]
behaviour = "overloaded"
latency = 0.001
"""


def test_three_providers_are_the_usual_cloud() -> None:
    with FakeCloud.of() as cloud:
        assert [provider.name for provider in cloud] == ["openai", "anthropic", "gemini"]
        assert len(cloud) == 3
        assert {ask(provider).status_code for provider in cloud} == {200}
        assert repr(cloud) == "<FakeCloud openai, anthropic, gemini>"


def test_a_cloud_is_described_in_toml() -> None:
    clock = FakeClock()
    with FakeCloud.from_toml(TOML, clock=clock) as cloud:
        found = []
        for seconds in (0, 5, 3):
            clock.advance(seconds)
            found.append(ask(cloud["first"]).status_code)
        assert found == [200, 500, 200]
        assert cloud["first"].key == "sk-first-0123456789abcdef"
        assert ask(cloud["anthropic"]).status_code == 529


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[providers", "cannot be read"),
        ("", "at least one provider"),
        ("providers = 3", "tables"),
        ("[provider.x]", "provider"),
        ("[providers.x]\nspeed = 3", "providers.x.speed"),
        ("[providers.x]\nbehaviour = 'sing'", "behaviour = 'sing'"),
        ("[providers.x]\nschedule = [3]", r"providers.x.schedule\[0\]"),
        ("[providers.x]\nschedule = [{at = 3}]", r"providers.x.schedule\[0\]"),
        ("[providers.x]\nschedule = [{at = 3, behaviour = 'hang', end = 4}]", r"schedule\[0\].end"),
        ("[providers.x]\nlatency = -3", "latency = -3"),
    ],
)
def test_a_mistake_in_the_toml_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FakeCloud.from_toml(text)


def test_two_providers_need_two_names() -> None:
    with pytest.raises(ConfigError, match="names that differ"):
        FakeCloud([FakeProvider("a"), FakeProvider("a")])


def test_the_settings_file_it_writes_is_one_that_failsafe_reads() -> None:
    with FakeCloud(
        [*(FakeProvider(vendor) for vendor in VENDORS), FakeProvider("open", key=None, models=["m-1"])]
    ) as cloud:
        config = loader.parse(tomllib.loads(cloud.as_toml()))
        assert [each.name for each in config.providers] == [*VENDORS, "open"]
        assert [each.base_url for each in config.providers] == [provider.base_url for provider in cloud]
        assert [each.priority for each in config.providers] == list(range(1, len(cloud) + 1))
        assert {each.keys[0].reveal() for each in config.providers} >= {each.key for each in cloud if each.key}


def test_the_environment_it_gives_leads_failsafe_to_it_and_never_elsewhere() -> None:
    with FakeCloud.of("openai", "anthropic", "gemini", "azure", "groq") as cloud:
        environment = cloud.as_environment()
        config = from_env(environment)
        assert {each.name: each.base_url for each in config.providers} == {
            name: cloud[name].base_url for name in ("openai", "anthropic", "azure", "groq")
        }
    assert not [name for name in environment if "GEMINI" in name or "GOOGLE" in name], "no variable gives its address"


def test_of_two_providers_of_one_vendor_the_environment_means_the_first() -> None:
    with FakeCloud([FakeProvider("a", vendor="openai"), FakeProvider("b", vendor="openai")]) as cloud:
        assert cloud.as_environment()["OPENAI_BASE_URL"] == cloud["a"].base_url


def test_a_cloud_goes_through_its_schedules_together() -> None:
    clock = FakeClock()
    with FakeCloud.of("openai", "gemini", clock=clock) as cloud:
        cloud.schedule({"openai": [(1, BEHAVIOURS["server-error"])], "gemini": [(2, BEHAVIOURS["overloaded"])]})
        clock.advance(1)
        assert [ask(provider).status_code for provider in cloud] == [500, 200]
        clock.advance(1)
        assert [ask(provider).status_code for provider in cloud] == [500, 503]


def test_when_one_cannot_start_none_is_left_running() -> None:
    with FakeProvider("taken") as taken:
        cloud = FakeCloud([FakeProvider("a"), FakeProvider("b", port=taken.port)])
        with pytest.raises(OSError, match="in use"):
            cloud.start()


def test_every_behaviour_has_a_name_and_a_line() -> None:
    assert BEHAVIOURS.keys() == SUMMARIES.keys()
    assert behaviour_named("healthy") == HEALTHY
    for name, summary in SUMMARIES.items():
        assert name == name.lower()
        assert "_" not in name
        assert "\n" not in summary
        assert len(summary) < 80
    with pytest.raises(ConfigError, match="behaviour = 'sing': one of healthy, slow"):
        behaviour_named("sing")
