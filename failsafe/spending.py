"""
Caps on what may be spent: whom a call may still ask, and what is set aside for it while it is under way.

Before an attempt its estimated cost is set aside, atomically, so that calls at the same time cannot all take the last
dollar; when it has ended, what it really cost takes that place. What failed and may have been billed counts as if it
had been. Days and months are those of UTC. The guide is ``docs/cost.md``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from failsafe import forking
from failsafe.clock import Clock
from failsafe.config import RouterConfig
from failsafe.models import Attempt
from failsafe.money import in_usd
from failsafe.monitoring_config import SpendConfig
from failsafe.pricing import EXACT
from failsafe.telemetry.schema import PICODOLLARS

ALL = ""
"""In place of a provider's name: all of them together."""

Totals = Mapping[str, tuple[int, int]]
"""By provider, and :data:`ALL`: picodollars spent on the day and in the month, by everybody who shares the caps."""

LookAtTotals = Callable[[str, str], Totals | None]
"""Reads the totals of a day (``2026-11-24``) and a month (``2026-11``); None: they cannot be read now."""

_DAY = 86_400
_KEPT = 4
"""Days, and months, of which sums are kept: more than one, as clocks are set back."""


class Overrun(msgspec.Struct, frozen=True, kw_only=True):
    """
    A cap that an attempt would go beyond.

    Attributes:
        cap: The setting, such as ``spend.per_day``.
        limit: USD that it allows; None: it forbids models of unknown price.
        spent: USD spent of it, what is under way included; None for a cap on single calls.
        estimate: USD that the attempt is estimated to cost; None: its price is not known.
        resets_at: When the cap begins anew (seconds since 1970-01-01 UTC); None: never.
        retry_after: Seconds until then.
    """

    cap: str
    limit: Decimal | None = None
    spent: Decimal | None = None
    estimate: Decimal | None = None
    resets_at: float | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        if self.limit is None or self.estimate is None:
            return f"its price is not known, and {self.cap} = refuse"
        would = f"would cost about {in_usd(self.estimate)}"
        if self.spent is None:
            return f"{would}, above {self.cap} = {in_usd(self.limit)}"
        again = "" if self.resets_at is None else f"; it begins anew at {_moment(self.resets_at)} UTC"
        return f"{would}, and {in_usd(self.spent)} of {self.cap} = {in_usd(self.limit)} are spent or under way{again}"

    @property
    def advice(self) -> str:
        """What the person who has set the cap can do."""
        where = self.cap.rpartition(".")[0]
        if self.limit is None:
            return f"set a price (prices = {{ MODEL = {{ input = ..., output = ... }} }}), or {self.cap} = allow"
        wait = "" if self.spent is None else "wait until then, "
        return f"{wait}raise {self.cap}, or add a cheaper provider or model; [{where}] says what may be spent"


class SpendStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much of the caps on one provider, or on all together, is used up.

    Attributes:
        provider: Its name, or "" for all together.
        caps: What may be spent.
        day: USD that count against the cap of the day: what answers have cost, and what failed attempts may have.
        month: USD that count against the cap of the month.
        doubtful: USD of the month that failed attempts of this process may have cost.
        under_way: USD set aside for attempts that have not ended.
        day_ends: When the day ends, seconds since 1970-01-01 UTC.
        month_ends: When the month ends.
    """

    provider: str
    caps: SpendConfig
    day: Decimal
    month: Decimal
    doubtful: Decimal
    under_way: Decimal
    day_ends: float
    month_ends: float


class _Now(NamedTuple):
    """A day and a month of UTC, when they end, and both by the caps that hold for them."""

    number: int
    day: str
    month: str
    day_ends: float
    month_ends: float
    periods: Mapping[str, tuple[str, float]]


def _now(number: int) -> _Now:
    begin = datetime.fromtimestamp(number * _DAY, UTC)
    next_month = (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
    day, day_ends = f"{begin:%Y-%m-%d}", (number + 1.0) * _DAY
    month, month_ends = f"{begin:%Y-%m}", next_month.timestamp()
    periods = {"per_day": (day, day_ends), "per_month": (month, month_ends)}
    return _Now(number, day, month, day_ends, month_ends, periods)


class _Account:
    """What is spent on one provider, or on all, in picodollars by day and month; guarded by the lock of Spending."""

    __slots__ = ("_per_call", "_per_period", "caps", "doubtful", "known", "own", "prefix", "reserved")

    def __init__(self, caps: SpendConfig, prefix: str) -> None:
        self.caps = caps
        self.prefix = prefix
        self._per_call = None if caps.per_call is None else (caps.per_call, _picodollars(caps.per_call))
        by_period = (("per_day", caps.per_day), ("per_month", caps.per_month))
        self._per_period = [(name, cap, _picodollars(cap)) for name, cap in by_period if cap is not None]
        self.own: dict[str, int] = {}  # of this process, by day and by month
        self.doubtful: dict[str, int] = {}
        self.known: dict[str, tuple[int, int]] = {}  # what all had spent when it was looked up, and of that our own
        self.reserved = 0

    def spent(self, period: str) -> int:
        own = self.own.get(period, 0)
        known = self.known.get(period)
        if known is not None:
            total, own_of_it = known
            # What we have spent ourselves is spent, even if it has not reached those who add up.
            own += max(total, own_of_it) - own_of_it
        return own + self.doubtful.get(period, 0)

    def book(self, now: _Now, amount: int, *, doubtful: bool) -> None:
        book = self.doubtful if doubtful else self.own
        for period in (now.day, now.month):
            if period not in book:
                _forget_old(book, len(period))
            book[period] = book.get(period, 0) + amount

    def overrun(self, estimate: int | None, now: _Now, at: float) -> Overrun | None:
        if estimate is None:
            refused = self.caps.unknown_prices == "refuse"
            return Overrun(cap=f"{self.prefix}unknown_prices") if refused else None
        if self._per_call is not None and estimate > self._per_call[1]:
            return Overrun(cap=f"{self.prefix}per_call", limit=_limit(self._per_call[0]), estimate=_usd(estimate))
        for name, cap, most in self._per_period:
            period, ends = now.periods[name]
            used = self.spent(period) + self.reserved
            if used + estimate > most:
                return Overrun(
                    cap=f"{self.prefix}{name}", limit=_limit(cap), spent=_usd(used), estimate=_usd(estimate),
                    resets_at=ends, retry_after=max(0.0, ends - at),
                )  # fmt: skip
        return None


def _forget_old(book: dict[str, int], length: int) -> None:
    """Make room for another day, or month, in *book*; which of both, the *length* of its name says."""
    for period in sorted(each for each in book if len(each) == length)[: -_KEPT + 1]:
        del book[period]


class Reservation:
    """What is set aside for one attempt; ends once, whoever ends it. Thread-safe."""

    __slots__ = ("_accounts", "_amount", "_spending")

    def __init__(self, spending: Spending, accounts: tuple[_Account, ...], amount: int) -> None:
        self._spending = spending
        self._accounts = [accounts]  # whoever takes them out decides: pop() is atomic under the GIL
        self._amount = amount

    def release(self) -> None:
        """Nothing was sent, or what was sent costs nothing."""
        self._end(0, doubtful=False)

    def hold(self) -> None:
        """Nobody knows what became of the request: count it as if it had cost what was estimated."""
        self._end(self._amount, doubtful=True)

    def settle(self, line: Attempt) -> None:
        """The attempt has ended as its *line* of the receipt says."""
        cost = line.cost_usd
        if cost is not None:
            self._end(_picodollars(cost), doubtful=False)
        elif line.fault is None or line.maybe_billed:
            self.hold()
        else:
            self.release()

    def _end(self, amount: int, *, doubtful: bool) -> None:
        try:
            accounts = self._accounts.pop()
        except IndexError:
            return
        self._spending.book(accounts, self._amount, amount, doubtful=doubtful)


class Spending:
    """
    What a router has spent, beside what it may. Thread-safe; a forked child counts on from its parent's figures.

    Without totals from elsewhere (:meth:`read_from`) what counts is what this process has spent since it began.

    Args:
        router: The caps on all providers together, or None.
        providers: The caps on single ones, by name.
        clock: Says which day it is.
    """

    refresh = 5.0
    """Seconds after which the totals of all who share the caps are looked up again."""

    def __init__(self, router: SpendConfig | None, providers: Mapping[str, SpendConfig], clock: Clock) -> None:
        self._clock = clock
        self._accounts = {name: _Account(caps, f"providers.{name}.spend.") for name, caps in providers.items()}
        self._all = None if router is None else _Account(router, "spend.")
        if self._all is not None:
            self._accounts[ALL] = self._all
        self._day = _now(0)  # replaced, never changed
        self._look: LookAtTotals | None = None
        self._later: Callable[[Callable[[], None]], object] | None = None
        self._looked_at = 0.0
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a finalizer may end an attempt while this thread holds it
        self._looking = False
        for account in self._accounts.values():
            account.reserved = 0  # for attempts that only the parent has under way

    _after_fork = _start_afresh

    @classmethod
    def of(cls, config: RouterConfig, clock: Clock) -> Spending | None:
        """What *config* asks for; None where it sets no cap."""
        router = config.spend if config.spend is not None and config.spend.is_set else None
        own = ((each.name, each.spend) for each in config.providers if each.enabled)
        providers = {name: caps for name, caps in own if caps is not None and caps.is_set}
        return cls(router, providers, clock) if router or providers else None

    def read_from(self, look: LookAtTotals, later: Callable[[Callable[[], None]], object]) -> None:
        """
        Count what others spend, too: look the totals up now, and then every few seconds while calls are made.

        Args:
            look: Reads them; may take its time.
            later: Runs a function off the calls' way.
        """
        self._look, self._later = look, later
        self._refresh()

    def overrun(self, provider: str, estimate: float | None) -> Overrun | None:
        """
        The cap that a call of *provider* would go beyond, or None; changes nothing.

        Args:
            provider: Its name.
            estimate: USD that the call is estimated to cost there; None: its price is not known.
        """
        accounts = self._of(provider)
        if not accounts or estimate == 0:
            return None
        self._refresh_if_due()
        at = self._clock.time()
        with self._lock:
            return self._overrun_locked(accounts, _estimated(estimate), at)

    def reserve(self, provider: str, estimate: float | None) -> tuple[Overrun | None, Reservation | None]:
        """
        Set aside what an attempt is estimated to cost, if the caps leave it.

        Args:
            provider: Whom it asks.
            estimate: USD; None: the price is not known.

        Returns:
            The cap that it would go beyond, or None; then what is set aside, or None where nothing needs to be.
        """
        accounts = self._of(provider)
        if not accounts or estimate == 0:
            return None, None
        amount, at = _estimated(estimate), self._clock.time()
        with self._lock:
            overrun = self._overrun_locked(accounts, amount, at)
            if overrun is not None:
                return overrun, None
            reservation = Reservation(self, accounts, amount or 0)
            for account in accounts:
                account.reserved += amount or 0
        return None, reservation

    def _of(self, provider: str) -> tuple[_Account, ...]:
        own = self._accounts.get(provider)
        return tuple(account for account in (own, self._all) if account is not None)

    def _overrun_locked(self, accounts: Iterable[_Account], estimate: int | None, at: float) -> Overrun | None:
        now = self._at(at)
        found = (account.overrun(estimate, now, at) for account in accounts)
        return next((overrun for overrun in found if overrun is not None), None)

    def _at(self, at: float) -> _Now:
        number = int(at // _DAY)
        day = self._day
        if day.number != number:
            day = self._day = _now(number)
        return day

    def book(self, accounts: Iterable[_Account], reserved: int, amount: int, *, doubtful: bool) -> None:
        """An attempt has ended: what was *reserved* is free again, and *amount* is spent, or *doubtful*."""
        now = self._at(self._clock.time())
        with self._lock:
            for account in accounts:
                account.reserved = max(0, account.reserved - reserved)
                if amount:
                    account.book(now, amount, doubtful=doubtful)

    def status(self) -> tuple[SpendStatus, ...]:
        """How much of each cap is used up: of all providers together first."""
        self._refresh_if_due()
        now = self._at(self._clock.time())
        with self._lock:
            return tuple(
                SpendStatus(
                    provider=name,
                    caps=account.caps,
                    day=_usd(account.spent(now.day)),
                    month=_usd(account.spent(now.month)),
                    doubtful=_usd(account.doubtful.get(now.month, 0)),
                    under_way=_usd(account.reserved),
                    day_ends=now.day_ends,
                    month_ends=now.month_ends,
                )
                for name, account in sorted(self._accounts.items())
            )

    # What others have spent.

    def _refresh_if_due(self) -> None:
        if self._later is None or self._looking or self._clock.monotonic() - self._looked_at < self.refresh:
            return
        with self._lock:
            if self._looking:
                return
            self._looking = True
        try:
            self._later(self._refresh)
        except BaseException:
            self._looking = False
            raise

    def _refresh(self) -> None:
        self._looking = True
        try:
            self._looked_at = self._clock.monotonic()
            now = self._at(self._clock.time())
            # Our own part first: what is spent while the totals are read counts twice for a moment, rather than not.
            ours = self._ours(now)
            totals = None if self._look is None else self._look(now.day, now.month)
            if totals is not None:
                self._take(totals, ours, now)
        finally:
            self._looking = False

    def _ours(self, now: _Now) -> dict[str, tuple[int, int]]:
        with self._lock:
            return {
                name: (each.own.get(now.day, 0), each.own.get(now.month, 0)) for name, each in self._accounts.items()
            }

    def _take(self, totals: Totals, ours: Mapping[str, tuple[int, int]], now: _Now) -> None:
        with self._lock:
            for name, account in self._accounts.items():
                (day, month), (own_day, own_month) = totals.get(name, (0, 0)), ours[name]
                account.known = {now.day: (day, own_day), now.month: (month, own_month)}

    def __repr__(self) -> str:
        shown = (f"{each.provider or 'all'} {in_usd(each.day)} today" for each in self.status())
        return f"<Spending {', '.join(shown)}>"


def _estimated(estimate: float | None) -> int | None:
    return None if estimate is None else round(estimate * PICODOLLARS)


def _limit(cap: float) -> Decimal:
    return Decimal(repr(float(cap)))


def _picodollars(usd: Decimal | float) -> int:
    exact = usd if isinstance(usd, Decimal) else _limit(usd)
    return int(EXACT.multiply(exact, Decimal(PICODOLLARS)).to_integral_value())


def _usd(picodollars: int) -> Decimal:
    return EXACT.divide(Decimal(picodollars), Decimal(PICODOLLARS))


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
