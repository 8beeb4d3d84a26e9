"""``failsafe cost``: estimates and accounts, in tables, lines and JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from failsafe.cli.amounts import GROUPED, MIX, TOKENS
from failsafe.cli.app import app
from failsafe.cli.cost_view import _short, amount
from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import AttemptFinished
from failsafe.faults import Fault
from failsafe.models import Attempt, Usage
from tests.cli.recorded import ESCAPE, record, store_with_past
from tests.cli.terminals import shown_by

HOLYSHEEPS = (
    "gpt-4.1 at holysheep: $80.00 a month; $8.00 in and $8.00 out for a million; saves $520.00 (86 %) against official"
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cost", *arguments])


def lines(*arguments: str) -> list[str]:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def data(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_float=Decimal)


def settings(folder: Path, text: str) -> str:
    path = folder / "failsafe.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


# Arguments.


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("10M", 10_000_000),
        ("10m", 10_000_000),
        ("1.5B", 1_500_000_000),
        ("250k", 250_000),
        ("250000", 250_000),
        ("1_000_000", 1_000_000),
        ("1,000,000", 1_000_000),
        ("0.001k", 1),
        ("2T", 2 * 10**12),
    ],
)
def test_a_number_of_tokens_may_be_short(text: str, tokens: int) -> None:
    assert TOKENS.convert(text, None, None) == tokens


@pytest.mark.parametrize("text", ["0", "", "M", "10X", "-5", "1.5", "0.0001k", "1e6", "ten", "9999999999999T", "٣M"])
def test_what_is_no_number_of_tokens_is_told_what_is(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"250000, 250k, 10M and 1\.5B are"):
        TOKENS.convert(text, None, None)


@pytest.mark.parametrize("text", ["3", "3:", "0:0", "-1:2", "a:b", "1:2:3", "nan:1"])
def test_what_is_no_mix_is_told_what_is(text: str) -> None:
    with pytest.raises(click.BadParameter, match="3:1"):
        MIX.convert(text, None, None)
    assert MIX.convert("0.8:0.2", None, None) == (0.8, 0.2)


def test_what_is_no_group_is_told_what_is() -> None:
    with pytest.raises(click.BadParameter, match="'week' is none of day, provider, model, tag"):
        GROUPED.convert("provider,week", None, None)
    assert GROUPED.convert("tag, day,tag", None, None) == ("tag", "day")


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (10_000_000, "10M"),
        (7_500_000, "7.5M"),
        (1_234, "1.234k"),
        (1_234_567, "1234.567k"),
        (999, "999"),
        (10**12, "1T"),
    ],
)
def test_a_number_of_tokens_is_shown_exactly(tokens: int, shown: str) -> None:
    assert amount(tokens) == shown


@pytest.mark.parametrize(("tokens", "shown"), [(950, "950"), (1234, "1.23k"), (999_600, "1000k"), (43 * 10**9, "43B")])
def test_a_sum_of_tokens_is_shown_roughly(tokens: int, shown: str) -> None:
    assert _short(tokens) == shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tokens", "ten"], "is no number of tokens"),
        (["--tokens", "10M", "--cached", "1.5"], "--cached"),
        (["--mix", "3:1"], "--mix belongs to an estimate"),
        (["--cached", "0"], "--cached belongs to an estimate"),
        (["--measured"], "--measured belongs to an estimate"),
        (["--prices", "article"], "--prices belongs to an estimate"),
        (["-m", "gpt-4.1"], "--model belongs to an estimate"),
        (["--tokens", "10M", "--measured", "--mix", "3:1"], "leave both out"),
        (["--tokens", "10M", "--baseline", "opnai"], "did you mean 'openai'?"),
        (["--tokens", "10M", "--baseline", "openai:claude-3"], "openai has no known price of claude-3"),
        (["--tokens", "10M", "-m", "gemni-2.5-flash"], "serves it (did you mean 'gemini-2.5-flash'?)"),
        (["--by", "week"], "is none of day, provider, model, tag"),
        (["--store", "/nowhere/store.db"], "/nowhere/store.db"),
        (["--tokens", "10M", "--measured"], "turned off"),
    ],
)
def test_what_is_wrong_is_said_and_exits_with_2(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


# Estimates.


def test_the_articles_table_comes_out_as_it_stands_there_and_marked() -> None:
    found = data("--tokens", "10M", "--prices", "article")
    assert found["mark"] == "claimed by the article, unverified"
    rows = {
        (each["model"], each["provider"]): (each["usd"], each["saved_usd"], each["saved_percent"])
        for each in found["offers"]
    }
    assert rows["gpt-4.1", "official"][0] == 600
    assert rows["gpt-4.1", "holysheep"] == (80, 520, 86)
    assert rows["claude-sonnet-4.5", "official"][0] == 450
    assert rows["claude-sonnet-4.5", "holysheep"] == (150, 300, 66)
    assert rows["gemini-2.5-flash", "holysheep"] == (25, None, None)
    assert rows["deepseek-v3.2", "holysheep"] == (Decimal("4.2"), None, None)
    assert lines("--tokens", "10M", "--prices", "article")[:2] == [
        "10M tokens a month (7.5M of prompt, 2.5M of answer), prices of 2026-04-20; claimed by the article, unverified",
        HOLYSHEEPS,
    ]


def test_todays_prices_do_not_have_the_articles_savings() -> None:
    found = data("--tokens", "10M", "--baseline", "openai", "-m", "gpt-4.1")
    rows = {each["provider"]: each for each in found["offers"]}
    assert rows["openai"]["usd"] == rows["holysheep"]["usd"] == 35  # 7.5 x 2 + 2.5 x 8
    assert rows["holysheep"]["saved_percent"] == 0
    assert (rows["holysheep"]["assumed"], rows["openai"]["assumed"]) == (True, False)
    assert rows["openai"]["source"] == "genai-prices 0.2.3"
    assert found["mark"] is None


def test_mix_cache_and_baseline_are_heeded() -> None:
    found = data("-n", "1M", "--mix", "9:1", "--cached", "0.5", "-m", "gpt-4.1", "-b", "anthropic:claude-sonnet-4-5")
    assert (found["prompt_tokens"], found["cached_tokens"], found["completion_tokens"]) == (900_000, 450_000, 100_000)
    openai = next(each for each in found["offers"] if each["provider"] == "openai")
    assert openai["usd"] == Decimal("1.925")  # 0.45 x 2 + 0.45 x 0.5 + 0.1 x 8
    assert openai["baseline_usd"] == Decimal("2.985")  # 0.45 x 3 + 0.45 x 0.3 + 0.1 x 15
    assert openai["saved_percent"] == 35  # 35.5


def test_your_own_prices_and_models_are_compared(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        '[providers.openai]\napi_key = "env:NO_SUCH_VARIABLE"\nprices = { "gpt-4.1" = { input = 1, output = 4 } }\n'
        '[providers.mine]\nbase_url = "https://llm.example.com/v1"\nmodels = ["llama"]\n'
        "prices = { llama = { input = 0.5, output = 0.5 } }\n[providers.off]\nenabled = false\n"
        '[aliases]\nfast = ["gpt-4.1", "mine:llama"]\n',
    )
    found = data("--tokens", "10M", "--config", config, "--baseline", "mine:llama")
    rows = {(each["model"], each["provider"]): each for each in found["offers"]}
    assert rows["gpt-4.1", "openai"]["usd"] == Decimal("17.5")
    assert rows["llama", "mine"]["usd"] == 5
    assert rows["gpt-4.1", "openai"]["saved_usd"] == Decimal("-12.5")
    assert rows["gpt-4.1", "openai"]["saved_percent"] == -250
    assert {each["model"] for each in found["offers"]} == {"gpt-4.1", "llama"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("providers = 5", "providers: a table for each provider is needed"),
        ("providers.a = 5", "providers.a: a table is needed"),
        ("[providers.openai]\nprices = 5", "providers.openai.prices"),
        ("[providers", "failsafe.toml"),
    ],
)
def test_wrong_settings_are_said(tmp_path: Path, text: str, said: str) -> None:
    result = run("--tokens", "10M", "--config", settings(tmp_path, text))
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_model_that_has_ended_is_marked() -> None:
    assert any("deepseek-chat at deepseek" in line and "ended on 2026-07-24" in line
               for line in lines("-n", "1M", "-m", "deepseek-chat"))  # fmt: skip


def test_a_price_that_is_not_known_is_no_nothing() -> None:
    (line,) = [line for line in lines("-n", "1M", "-m", "gpt-5.4-codex") if line.startswith("gpt-5.4-codex at openai")]
    assert line == "gpt-5.4-codex at openai: price not known"


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_a_terminal(columns: int) -> None:
    code, shown = shown_by("cost", "--tokens", "10M", "--baseline", "openai", columns=columns)
    assert code == 0
    assert max(map(len, shown)) <= columns
    assert "10M tokens a month (7.5M of prompt, 2.5M of answer)" in shown[0]
    (header,) = [line for line in shown if line.startswith("model")]
    assert ("source" in header) == (columns >= 110)
    assert any("holysheep*" in line and "$35.00" in line for line in shown)
    assert any("*: not the provider's own word" in line for line in shown)


def test_the_articles_table_is_marked_at_a_terminal_too() -> None:
    _, shown = shown_by("cost", "--tokens", "10M", "--prices", "article")
    assert shown[1] == "claimed by the article, unverified"
    assert any("$520.00 86 %" in line for line in shown)


# What was spent.


def spent(at: float, provider: str, model: str, usd: str | None, tag: str = "", **more: Any) -> AttemptFinished:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cost_usd=None if usd is None else Decimal(usd))
    line = {"provider": provider, "model": model, "usage": usage, "started_at": at - 1, "latency_ms": 1000.0, **more}
    return AttemptFinished(at=at, call_id=f"call-{at}-{provider}-{tag}", attempt=Attempt(**line), tag=tag)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Three answers of openai (2.8 USD each by the list), one of gemini, and what is not known, all of today."""
    path, now = tmp_path / "store.db", SYSTEM_CLOCK.time()
    record(
        path,
        [
            spent(now, "openai", "gpt-4.1", "2.1", "team-a"),
            spent(now + 0.1, "openai", "gpt-4.1", "2.1", "team-b"),
            spent(now + 0.2, "openai", f"odd{ESCAPE}", None),
            spent(now + 0.3, "gemini", "gemini-2.5-flash", "0.55"),  # by the list, too
            spent(now + 0.4, "gemini", "gemini-2.5-flash", None, fault=Fault.TIMEOUT, maybe_billed=True, usage=None),
            spent(now - 40 * 86_400, "openai", "gpt-4.1", "7"),
        ],
    )
    return str(path)


