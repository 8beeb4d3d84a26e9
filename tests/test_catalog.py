"""The shipped catalogue: complete, consistent, and nothing in it that would send a key astray."""

from __future__ import annotations

from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from failsafe import addresses
from failsafe.catalog import ModelInfo, Preset, catalog
from failsafe.config import ProviderConfig

PRESETS = catalog().presets
NAMES = ["holysheep", "openai", "anthropic", "gemini", "deepseek", "azure", "openrouter", "groq", "mistral", "xai"]
NAMES += ["together", "ollama", "vllm", "llamacpp", "lmstudio"]

presets = pytest.mark.parametrize("name", NAMES)


def configured(name: str, **settings: object) -> ProviderConfig:
    """A provider of the preset *name* with a key of nobody's."""
    if name == "azure":
        settings.setdefault("base_url", "https://resource.openai.azure.com/openai/v1")
    return ProviderConfig(name=name, api_key="marked-key", **settings)  # type: ignore[arg-type]


def test_the_order_of_preference_is_this() -> None:
    assert list(PRESETS) == NAMES


@presets
def test_every_preset_makes_a_working_provider(name: str) -> None:
    provider = configured(name)
    assert provider.vendor == name
    assert provider.local is PRESETS[name].local
    assert provider.base_url.startswith("http://127.0.0.1:" if provider.local else "https://")


@presets
def test_a_vendors_key_may_travel_to_its_own_address(name: str) -> None:
    preset = PRESETS[name]
    host = addresses.parse("base_url", preset.base_url.replace("{resource}", "resource")).host
    assert preset.local or addresses.host_matches(host, preset.hosts)


@presets
def test_hosts_are_patterns_that_no_stranger_can_register_below(name: str) -> None:
    assert all(pattern.removeprefix("*.").count(".") >= 1 for pattern in PRESETS[name].hosts)
    assert addresses.host_patterns("hosts", PRESETS[name].hosts) == PRESETS[name].hosts


def test_no_variable_holds_the_key_of_two_vendors() -> None:
    variables = [
        each for preset in PRESETS.values() for each in (*preset.key_env, *preset.bearer_env, *preset.other_key_env)
    ]
    assert len(variables) == len(set(variables))


@presets
def test_a_vendor_that_needs_a_key_says_where_it_is_found(name: str) -> None:
    preset = PRESETS[name]
    assert bool(preset.key_env and preset.hosts) or not preset.needs_key


@presets
def test_the_default_model_is_served_and_not_about_to_end(name: str) -> None:
    model = PRESETS[name].default_model
    if model is None:
        assert PRESETS[name].local or name == "azure"
        return
    provider = configured(name)
    assert provider.serves(model) is not None
    ends = provider.model_info(model).end_of_life
    assert ends is None or ends > date(2026, 12, 31)


@presets
def test_asking_for_the_id_a_preset_sends_is_answered_alike(name: str) -> None:
    provider = configured(name)
    for sent in PRESETS[name].models.values():
        assert sent in (provider.serves(sent), provider.embeds(sent))


@pytest.mark.parametrize("name", ["vllm", "llamacpp", "lmstudio"])
def test_a_local_server_serves_only_what_is_listed(name: str) -> None:
    assert ProviderConfig(name=name).serves("gpt-4.1") is None
    assert ProviderConfig(name=name, models=["gpt-oss-20b"]).serves("gpt-oss-20b") == "gpt-oss-20b"


@pytest.mark.parametrize(
    ("name", "asked", "sent"),
    [
        ("holysheep", "claude-sonnet-4-5", "claude-sonnet-4.5"),
        ("holysheep", "claude-sonnet-4.5", "claude-sonnet-4.5"),
        ("holysheep", "gpt-4.1", "gpt-4.1"),
        ("holysheep", "gpt-6.1-sol", None),
        ("openai", "gpt-4.1", "gpt-4.1"),
        ("openai", "o3", "o3"),
        ("openai", "o3-pro", "o3-pro"),
        ("openai", "gpt-oss-120b", None),
        ("openai", "claude-sonnet-4-5", None),
        ("openrouter", "gpt-4.1", "openai/gpt-4.1"),
        ("openrouter", "claude-opus-4-5", "anthropic/claude-opus-4.5"),
        ("openrouter", "vendor/anything:free", "vendor/anything:free"),
        ("openrouter", "anything", None),
        ("groq", "gpt-oss-20b", "openai/gpt-oss-20b"),
        ("anthropic", "claude-haiku-5-5", "claude-haiku-5-5"),
        ("anthropic", "gpt-4.1", None),
        ("gemini", "gemini-4-argon", "gemini-4-argon"),
        ("ollama", "llama3.2:3b", "llama3.2:3b"),
        ("ollama", "gpt-4.1", None),
        ("azure", "gpt-4.1", "gpt-4.1"),
    ],
)
def test_a_model_goes_by_the_name_each_provider_knows(name: str, asked: str, sent: str | None) -> None:
    assert configured(name).serves(asked) == sent


