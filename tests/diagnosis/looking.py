"""Lets the doctor look at providers that a test describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from failsafe.diagnosis.examination import Report, Wanted, examine
from failsafe.diagnosis.finding import Finding, Level
from failsafe.sim import FakeProvider

KEY = "MARKED0123456789abcdef"
MODELS = b'{"object":"list","data":[{"id":"gpt-6-luna"},{"id":"gpt-6.1-sol"}]}'


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """An answer on the wire."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def listed(*headers: str) -> bytes:
    """A list of models on the wire."""
    return http("200 OK", MODELS, "Content-Type: application/json", *headers)


def written(folder: Path, providers: Mapping[str, Mapping[str, Any]], above: str = "") -> Path:
    """A settings file with these providers."""
    lines = [above]
    for name, settings in providers.items():
        lines.append(f"[providers.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    path = folder / "failsafe.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def settings_of(provider: FakeProvider, **changes: Any) -> dict[str, Any]:
    """The settings that lead to a fake provider."""
    found = {"base_url": provider.base_url, "dialect": provider.dialect, "api_key": provider.key}
    return {**found, **changes}


def examined(
    folder: Path,
    described: Mapping[str, Mapping[str, Any]],
    *,
    environ: Mapping[str, str] | None = None,
    above: str = "",
    timeout: float = 2.0,
    **wanted: Any,
) -> Report:
    """What the doctor finds of the providers that are *described*; no key that a test has marked is in it."""
    path = written(folder, described, above)
    variables = {"FAILSAFE_STORE": "off", **(environ or {})}
    report = examine(Wanted(path=path, timeout=timeout, **wanted), environ=variables)
    assert "MARKED" not in repr(report.findings)
    return report


def problems(report: Report) -> dict[str, Finding]:
    """The findings that are not all right, by their codes; one that is the only provider is none."""
    return {
        finding.code: finding
        for finding in report.findings
        if finding.level is not Level.OK and finding.code != "alone"
    }


def only(report: Report) -> Finding:
    """The one finding that is not all right."""
    (finding,) = problems(report).values()
    return finding
