"""``failsafe health``: what it finds, and how it exits."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.cli.app import app
from failsafe.clock import SYSTEM_CLOCK
from failsafe.sim import BEHAVIOURS, FakeCloud
from failsafe.telemetry.reader import StoreReader
from tests.cli.programs import HARD_CAP, finished, running
from tests.cli.terminals import shown_by


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as started:
        yield started


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    return written(tmp_path, cloud.as_toml())


def written(folder: Path, text: str) -> Path:
    path = folder / "failsafe.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def run(settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["health", "--config", str(settings), *arguments])


def found(settings: Path, *arguments: str) -> dict[str, dict[str, object]]:
    return {each["provider"]: each for each in json.loads(run(settings, "--json", *arguments).stdout)}


def test_every_provider_is_probed_and_a_line_says_what_came_of_it(settings: Path) -> None:
    result = run(settings)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith("ok: openai: models answered in ")
    assert second.startswith("ok: anthropic: models answered in ")


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize(
    ("behaviour", "result"), [("server-error", "down"), ("refuse", "down"), ("hang", "down"), ("wrong-key", "failed")]
)
def test_one_that_fails_exits_with_1_and_says_why(
    cloud: FakeCloud, settings: Path, behaviour: str, result: str
) -> None:
    cloud["openai"].behave(BEHAVIOURS[behaviour])
    assert run(settings, "-t", "1").exit_code == 1
    probed = found(settings, "-t", "1", "--kind", "completion")
    assert probed["openai"]["result"] == result
    assert probed["openai"]["fault"]
    assert probed["openai"]["reason"]
    assert probed["anthropic"]["result"] == "ok"
    assert run(settings, "anthropic").exit_code == 0


def test_the_kind_of_probe_can_be_chosen(settings: Path) -> None:
    assert found(settings, "openai", "--kind", "connect")["openai"]["kind"] == "connect"
    assert found(settings, "openai", "--kind", "completion")["openai"]["kind"] == "completion"


def test_who_is_not_to_be_probed_is_told_and_is_no_failure(cloud: FakeCloud, tmp_path: Path) -> None:
    path = written(tmp_path, 'probe = { kind = "off" }\n' + cloud.as_toml())
    result = run(path, "openai")
    assert (result.exit_code, result.stdout) == (0, "off: openai: its settings say that it is not probed\n")
    assert found(path, "openai", "--kind", "models")["openai"]["result"] == "ok"


def test_probes_are_recorded(cloud: FakeCloud, tmp_path: Path) -> None:
    path = written(tmp_path, f'store = "{tmp_path / "store.db"}"\n' + cloud.as_toml())
    assert finished("health", "--config", str(path)).returncode == 0
    with StoreReader.open(tmp_path / "store.db") as reader:
        rows = reader.events(kinds=["ProbeFinished"])
        assert {row.provider for row in rows} == {"openai", "anthropic"}
        assert reader.processes(alive_only=True) == []
        assert all(abs(row.at - SYSTEM_CLOCK.time()) < 60 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["opnai"], "'opnai' is no provider that is switched on: did you mean openai?"),
        (["qqq"], "there are openai, anthropic"),
        (["-t", "0"], "--timeout"),
        (["--kind", "off"], "--kind"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: Path, arguments: list[str], said: str) -> None:
    result = run(settings, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("columns", [40, 80])
def test_the_table_fits_the_terminal(settings: Path, columns: int) -> None:
    code, lines = shown_by("health", "--config", str(settings), columns=columns)
    assert code == 0
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[:2] == ["ok", "openai"]


def test_all_are_probed_at_once_and_ctrl_c_ends_them(cloud: FakeCloud, settings: Path) -> None:
    for each in cloud:
        each.behave(BEHAVIOURS["hang"])
    with running("health", "--config", str(settings), "-t", "300", "--kind", "completion") as process:
        assert all(each.wait_for_requests(1, timeout=HARD_CAP) for each in cloud)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HARD_CAP)
    assert (process.returncode, out, err) == (130, "", "")
