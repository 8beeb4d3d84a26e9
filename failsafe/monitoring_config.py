"""
Settings of what is recorded, watched, reported and paid: frozen, keyword-only, validated where they are made.

Every rule that is broken raises :class:`failsafe.ConfigError` with the key, the value and what is
allowed. Times are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from failsafe import addresses, checks
from failsafe.secret import Secret, resolve

_DAY = 86_400.0
_YEARS = 3660 * _DAY
_MOST_USD = 1e9

PROBE_KINDS = ("models", "completion", "connect", "off")
"""How a provider can be probed."""

ALERT_RULES = (
    "down", "recovered", "breaker_open", "key_rejected", "quota_gone", "misconfigured", "budget_burn", "spend",
)  # fmt: skip
"""What may be reported."""

WEBHOOK_FORMATS = ("json", "slack")
"""The forms in which a webhook is sent its alerts."""

_QUIET_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreConfig:
    """
    Where and how long what has happened is kept: in one SQLite file, shared by all programs of a user.

    Attributes:
        path: The file, absolute. None: what ``FAILSAFE_STORE`` names, else ``failsafe/store.db`` in the user's state
            folder (on Linux ``~/.local/state``).
        enabled: Whether anything is kept; ``FAILSAFE_STORE=off`` turns it off where no path is set here.
        keep_attempts: Seconds for which single attempts, calls and probes are kept (an hour to ten years).
        keep_history: Seconds for which counts, latencies, states, events and costs are kept (a day to ten years).
        max_bytes: The largest file; the oldest single attempts go first (from 10 MiB).
        texts: Whether prompts and answers are kept, too; as long as attempts are.
        queue_size: The most events that wait to be written (100 to 10,000,000); more are dropped and counted.
    """

    path: str | None = None
    enabled: bool = True
    keep_attempts: float = 2 * _DAY
    keep_history: float = 400 * _DAY
    max_bytes: int = 500 * 1024 * 1024
    texts: bool = False
    queue_size: int = 65_536

    def __post_init__(self) -> None:
        if self.path is not None:
            checks.text("path", self.path)
        checks.flag("enabled", self.enabled)
        checks.number("keep_attempts", self.keep_attempts, least=3600, most=_YEARS)
        checks.number("keep_history", self.keep_history, least=_DAY, most=_YEARS)
        checks.whole("max_bytes", self.max_bytes, least=10 * 1024 * 1024, most=2**50)
        checks.flag("texts", self.texts)
        checks.whole("queue_size", self.queue_size, least=100, most=10_000_000)

    @classmethod
    def from_word(cls, word: str) -> StoreConfig:
        """What ``store = "off"`` or ``store = "/path/of/store.db"`` means."""
        return cls(enabled=False) if word == "off" else cls(path=word)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """
    How it is found out whether a provider works, and what is expected of it.

    Attributes:
        kind: ``models`` asks for the free list of models; ``completion`` for one token of an answer, which costs a
            little and is the only one that tells a breaker; ``connect`` opens a connection, TLS included; ``off``
            asks nothing, so that only real calls tell. None: ``models`` where there is such a list, else ``connect``.
        model: The model that a completion is asked of. None: the preset's cheapest.
        interval: Seconds between two probes (1 to a day). None: the monitor's, as for the two below.
        timeout: Seconds for one probe (above 0, at most 300).
        latency_limit_ms: Milliseconds above which the slowest twentieth of its answers makes it degraded. None: any.
        sla: The percentage of time it is expected to be up (50 to 100, not included). None: no expectation.
    """

    kind: str | None = None
    model: str | None = None
    interval: float | None = None
    timeout: float | None = None
    latency_limit_ms: float | None = None
    sla: float | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            checks.one_of("kind", self.kind, PROBE_KINDS)
        if self.model is not None:
            checks.text("model", self.model)
        if self.interval is not None:
            checks.number("interval", self.interval, least=1, most=_DAY)
        if self.timeout is not None:
            checks.number("timeout", self.timeout, above=0, most=300)
        if self.latency_limit_ms is not None:
            checks.number("latency_limit_ms", self.latency_limit_ms, above=0, most=_DAY * 1000)
        if self.sla is not None:
            checks.number("sla", self.sla, least=50, most=100)
            if self.sla == 100:
                checks.refuse("sla", self.sla, "less than 100 is needed: nothing is up all the time")


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorConfig:
    """
    How a :class:`failsafe.HealthMonitor` watches, and when a provider counts as what.

    Attributes:
        interval: Seconds between two probes of a provider (1 to a day).
        jitter: Each interval is longer or shorter by up to this share of itself (0 to 0.9).
        timeout: Seconds for one probe (above 0, at most 300).
        workers: Most probes under way at once (1 to 256).
        confirm: Failures in a row, with no answer between, that make a provider ``DOWN``; its downtime begins with
            the first of them (1 to 100).
        validity: What was observed last holds for so many intervals (1 to 100); then nothing is known.
        window: Seconds over which errors and latency are judged (10 to a day).
        minimum_calls: Answers and failures in the window needed to judge by rates (1 to 10,000).
        degraded_error_rate: The share of failures from which a provider is ``DEGRADED`` (above 0, at most 1).
        down_error_rate: The share of failures from which it is ``DOWN`` (``degraded_error_rate`` to 1).
        skip_busy: Whether a provider that real calls have told about within its interval is not probed.
        probe_open: Whether a completion is asked of a provider whose breaker is open before its time is over; the
            breaker learns nothing of that.
        network_check: ``host:port`` addresses, of which one must take a connection when every provider has become
            unreachable; else it is this machine's network that is down. Empty: it is held to be that whenever no
            provider can be reached, and there are at least two hosts.
    """

    interval: float = 30.0
    jitter: float = 0.1
    timeout: float = 10.0
    workers: int = 8
    confirm: int = 3
    validity: float = 2.5
    window: float = 300.0
    minimum_calls: int = 10
    degraded_error_rate: float = 0.05
    down_error_rate: float = 0.5
    skip_busy: bool = True
    probe_open: bool = False
    network_check: Sequence[str] = ()

    def __post_init__(self) -> None:
        checks.number("interval", self.interval, least=1, most=_DAY)
        checks.number("jitter", self.jitter, least=0, most=0.9)
        checks.number("timeout", self.timeout, above=0, most=300)
        checks.whole("workers", self.workers, least=1, most=256)
        checks.whole("confirm", self.confirm, least=1, most=100)
        checks.number("validity", self.validity, least=1, most=100)
        checks.number("window", self.window, least=10, most=_DAY)
        checks.whole("minimum_calls", self.minimum_calls, least=1, most=10_000)
        checks.number("degraded_error_rate", self.degraded_error_rate, above=0, most=1)
        checks.number("down_error_rate", self.down_error_rate, least=self.degraded_error_rate, most=1)
        checks.flag("skip_busy", self.skip_busy)
        checks.flag("probe_open", self.probe_open)
        addresses = checks.texts("network_check", self.network_check)
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                checks.refuse("network_check", address, "host:port, such as example.com:443, is needed")
        object.__setattr__(self, "network_check", addresses)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class AlertConfig:
    """
    What is reported, and to whom.

    Attributes:
        on: The rules that report: of ``down``, ``recovered``, ``breaker_open``, ``key_rejected``, ``quota_gone``,
            ``misconfigured`` (a wrong address, or a model that is not served), ``budget_burn`` (the time that the SLA
            allows a provider to be down runs out fast) and ``spend``.
        log: Whether alerts are written to the logger ``failsafe.alerts``.
        webhook: An https address that is sent each group of alerts by POST (http only on this machine), or
            ``"env:NAME"`` for one that must not stand in a file. Reading it gives a secret.
        webhook_format: ``json``, or ``slack`` for what Slack and those that imitate it take.
        command: A program and its arguments that is given each group of alerts as JSON on its standard input. Never
            a shell.
        group: Seconds for which alerts are gathered, from the first one on, and sent together (0 to an hour).
        repeat: Seconds after which what still holds is reported again (60 to 30 days).
        max_per_hour: The most groups sent in an hour; what is beyond is counted in the next one (1 to 1000).
        mute: Names of providers that are not reported.
        quiet: Hours of the local day, such as ``"22:00-07:00"``, in which only what is urgent is sent at once; the
            rest is sent when they end. None: there are none.
    """

    on: Sequence[str] = ALERT_RULES
    log: bool = True
    webhook: str | Secret | None = None
    webhook_format: str = "json"
    command: Sequence[str] | None = None
    group: float = 10.0
    repeat: float = 14_400.0
    max_per_hour: int = 30
    mute: Sequence[str] = ()
    quiet: str | None = None

    def __post_init__(self) -> None:
        rules = checks.texts("on", self.on)
        for rule in rules:
            checks.one_of("on", rule, ALERT_RULES)
        checks.flag("log", self.log)
        checks.one_of("webhook_format", self.webhook_format, WEBHOOK_FORMATS)
        if self.command is not None:
            command = checks.texts("command", self.command)
            if not command:
                checks.refuse("command", self.command, "a program and its arguments are needed")
            object.__setattr__(self, "command", command)
        checks.number("group", self.group, least=0, most=3600)
        checks.number("repeat", self.repeat, least=60, most=30 * _DAY)
        checks.whole("max_per_hour", self.max_per_hour, least=1, most=1000)
        if self.quiet is not None:
            times = _QUIET_HOURS.fullmatch(checks.text("quiet", self.quiet))
            if times is None or times.group(1, 2) == times.group(3, 4):
                checks.refuse("quiet", self.quiet, "two different times of the day such as 22:00-07:00 are needed")
        object.__setattr__(self, "on", rules)
        object.__setattr__(self, "mute", checks.texts("mute", self.mute))
        object.__setattr__(self, "webhook", _webhook(self.webhook))

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__slots__}
        return f"AlertConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _webhook(value: str | Secret | None) -> Secret | None:
    if value is None:
        return None
    # The path of a webhook is what lets somebody write there: it is not shown.
    if isinstance(value, str) and not value.isprintable():  # as when a newline was copied with it
        checks.refuse("webhook", checks.HIDDEN, "a text without control characters is needed")
    secret = value if isinstance(value, Secret) else resolve(checks.text("webhook", value), "webhook")
    scheme, _, rest = secret.reveal().partition("://")
    host = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    here = addresses.is_loopback(host.rpartition(":")[0].strip("[]") or host)
    if not host or not (scheme == "https" or (scheme == "http" and here)):
        checks.refuse("webhook", checks.HIDDEN, "an https address is needed (http only to this machine)")
    return secret


@dataclass(frozen=True, kw_only=True, slots=True)
class SpendConfig:
    """
    How much may be spent, USD. Days and months are those of UTC.

    A call that is estimated to go beyond asks a cheaper provider, or is refused.

    Attributes:
        per_call: For one call, as estimated before it is sent (above 0). None: any, as below.
        per_day: For all calls of one day.
        per_month: For all calls of one month.
        warn_at: The share of a cap from which it is reported (above 0, at most 1).
        unknown_prices: Whether a model of unknown price may be asked while a cap is set: ``refuse`` or ``allow``.
    """

    per_call: float | None = None
    per_day: float | None = None
    per_month: float | None = None
    warn_at: float = 0.8
    unknown_prices: str = "refuse"

    def __post_init__(self) -> None:
        for name in ("per_call", "per_day", "per_month"):
            value: Any = getattr(self, name)
            if value is not None:
                checks.number(name, value, above=0, most=_MOST_USD)
        checks.number("warn_at", self.warn_at, above=0, most=1)
        checks.one_of("unknown_prices", self.unknown_prices, ("refuse", "allow"))

    @property
    def is_set(self) -> bool:
        """Whether it limits anything."""
        return not (self.per_call is None and self.per_day is None and self.per_month is None)
