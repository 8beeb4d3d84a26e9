"""What is wrong with the store, and what running programs say in it. Pure functions: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from failsafe.diagnosis.finding import Finding, error, good, note, warning
from failsafe.durations import in_words
from failsafe.telemetry.views import BreakerRow, EventRow, ProcessRow

_NEAR_CAP = 0.9
_LITTLE_SPACE = 100 * 1024 * 1024
_MIB = 1024 * 1024
_SHOWN = 3


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where the store is, and what it holds.

    Attributes:
        path: The file; "" if nothing is recorded.
        origin: What says so: ``setting``, ``FAILSAFE_STORE`` or ``default``.
        problem: Why it cannot be located or read, in words.
        exists: Whether it has been made.
        unwritable: The file or folder that cannot be written, or "".
        network: The kind of network file system it lies on, or "".
        bytes: How large it is, with what stands beside it.
        max_bytes: How large it may become.
        free: Bytes left on its disk; None: not known.
        readable_by_others: Whether other users can read it.
        damaged: Damaged files that were set aside.
        processes: The programs that record, or have recorded.
        breakers: The breakers of the programs that run.
        put_off: What was put off lately: events of the kind ``PutOff``.
    """

    path: str = ""
    origin: str = "default"
    problem: str = ""
    exists: bool = False
    unwritable: str = ""
    network: str = ""
    bytes: int = 0
    max_bytes: int = 0
    free: int | None = None
    readable_by_others: bool = False
    damaged: tuple[str, ...] = ()
    processes: tuple[ProcessRow, ...] = ()
    breakers: tuple[BreakerRow, ...] = ()
    put_off: tuple[EventRow, ...] = ()


def judge(facts: StoreFacts) -> Iterator[Finding]:
    """What is wrong with the store itself."""
    if not facts.path:
        yield _off(facts)
        return
    if facts.network:
        yield error(
            "store-network", "store", f"{facts.path} lies on a network file system ({facts.network})",
            "SQLite's WAL does not work there, so nothing is recorded; calls are not affected",
            "$ export FAILSAFE_STORE=/path/on/a/local/disk/store.db", "or: $ export FAILSAFE_STORE=off",
        )  # fmt: skip
    elif facts.problem:
        yield error("store-unreadable", "store", facts.problem, "nothing is recorded; calls are not affected")
    elif facts.unwritable:
        yield error(
            "store-unwritable", "store", f"{facts.unwritable} cannot be written",
            "nothing is recorded; calls are not affected",
            f"$ chmod u+w {facts.unwritable}", "or: $ export FAILSAFE_STORE=/another/store.db",
        )  # fmt: skip
    yield from _room(facts)
    yield from _losses(facts)
    if facts.readable_by_others:
        yield warning(
            "store-readable", "store", f"{facts.path} can be read by other users of this machine",
            "it tells which models were asked when, by whom and at what cost", f"$ chmod 600 {facts.path}",
        )  # fmt: skip


def _off(facts: StoreFacts) -> Finding:
    if facts.problem:
        return error("store-unreadable", "store", facts.problem, "nothing is recorded; calls are not affected")
    by = {"setting": "store.enabled in the settings", "FAILSAFE_STORE": "FAILSAFE_STORE=off"}.get(facts.origin, "")
    return good("store-off", "store", f"nothing is recorded ({by or 'no usual place'})")


def _room(facts: StoreFacts) -> Iterator[Finding]:
    if facts.free is not None and facts.free < _LITTLE_SPACE:
        full = facts.free < _MIB
        level = error if full else warning
        yield level(
            "store-disk", "store", f"the disk of {facts.path} has {facts.free // _MIB} MiB left",
            "what cannot be written is dropped and counted; calls are not affected",
            "make room, or name another place: $ export FAILSAFE_STORE=/another/store.db",
        )  # fmt: skip
    if facts.max_bytes and facts.bytes >= _NEAR_CAP * facts.max_bytes:
        yield note(
            "store-large", "store", f"{facts.path} has {facts.bytes // _MIB} of at most {facts.max_bytes // _MIB} MiB",
            "the oldest single attempts are deleted to keep within it; counts and uptimes stay",
            "keep more: store.max_bytes in the settings",
        )  # fmt: skip


