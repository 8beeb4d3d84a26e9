"""``failsafe doctor``: what it shows, in which order, how wide, and how it exits."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from failsafe.catalog import catalog
from failsafe.cli.app import app
from failsafe.cli.doctor_view import picture
from failsafe.diagnosis.examination import Report, Wanted
from failsafe.diagnosis.finding import Finding, Level, error, good, note, ranked, warning
from failsafe.diagnosis.machine import MachineFacts
from failsafe.diagnosis.store import StoreFacts
from failsafe.sim import BEHAVIOURS, FakeCloud
from tests.cli.programs import FAILSAFE, HARD_CAP, ROOT, running

DOCS = ROOT / "docs"
SOURCES = ROOT / "failsafe" / "diagnosis"


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as started:
        yield started


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    path = tmp_path / "failsafe.toml"
    path.write_text(cloud.as_toml(), encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--config", str(path), "-t", "2", *arguments])


def report_of(*findings: Finding) -> Report:
    return Report(
        version="1",
        at=0.0,
        origin="/settings.toml",
        findings=tuple(ranked(findings)),
        providers=(),
        machine=MachineFacts(python="3.11.9"),
        store=StoreFacts(),
        unreadable=False,
    )


def lines_of(*findings: Finding, width: int = 80, verbose: bool = False) -> list[str]:
    return [line.text for line in picture(report_of(*findings), Wanted(), width, verbose=verbose)]


def test_when_all_is_well_a_few_lines_say_so(settings: Path) -> None:
    result = run(settings)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ok openai: GET /models answered in ")
    assert lines[1].startswith("ok anthropic: GET /v1/models answered in ")
    assert any(line.startswith("no errors, no warnings; settings:") for line in lines)
    assert len(lines) < 10
    assert result.stderr == ""


def test_what_is_wrong_comes_first_with_why_and_what_to_do(cloud: FakeCloud, settings: Path) -> None:
    cloud["anthropic"].behave(BEHAVIOURS["wrong-key"])
    result = run(settings)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ERROR anthropic: rejects the key ")
    assert any(line.startswith("  why ") for line in lines)
    assert any(line.startswith("  do  ") for line in lines)
    assert lines.index(next(line for line in lines if line.startswith("ok openai"))) > 3
    assert max(map(len, lines)) <= 80


def test_warnings_do_not_count_for_the_exit_code(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["rate-limit"])
    result = run(settings)
    assert result.exit_code == 0
    assert result.stdout.startswith("WARNING openai: limits the rate; it ends in 20 s, at ")


def test_settings_that_cannot_be_used_exit_with_2_and_the_rest_is_looked_at(settings: Path) -> None:
    settings.write_text(settings.read_text() + '[providers.mine]\nbase_url = "nonsense"\n')
    result = run(settings)
    assert result.exit_code == 2
    assert result.stdout.startswith("ERROR mine: its settings are wrong: ")
    assert "ok openai: " in result.stdout


def test_a_provider_may_be_named(cloud: FakeCloud, settings: Path) -> None:
    result = run(settings, "openai")
    assert result.exit_code == 0
    assert "anthropic" not in result.stdout
    assert cloud["anthropic"].count() == 0


def test_an_unknown_provider_is_a_wrong_argument(settings: Path) -> None:
    result = run(settings, "opnai")
    assert result.exit_code == 2
    assert "no provider is called 'opnai' (did you mean 'openai'?)" in " ".join(result.stderr.split())


def test_offline_asks_nobody_and_says_so(cloud: FakeCloud, settings: Path) -> None:
    result = run(settings, "--offline")
    assert result.exit_code == 0
    assert "Nobody was asked." in result.stdout
    assert all(each.connections == 0 for each in cloud)


def test_a_short_answer_is_asked_for_when_wanted(cloud: FakeCloud, settings: Path) -> None:
    assert "--completion asks for one" in " ".join(run(settings).stdout.split())
    result = run(settings, "--completion")
    assert result.exit_code == 0
    assert "--completion asks" not in result.stdout
    assert cloud["openai"].count("/chat/completions") == cloud["anthropic"].count("/v1/messages") == 1


def test_everything_can_be_had_as_json_without_a_key(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["echoed-key"])
    result = run(settings, "--json", "--completion")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found.keys() == {
        "version", "at", "settings", "exit_code", "findings", "providers", "machine", "store",
    }  # fmt: skip
    assert found["exit_code"] == 1
    first = found["findings"][0]
    assert first.keys() == {"level", "code", "subject", "found", "why", "do"}
    assert (first["level"], first["code"], first["subject"]) == ("error", "key-rejected", "openai")
    openai, anthropic = found["providers"]
    assert openai["asked"][0]["status"] == 401
    assert openai["asked"][0]["fault"] == "auth"
    assert [each["asked"] for each in anthropic["asked"]] == ["GET /v1/models", "a short answer of claude-haiku-5-5"]
    assert all(provider.key not in result.stdout for provider in cloud)


def test_verbose_shows_what_is_right_too(settings: Path) -> None:
    assert "ok store: " not in run(settings).stdout
    assert "ok store: nothing is recorded (FAILSAFE_STORE=off)" in run(settings, "-v").stdout


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "x"])
def test_a_timeout_of_no_sense_is_refused(settings: Path, timeout: str) -> None:
    result = CliRunner().invoke(app, ["doctor", "--config", str(settings), "-t", timeout])
    assert result.exit_code == 2
    assert "--timeout" in result.stderr


def test_without_settings_it_is_explained_how_to_begin(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--offline"], env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert result.stdout.startswith("ERROR settings: no provider is configured yet")
    assert "$ failsafe demo" in result.stdout
    assert len(result.stdout.splitlines()) < 20


def test_ctrl_c_ends_it_at_once(cloud: FakeCloud, settings: Path) -> None:
    for each in cloud:
        each.behave(BEHAVIOURS["hang"])
    with running("doctor", "--config", str(settings), "-t", "600") as process:
        assert all(each.wait_for_requests(1, timeout=HARD_CAP) for each in cloud)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_in_a_terminal_it_is_as_wide_as_that_at_most_100(cloud: FakeCloud, settings: Path, columns: str) -> None:
    cloud["openai"].behave(BEHAVIOURS["wrong-key"])
    near, far = pty.openpty()
    environment = {**os.environ, "COLUMNS": columns, "TERM": "xterm", "NO_COLOR": "1"}
    command = [*FAILSAFE, "doctor", "--config", str(settings), "-t", "5"]
    try:
        done = subprocess.run(
            command, stdout=far, stderr=subprocess.PIPE, env=environment, cwd=ROOT, timeout=HARD_CAP, check=False
        )
        raw = os.read(near, 65536).decode()
    finally:
        os.close(near)
        os.close(far)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", raw).splitlines()
    assert (done.returncode, done.stderr) == (1, b"")
    assert shown[0].startswith("ERROR openai: rejects the key ")
    assert "\x1b[3" not in raw  # no colour
    assert max(map(len, shown)) <= min(int(columns), 100)


# The picture


def test_the_worst_comes_first_and_what_is_right_last() -> None:
    found = [good("answers", "a", "is fine"), note("n", "b", "x"), warning("w", "c", "y"), error("e", "d", "z")]
    lines = [line for line in lines_of(*found) if line and not line.startswith(("1 error", " "))]
    assert lines == ["ERROR d: z", "WARNING c: y", "note b: x", "ok a: is fine"]


def test_what_explains_the_rest_comes_before_it() -> None:
    found = ranked([error("key-rejected", "a", "x"), error("no-network", "network", "y")])
    assert [each.code for each in found] == ["no-network", "key-rejected"]


def test_what_is_said_of_several_alike_is_said_once() -> None:
    found = ranked([error("e", "a", "x", "why", "do"), error("e", "b", "x", "why", "do"), error("e", "c", "other")])
    assert [(each.subject, each.found) for each in found] == [("a, b", "x"), ("c", "other")]


def test_what_can_wait_is_left_out_beside_an_error() -> None:
    alone = warning("alone", "a", "is the only provider")
    assert lines_of(alone)[0] == "WARNING a: is the only provider"
    beside = lines_of(alone, error("e", "a", "x"))
    assert beside[-1].startswith("1 error, no warnings")
    assert not any("only provider" in line for line in beside)
    assert any("only provider" in line for line in lines_of(alone, error("e", "a", "x"), verbose=True))


def test_a_command_is_never_broken() -> None:
    command = f"$ pip install {'x' * 90}"
    lines = lines_of(error("e", "a", "x", "", command, f"to repair it: {command}"), width=60)
    assert f"  do  {command}" in lines
    assert lines[lines.index("      to repair it:") + 1].strip() == command


def test_long_words_stay_whole() -> None:
    url = f"https://{'a' * 100}.test/"
    assert any(url in line for line in lines_of(error("e", "a", f"see {url}")))


def test_foreign_text_is_shown_in_one_line_without_control_characters() -> None:
    hostile = error("e", "a\x1b[31m", "x\r\n\x1b]0;title\x07y").cleaned(())
    assert (hostile.subject, hostile.found) == ("a [31m", "x ]0;title y")


# The guide


def codes() -> set[str]:
    """The codes that the sources name."""
    pattern = re.compile(
        r'\b(?:error|warning|note|level)\(\s*(?:"([a-z0-9-]+)"(?: if [^"]+ else "([a-z0-9-]+)")?)'
        r'|^\s+"([a-z0-9-]+)", _[A-Z_]+, "',
        re.MULTILINE,
    )
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py"))
    of_faults = {"fault-..."}  # one for each fault that nothing more is known of
    return {code for found in pattern.findall(text) for code in found if code} | of_faults


def test_the_guide_explains_every_finding_and_no_other() -> None:
    table = re.findall(r"^\| `([a-z0-9.-]+)` \|", (DOCS / "doctor.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(table) == len(set(table))
    assert set(table) == codes()


def test_the_guides_link_to_it() -> None:
    assert "(doctor.md)" in (DOCS / "index.md").read_text(encoding="utf-8")
    assert "## `failsafe doctor`" in (DOCS / "cli.md").read_text(encoding="utf-8")
    assert "doctor.md" in (DOCS / "cli.md").read_text(encoding="utf-8")


def test_the_guide_names_the_status_pages() -> None:
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    assert all(preset.status_page in text for preset in catalog().presets.values() if preset.status_page)


@pytest.mark.parametrize("level", list(Level))
def test_every_level_can_be_shown(level: Level) -> None:
    assert lines_of(Finding(level=level, code="c", subject="s", found="f"), verbose=True)
