"""What happened, a line an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from failsafe.cli.output import clean
from failsafe.cli.status_view import milliseconds
from failsafe.cli.times import rough
from failsafe.telemetry.views import EventRow

KINDS = {
    "attempt": "AttemptFinished",
    "call": "CallFinished",
    "probe": "ProbeFinished",
    "breaker": "StateChanged",
    "status": "StatusChanged",
    "put-off": "PutOff",
    "model": "ModelSubstituted",
    "network": "NetworkChanged",
    "watch": "WatchChanged",
    "alert": "Alert",
    "command": "CommandCarriedOut",
}
"""Words for the classes of events, as options and lines have them."""

_WORDS = {kind: word for word, kind in KINDS.items()}
_Data = Mapping[str, Any]

GOOD, BAD, NOTABLE, PLAIN = "green", "red", "yellow", ""
"""Styles: of what went well, of what did not, of what is worth a look, of everything else."""


def word_of(kind: str) -> str:
    """The word for a class of events; of one that is newer than this program, its own name."""
    return _WORDS.get(kind, clean(kind))


def described(row: EventRow) -> tuple[str, str]:
    """What happened, in words on one line, and its style."""
    describe = _DESCRIBED.get(row.kind, _anything)
    text, style = describe(row.data)
    return clean(text), style


def _said(data: _Data, name: str = "message") -> str:
    return f": {data[name]}" if data.get(name) else ""


def _status(data: _Data) -> str:
    return f" (HTTP {data['status']})" if data.get("status") else ""


def _attempt(data: _Data) -> tuple[str, str]:
    took = milliseconds(data.get("latency_ms"))
    hedge = " as a hedge" if data.get("hedge") else ""
    if not data.get("fault"):
        return f"{data.get('model')} answered{hedge} in {took}{_tokens(data)}", GOOD
    billed = ", maybe billed" if data.get("maybe_billed") else ""
    return f"{data.get('model')} {data['fault']}{_status(data)}{hedge} after {took}{billed}{_said(data)}", BAD


def _tokens(data: _Data) -> str:
    prompt, completion = data.get("prompt_tokens"), data.get("completion_tokens")
    return "" if prompt is None and completion is None else f", {prompt or 0:,} + {completion or 0:,} tokens"


def _call(data: _Data) -> tuple[str, str]:
    took, attempts = milliseconds(data.get("latency_ms")), data.get("attempts") or 0
    count = f"{attempts} attempt{'' if attempts == 1 else 's'}"
    tag = f" [{data['tag']}]" if data.get("tag") else ""
    if data.get("error"):
        return f"{data.get('asked_model')}{tag} ended with {data['error']} after {took}, {count}", BAD
    answered = f"{data.get('asked_model')}{tag} answered by {data.get('model')} in {took}, {count}"
    return answered, NOTABLE if attempts > 1 else GOOD


def _probe(data: _Data) -> tuple[str, str]:
    took = milliseconds(data.get("latency_ms"))
    if not data.get("fault"):
        return f"{data.get('kind')} answered in {took}", GOOD
    excused = "" if data.get("blamed") else ", not held against it"
    return f"{data.get('kind')} {data['fault']}{_status(data)} after {took}{excused}{_said(data)}", BAD


def _breaker(data: _Data) -> tuple[str, str]:
    new = str(data.get("new", ""))
    style = GOOD if new == "closed" else BAD if new in ("open", "forced_open") else NOTABLE
    return f"{data.get('name')}: {data.get('old')} -> {new} ({data.get('reason')})", style


def _changed(data: _Data) -> tuple[str, str]:
    new = str(data.get("new", ""))
    style = {"healthy": GOOD, "down": BAD}.get(new, NOTABLE)
    return f"{data.get('old')} -> {new} ({data.get('reason')})", style


def _put_off(data: _Data) -> tuple[str, str]:
    what = " ".join(f"{name} {data[name]}" for name in ("key", "model") if data.get(name)) or "all of it"
    advice = f"; {data['advice']}" if data.get("advice") else ""
    return f"{what} left alone for {rough(data.get('seconds') or 0)}: {data.get('fault')}{_said(data)}{advice}", NOTABLE


def _substituted(data: _Data) -> tuple[str, str]:
    return f"{data.get('asked_model')} was asked for, and {data.get('model')} answered", NOTABLE


def _network(data: _Data) -> tuple[str, str]:
    return (f"is back{_said(data, 'reason')}", GOOD) if data.get("up") else (f"is down{_said(data, 'reason')}", BAD)


def _watch(data: _Data) -> tuple[str, str]:
    return f"{data.get('state')}{_said(data, 'note')}", PLAIN


def _alert(data: _Data) -> tuple[str, str]:
    style = (
        GOOD if data.get("resolves") else {"critical": BAD, "warning": NOTABLE}.get(str(data.get("severity")), PLAIN)
    )
    return f"{data.get('severity')} {data.get('rule')}: {data.get('title')}{_said(data)}", style


def _command(data: _Data) -> tuple[str, str]:
    return f"{data.get('action')} by {data.get('origin')}: {data.get('outcome')}", NOTABLE


def _anything(data: _Data) -> tuple[str, str]:
    return ", ".join(
        f"{name} {value}" for name, value in data.items() if value not in (None, "") and name != "at"
    ), PLAIN


_DESCRIBED: Mapping[str, Callable[[_Data], tuple[str, str]]] = {
    "AttemptFinished": _attempt,
    "CallFinished": _call,
    "ProbeFinished": _probe,
    "StateChanged": _breaker,
    "StatusChanged": _changed,
    "PutOff": _put_off,
    "ModelSubstituted": _substituted,
    "NetworkChanged": _network,
    "WatchChanged": _watch,
    "Alert": _alert,
    "CommandCarriedOut": _command,
}