@pytest.mark.parametrize(
    ("name", "asked", "sent"),
    [
        ("openai", "text-embedding-3-small", "text-embedding-3-small"),
        ("azure", "text-embedding-3-large", "text-embedding-3-large"),
        ("gemini", "gemini-embedding-001", "gemini-embedding-001"),
        ("mistral", "mistral-embed", "mistral-embed"),
        ("mistral", "codestral-embed-2505", "codestral-embed-2505"),
        ("openrouter", "text-embedding-3-small", "openai/text-embedding-3-small"),
        ("openrouter", "qwen/qwen3-embedding-8b", "qwen/qwen3-embedding-8b"),
        ("together", "intfloat/multilingual-e5-large-instruct", "intfloat/multilingual-e5-large-instruct"),
        ("ollama", "nomic-embed-text:latest", "nomic-embed-text:latest"),
        ("openai", "mistral-embed", None),
        ("anthropic", "text-embedding-3-small", None),
        ("deepseek", "text-embedding-3-small", None),
    ],
)
def test_an_embedding_model_is_asked_for_embeddings_and_never_to_chat(name: str, asked: str, sent: str | None) -> None:
    provider = configured(name)
    assert provider.embeds(asked) == sent
    if sent is not None and "intfloat" not in asked:
        assert provider.serves(asked) is None


@pytest.mark.parametrize(
    ("name", "model"),
    [("openai", "gpt-4.1"), ("gemini", "gemini-4-argon"), ("mistral", "mistral-small-2603"), ("openrouter", "gpt-4.1"),
     ("openrouter", "openai/gpt-4.1"), ("anthropic", "claude-haiku-5-5")],
)  # fmt: skip
def test_a_chat_model_is_never_asked_for_embeddings(name: str, model: str) -> None:
    provider = configured(name)
    assert provider.serves(model) is not None
    assert provider.embeds(model) is None


@pytest.mark.parametrize("models", [None, ["text-embedding-3-small", "gpt-4.1", "own"]])
def test_a_server_of_ones_own_is_held_to_what_is_known_of_a_model(models: list[str] | None) -> None:
    provider = ProviderConfig(name="own", base_url="https://llm.example/v1", api_key="k" * 20, models=models)
    asked = ("text-embedding-3-small", "gpt-4.1", "own")
    assert [provider.serves(each) for each in asked] == [None, "gpt-4.1", "own"]
    assert [provider.embeds(each) for each in asked] == ["text-embedding-3-small", None, "own"]


def test_a_name_of_ones_own_for_an_embedding_model_is_one() -> None:
    provider = configured("openai", models={"vectors": "text-embedding-3-small"})
    assert (provider.embeds("vectors"), provider.serves("vectors")) == ("text-embedding-3-small", None)


def test_a_server_that_speaks_anthropics_dialect_has_no_embeddings() -> None:
    provider = ProviderConfig(name="own", base_url="https://llm.example", dialect="anthropic", api_key="k" * 20)
    assert provider.embeds("text-embedding-3-small") is None


@pytest.mark.parametrize("model", ["nomic-embed-text", "mxbai-embed-large", "snowflake-arctic-embed2", "embeddinggemma",
                                   "qwen3-embedding:8b", "embed-v4.0", "snowflake-arctic-embed:335m"])  # fmt: skip
def test_what_is_called_an_embedding_model_is_one(model: str) -> None:
    assert catalog().model(model).embeds


@pytest.mark.parametrize("model", ["gpt-4.1", "embedded-coder", "my-embedded-assistant", "llama3.2:3b"])
def test_a_name_that_only_sounds_like_one_is_none(model: str) -> None:
    assert not catalog().model(model).embeds


@pytest.mark.parametrize(
    ("model", "ends"),
    [
        ("gpt-4", date(2026, 10, 23)),
        ("gpt-4.1-nano", date(2026, 10, 23)),
        ("claude-sonnet-4-0", date(2026, 6, 15)),
        ("claude-opus-4-20250514", date(2026, 6, 15)),
        ("gemini-2.0-flash", date(2026, 6, 1)),
        ("deepseek-chat", date(2026, 7, 24)),
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("claude-sonnet-4-5-20250929", date(2026, 11, 30)),
        ("gemini-2.5-flash", date(2026, 12, 1)),
        ("gemini-2.5-flash-lite", None),
        ("gpt-5", date(2026, 12, 11)),
        ("gpt-5-mini-2025-08-07", date(2026, 12, 11)),
        ("o3-pro", date(2026, 12, 11)),
        ("gpt-4o", date(2027, 1, 14)),
        ("gpt-4.1", date(2027, 1, 14)),
        ("gpt-5.1", date(2027, 4, 1)),
        ("gpt-5.2", None),
        ("claude-opus-5-5", None),
    ],
)
def test_the_end_of_a_model_is_known(model: str, ends: date | None) -> None:
    assert catalog().model(model).end_of_life == ends


