"""``failsafe check``: are the settings right, and does every provider answer?"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from failsafe.cli.findings import Finding, ask_all, inspect
from failsafe.cli.numbers import SECONDS
from failsafe.cli.output import clean, console
from failsafe.cli.settings import config_option, load
from failsafe.clock import SYSTEM_CLOCK

_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command(short_help="Check the settings, the keys and the models.")
@config_option
@click.option("--live", is_flag=True, help="Also ask each provider for one short answer (costs a few tokens).")
@click.option(
    "-t", "--timeout", type=SECONDS, default=20.0, show_default=True, metavar="SECONDS", help="For each live call."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(path: Path | None, live: bool, timeout: float, as_json: bool) -> None:
    """
    Check the settings, the shape of every key, who serves each alias, and the models' end-of-life dates.

    Exits with 1 if anything is an error (warnings do not count), with 2 if the settings cannot be
    loaded.
    """
    config = load(path)
    findings = [*inspect(config, _today())]
    if live:
        asked = [provider for provider in config.providers if provider.enabled]
        if sys.stderr is not None and sys.stderr.isatty():
            click.echo(f"asking {', '.join(provider.name for provider in asked)} ...", err=True)
        findings += ask_all(asked, timeout, config.store)
    if as_json:
        click.echo(msgspec.json.encode([finding._asdict() for finding in findings]))
    else:
        _show(findings)
    sys.exit(any(finding.level == "error" for finding in findings))


def _today() -> date:
    return datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC).date()


def _show(findings: Sequence[Finding]) -> None:
    if sys.stdout is not None and sys.stdout.isatty():
        console().print(_table(findings))
    else:  # a line a finding, for grep and logs
        for level, subject, text in findings:
            click.echo(f"{level}: {clean(subject)}: {clean(text)}")
    counts = Counter(finding.level for finding in findings)
    click.echo(f"{_number(counts['error'], 'error')}, {_number(counts['warning'], 'warning')}")


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for level, subject, text in findings:
        table.add_row(Text(level, _STYLES[level]), clean(subject), clean(text))
    return table


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