def test_what_was_spent_is_shown_beside_what_it_saved(store: str) -> None:
    found = data("--store", store)
    rows = {(each["provider"], each["model"]): each for each in found["groups"]}
    gpt = rows["openai", "gpt-4.1"]
    assert (gpt["usd"], gpt["answers"], gpt["baseline_usd"], gpt["saved_usd"], gpt["saved_percent"]) == (
        Decimal("4.2"), 2, Decimal("5.6"), Decimal("1.4"), 25,
    )  # fmt: skip
    gemini = rows["gemini", "gemini-2.5-flash"]
    assert (gemini["usd"], gemini["duplicates"], gemini["saved_usd"]) == (Decimal("0.55"), 1, 0)
    (odd,) = [each for (_, model), each in rows.items() if model.startswith("odd")]
    assert (odd["usd"], odd["unpriced"], odd["saved_usd"], odd["saved_percent"]) == (0, 1, None, None)
    total = found["total"]
    assert (total["usd"], total["answers"], total["unpriced"], total["saved_usd"]) == (Decimal("4.75"), 4, 1, None)


def test_it_can_be_grouped_and_looked_at_further_back(store: str) -> None:
    by_tag = {each["tag"]: each["usd"] for each in data("--store", store, "--by", "tag")["groups"]}
    assert by_tag == {"team-a": Decimal("2.1"), "team-b": Decimal("2.1"), "": Decimal("0.55")}
    assert data("--store", store, "--by", "provider", "--window", "60d")["total"]["usd"] == Decimal("11.75")
    days = [each["day"] for each in data("--store", store, "--by", "day", "--window", "60d")["groups"]]
    assert len(days) == 2
    assert days == sorted(days)