def test_a_name_is_found_with_prefix_date_and_dots() -> None:
    info = catalog().model("claude-sonnet-4-5")
    assert info.context_window == 200_000
    for name in ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929", "claude-sonnet-4.5"):
        assert catalog().model(name) == info
    assert catalog().model("models/gemini-2.5-pro") == catalog().model("gemini-2.5-pro") != ModelInfo()


def test_the_most_specific_pattern_wins() -> None:
    assert catalog().model("gpt-4.1-mini").successor == "gpt-6-luna"
    assert catalog().model("gpt-5.3-chat").refuses == ()
    assert "temperature" in catalog().model("gpt-5.3").refuses


def test_of_an_unknown_model_nothing_is_claimed() -> None:
    assert catalog().model("nobody/knows-this") == ModelInfo()


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5", "gpt-5.4-mini", "gpt-6.1-sol", "gpt-6.2-astra"])
def test_reasoning_models_are_not_sent_what_they_refuse(model: str) -> None:
    info = catalog().model(model)
    assert {"temperature", "top_p", "stop"} <= set(info.refuses)
    assert info.max_tokens_field == "max_completion_tokens"


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-sonnet-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-2"]
)
def test_newer_claude_models_take_no_temperature_and_think_adaptively(model: str) -> None:
    info = catalog().model(model)
    assert "temperature" in info.refuses
    assert info.thinking == "adaptive"


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-6", "claude-opus-4-1"])
def test_older_claude_models_take_a_temperature_and_a_thinking_budget(model: str) -> None:
    info = catalog().model(model)
    assert "temperature" not in info.refuses
    assert "temperature+top_p" in info.refuses
    assert info.thinking == "budget"


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("claude-haiku-4-5", False),
        ("claude-opus-4-5", False),
        ("claude-sonnet-4-6", True),
        ("claude-opus-4.6", True),
        ("claude-opus-5-5", True),
    ],
)
def test_an_answer_begun_for_it_is_refused_by_claude_from_4_6_on(model: str, refused: bool) -> None:
    assert ("prefill" in catalog().model(model).refuses) is refused


@pytest.mark.parametrize("model", ["gpt-6.1-sol", "gpt-6.2-astra", "openai/gpt-6.2-sol"])
def test_the_newest_gpts_take_neither_none_nor_minimal_effort(model: str) -> None:
    assert {"reasoning_effort=none", "reasoning_effort=minimal"} <= set(catalog().model(model).refuses)
    assert "reasoning_effort=none" not in catalog().model("gpt-6-luna").refuses


def test_every_end_has_a_successor_that_has_not_ended() -> None:
    successors = {info.successor for info in catalog().models.values() if info.successor}
    assert [name for name in successors if catalog().model(name).end_of_life] == []


def test_no_answer_is_longer_than_the_window_it_is_read_in() -> None:
    known = (info for info in catalog().models.values() if info.context_window and info.max_output_tokens)
    assert all((info.max_output_tokens or 0) <= (info.context_window or 0) for info in known)


def test_every_model_of_a_preset_is_one_of_the_models_or_honestly_unknown() -> None:
    named = {name for preset in PRESETS.values() for name in preset.models}
    patterns = list(catalog().models)
    unknown = {name for name in named if not any(fnmatchcase(name, pattern) for pattern in patterns)}
    assert unknown == set()


@presets
def test_the_guide_has_the_row_of_every_preset(name: str) -> None:
    guide = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8")
    row = next(line for line in guide.splitlines() if line.startswith(f"| `{name}` |"))
    preset = PRESETS[name]
    variables = (*preset.key_env, *preset.bearer_env, *preset.other_key_env * preset.local)
    facts = [*variables, *preset.hosts, preset.base_url_env or ""]
    assert [fact for fact in facts if fact not in row] == []


@presets
def test_the_pages_for_people_are_addresses_that_need_no_key(name: str) -> None:
    preset = PRESETS[name]
    pages = [page for page in (preset.status_page, preset.keys_page, preset.billing_page) if page is not None]
    assert all(page.startswith("https://") and "?" not in page for page in pages)
    assert bool(preset.status_page) == bool(preset.keys_page)


def test_the_catalogue_is_read_once() -> None:
    assert catalog() is catalog()
    assert isinstance(PRESETS["openai"], Preset)