def _losses(facts: StoreFacts) -> Iterator[Finding]:
    losing = [process for process in facts.processes if process.dropped and process.alive]
    if losing:
        lost = sum(process.dropped for process in losing)
        yield warning(
            "store-dropped", "store", f"{_programs(losing)} could not record {lost:,} events",
            "the disk was too slow or full, or another program held the store; the counts of that time are too low",
            "see the disk, or let more wait: store.queue_size in the settings",
        )  # fmt: skip
    if facts.damaged:
        yield note(
            "store-damaged", "store", f"a damaged store was set aside: {facts.damaged[-1]}",
            "a disk error or a hard power cut; a new one was begun", f"if nobody needs it: $ rm {facts.damaged[-1]}",
        )  # fmt: skip


def _programs(processes: Sequence[ProcessRow]) -> str:
    named = [f"{each.program} (process {each.pid})" for each in processes[:_SHOWN]]
    more = len(processes) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def of_provider(facts: StoreFacts, name: str, base_url: str, now: float) -> Iterator[Finding]:
    """
    What running programs say of one provider.

    Args:
        facts: What the store holds.
        name: The provider's name.
        base_url: Its address: another one of that name is another provider.
        now: Seconds since 1970-01-01 UTC.
    """
    shut = [
        each
        for each in facts.breakers
        if each.provider == name and each.base_url == base_url and each.state in ("open", "forced_open", "half_open")
    ]
    if shut:
        yield _open_breakers(shut, name, now)
    seen = set()
    for event in reversed(facts.put_off):
        left = event.at + float(event.data.get("seconds", 0.0)) - now
        what = (event.data.get("key"), event.data.get("model"), event.data.get("fault"))
        if event.provider == name and left > 0 and what not in seen:
            seen.add(what)
            yield _put_off(event, name, left, now)


def _open_breakers(shut: Sequence[BreakerRow], name: str, now: float) -> Finding:
    processes = len({each.process for each in shut})
    who = "one running program has" if processes == 1 else f"{processes} running programs have"
    first = min(shut, key=lambda each: each.changed_at)
    programs = ", ".join(dict.fromkeys(f"{each.program} ({each.pid})" for each in shut[:_SHOWN]))
    forced = any(each.state == "forced_open" for each in shut)
    due = min((each.retry_at for each in shut if each.retry_at is not None), default=None)
    when = f"; the next try is due in {in_words(due - now)}" if due is not None and due > now else ""
    step = "they let a trial call through by themselves when it is time"
    if forced:
        step = "somebody has opened it by hand; it stays so until it is reset"
    return warning(
        "breaker-open", name, f"{who} its circuit breaker {'probing' if first.state == 'half_open' else 'open'} since "
        f"{_clock_time(first.changed_at, now)}: {first.reason}{when}",
        f"{programs}: no call goes there meanwhile", step, f"$ failsafe breakers reset {name}",
    )  # fmt: skip


def _put_off(event: EventRow, name: str, left: float, now: float) -> Finding:
    key, model = event.data.get("key"), event.data.get("model")
    what = " and ".join(
        part for part in (f"the key {key}" if key else "", f"the model {model}" if model else "") if part
    )
    return note(
        "put-off", name, f"a program leaves {what or 'it'} alone for another {in_words(left)}, since "
        f"{_clock_time(event.at, now)}: {event.data.get('message', '')}",
        "", str(event.data.get("advice", "")),
    )  # fmt: skip


def _clock_time(at: float, now: float) -> str:
    """A time of the local day, with the day where that is another one."""
    then, today = (datetime.fromtimestamp(each, UTC).astimezone() for each in (at, now))
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M}"