def test_another_baseline_stands_for_every_model(store: str) -> None:
    found = data("--store", store, "--by", "provider", "--baseline", "openai:gpt-6-luna")
    gemini = next(each for each in found["groups"] if each["provider"] == "gemini")
    assert (gemini["baseline_usd"], gemini["saved_percent"]) == (Decimal("0.15"), -267)  # 0.1 + 0.05


def test_it_is_shown_in_lines_without_what_moves_a_cursor(store: str) -> None:
    shown = lines("--store", store)
    assert shown[1] == (
        "provider openai, model gpt-4.1: $4.20 for 2 answers; 2,000,000 tokens in (0 cached) and 200,000 out; "
        "saved $1.40 (25 %) against vendor"
    )
    assert any(line.endswith(": price not known for 1 answer; 1,000,000 tokens in (0 cached) and 100,000 out")
               for line in shown)  # fmt: skip
    assert shown[-1].startswith("all: $4.75 for 4 answers; ")
    assert shown[-1].endswith("without 1 answer of unknown price; 1 failed attempt may have been billed")
    assert "\x1b" not in "".join(shown)


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_a_terminal(store: str, columns: int) -> None:
    code, shown = shown_by("cost", "--store", store, columns=columns)
    assert code == 0
    assert max(map(len, shown)) <= columns
    assert any(line.startswith("all") and "$4.75*" in line for line in shown)
    assert "*: without 1 answer whose price is not known" in shown
    assert "\x1b[2J" not in "".join(shown)


def test_an_estimate_may_use_what_was_measured(store: str) -> None:
    found = data("-n", "11M", "--measured", "--store", store, "-m", "gpt-4.1")
    assert (found["prompt_tokens"], found["completion_tokens"]) == (10_000_000, 1_000_000)


def test_a_time_in_which_nothing_was_answered_is_said(tmp_path: Path) -> None:
    path = str(store_with_past(tmp_path / "store.db"))
    record(Path(path), [])
    empty = tmp_path / "empty.db"
    record(empty, [])
    assert lines("--store", str(empty))[-1] == "nothing was answered in this time"
    assert shown_by("cost", "--store", str(empty))[1][-1] == "nothing was answered in this time"
    result = run("-n", "1M", "--measured", "--store", str(empty))
    assert (result.exit_code, "no answer was recorded" in result.stderr) == (2, True)
