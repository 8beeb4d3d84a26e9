"""``failsafe demo``: the play, its picture and its account."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console, ConsoleDimensions
from rich.text import Text

from failsafe.cli.app import app
from failsafe.cli.demo_scenario import DEADLINE, settings
from failsafe.cli.demo_traffic import Call, Client
from failsafe.cli.demo_view import account, picture
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.faults import Fault
from failsafe.models import Attempt
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.router import Router
from failsafe.sim import FakeCloud
from tests.cli.programs import HARD_CAP, finished, running, until
from tests.cli.terminals import terminal

FAILED = Attempt(provider="openai", model="gpt-4.1-mini", fault=Fault.TIMEOUT, message="no answer within 1 s")
OVERLOADED = Attempt(provider="anthropic", model="claude-haiku-4-5", fault=Fault.OVERLOADED)


@pytest.fixture
def router() -> Iterator[Router]:
    names = ("openai", "anthropic", "gemini")
    providers = [
        ProviderConfig(name=name, base_url="http://127.0.0.1:9/v1", api_key="sk-" + "a1" * 20) for name in names
    ]
    with Router(RouterConfig(providers=providers, breaker=CircuitBreakerConfig(timeout=9.0))) as made:
        yield made


def client(*calls: Call) -> Client:
    """A client to whom *calls* have happened."""
    ready = iter(calls)
    made = Client(lambda number, prompt: next(ready), threads=1, name="test-demo")
    for call in calls:
        made.send(call.prompt)
    made.finish()
    return made


def call(number: int, provider: str | None, seconds: float, *attempts: Attempt, error: str = "") -> Call:
    return Call(number, "Is 91 a prime number?", provider, seconds, attempts, error)


def drawn(router: Router, guarded: Client, plain: Client, width: int, height: int) -> list[str]:
    output = StringIO()
    console = Console(file=output, width=width, height=height)
    console.print(
        picture(Text("  6.7 s of 24 s  openai hangs"), router, guarded, plain, ConsoleDimensions(width, height))
    )
    return output.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (110, 34)])
def test_the_picture_fits_the_terminal_and_keeps_its_size(router: Router, width: int, height: int) -> None:
    empty = drawn(router, client(), client(), width, height)
    calls = [call(each, "gemini", 1.26, FAILED, OVERLOADED) for each in range(1, 20)]
    full = drawn(router, client(*calls), client(*calls), width, height)
    assert len(empty) == len(full) <= height
    assert max(map(len, full)) <= width


@pytest.mark.usefixtures("expect_logs")
def test_the_picture_shows_providers_calls_and_the_running_score(router: Router) -> None:
    router.breakers.get("openai").trip()
    guarded = client(call(1, "gemini", 1.26, FAILED, OVERLOADED), call(2, None, 3.0, FAILED))
    plain = client(call(1, None, 3.0), call(2, None, 3.01))
    lines = drawn(router, guarded, plain, 110, 34)
    text = "\n".join(lines)
    assert "6.7 s of 24 s  openai hangs" in text
    assert re.search(r"^openai +down +open, probe \d\.\d s +0 +0 +- +-", text, re.MULTILINE)
    assert re.search(r"^anthropic +unknown +closed ", text, re.MULTILINE)
    assert re.search(r"1 +1260 ms +gemini after openai timeout, anthropic overloaded +Is 91 a prime number\?", text)
    assert re.search(r"2 +3000 ms +LOST after openai timeout ", text)
    assert re.search(r"with failsafe +1 of 2 +1 +3\.00 s", text)
    assert re.search(r"plain requests to openai +0 of 2 +2 +3\.01 s", text)


def test_the_account_says_which_calls_were_lost_or_late_and_why(router: Router) -> None:
    guarded = client(
        call(1, "openai", 0.1),
        call(2, None, 3.0, error="no answer within the deadline"),
        call(3, "openai", DEADLINE + 0.06),
    )
    said = account(router, guarded, client())
    assert "with failsafe: 2 of 3 calls answered, 1 lost;" in said
    assert "call 2 ended after 3.00 s: no answer within the deadline" in said
    assert "call 3 ended after 3.06 s: late" in said
    assert [each.number for each in guarded.score().failed] == [2, 3]


def test_a_call_within_the_grace_after_the_deadline_is_in_time() -> None:
    assert client(call(1, "openai", DEADLINE + 0.04)).score().failed == ()


@pytest.mark.parametrize("seconds", [4.0, 24.0])
def test_the_breakers_of_the_play_close_again_within_an_act(seconds: float) -> None:
    with FakeCloud.of("openai") as cloud:
        shortest_act = 0.12 * seconds
        assert settings(cloud, seconds).breaker.timeout <= shortest_act


@pytest.mark.parametrize("arguments", [["--seconds", "nan"], ["--seconds", "1"], ["--rate", "0"], ["--rate", "x"]])
def test_a_play_of_no_sense_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["demo", *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


@pytest.mark.usefixtures("expect_logs")
def test_the_play_loses_no_call_and_leaves_no_thread_behind() -> None:
    result = CliRunner().invoke(app, ["demo", "--seconds", "4", "--rate", "6"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "openai hangs" in result.stdout
    assert "breaker of openai: closed -> open" in result.stdout
    score = re.search(r"with failsafe: (\d+) of (\d+) calls answered, 0 lost", result.stdout)
    plain = re.search(r"without: +(\d+) of \d+ answered, (\d+) lost", result.stdout)
    assert score
    assert plain
    assert score[1] == score[2]
    assert int(plain[2]) > 0


def test_ctrl_c_ends_the_play_with_the_account_so_far() -> None:
    with running("demo", "--plain", "--seconds", "60", "--rate", "20") as play:
        until(play.stdout, "all three are healthy")
        play.send_signal(signal.SIGINT)
        out, err = play.communicate(timeout=HARD_CAP)
    assert re.search(r"^ *\d+\.\d s  stopped$", out, re.MULTILINE)
    assert "with failsafe:" in out
    assert (play.returncode, err) == (0, "")


@pytest.mark.parametrize("colours", [True, False])
def test_in_a_terminal_the_picture_is_drawn_over_itself(colours: bool) -> None:
    variables = {"NO_COLOR": ""} if colours else {"NO_COLOR": "1"}
    with terminal("demo", "--seconds", "60", variables=variables) as screen:
        screen.read_until(lambda shown: b"\x1b[1A" in shown and b"healthy" in shown)
        screen.process.send_signal(signal.SIGINT)
        screen.read_until(lambda shown: b"breakers:" in shown)
        assert screen.process.wait(HARD_CAP) == 0
    assert (b"\x1b[32m" in screen.shown) is colours
    assert screen.shown.count(b"\x1b[?25l") == screen.shown.count(b"\x1b[?25h") == 1  # the cursor is given back
    assert "╭─ latest calls".encode() in screen.shown


def test_a_dumb_terminal_gets_lines() -> None:
    with terminal("demo", "--seconds", "60", variables={"TERM": "dumb"}) as screen:
        screen.read_until(lambda shown: b"all three are healthy\r\n" in shown)
        screen.process.send_signal(signal.SIGINT)
        screen.read_until(lambda shown: b"breakers:" in shown)
        assert screen.process.wait(HARD_CAP) == 0
    assert b"\x1b[" not in screen.shown


@pytest.mark.usefixtures("expect_logs")
def test_the_play_as_json_lines() -> None:
    result = CliRunner().invoke(app, ["demo", "--seconds", "4", "--rate", "6", "--json"])
    assert result.exit_code == 0
    *told, account = map(json.loads, result.stdout.splitlines())
    assert next(each["act"] for each in told if "act" in each) == "all three are healthy"
    assert {"breaker": "openai", "old": "closed", "new": "open"}.items() <= next(
        each for each in told if each.get("breaker") == "openai"
    ).items()
    assert account["with_failsafe"]["answered"] == account["with_failsafe"]["sent"]
    assert account["without"]["lost"] > 0
    assert account["opened"]["openai"] >= 1


def test_what_is_played_is_not_recorded(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    variables = {"FAILSAFE_STORE": str(store)}
    for arguments in (["demo", "--seconds", "4", "--rate", "1"], ["sim", "--list"]):
        assert finished(*arguments, variables=variables).returncode == 0
    assert not store.exists()
