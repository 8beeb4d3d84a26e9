"""What is read out of the store: how providers were, and what happened."""

from __future__ import annotations

from tools.mutants.running import Mutant

_UPTIME = (
    Mutant(
        "an observation holds for ever",
        "telemetry/uptime.py",
        "self._state, self._until = state, at + self._rule.hold",
        'self._state, self._until = state, float("inf")',
    ),
    Mutant(
        "a single failure is a downtime",
        "telemetry/uptime.py",
        "if self._streak < self._rule.confirm:",
        "if self._streak < 1:",
    ),
    Mutant(
        "a downtime begins when it is confirmed",
        "telemetry/uptime.py",
        "            self._add(began, min(ended, seen.at), DOWN)\n",
        "            self._add(began, min(ended, seen.at), UP)\n",
    ),
    Mutant(
        "what is excused ends a row of failures",
        "telemetry/uptime.py",
        "        self._until = min(self._until, at)\n",
        "        self._until = min(self._until, at)\n        self._streak = 0\n",
    ),
    Mutant(
        "what is told twice counts twice",
        "telemetry/uptime.py",
        "sorted(set(observations), key=",
        "sorted(observations, key=",
    ),
    Mutant(
        "late results change what is settled",
        "telemetry/uptime.py",
        "if self._horizon <= seen.at < horizon:",
        "if seen.at < horizon:",
    ),
    Mutant(
        "what is in doubt is settled",
        "telemetry/uptime.py",
        "self._give(min(horizon, self._doubts[0][0]) if self._doubts else horizon)",
        "self._give(horizon)",
    ),
    Mutant(
        "a percentage is rounded to the nearest",
        "telemetry/uptime.py",
        "return 10_000 * good // (good + bad) / 100",
        "return round(100 * good / (good + bad), 2)",
    ),
    Mutant(
        "pauses stay in the reckoning",
        "telemetry/uptime.py",
        "counted = length - seconds[PAUSED] - seconds[MAINTENANCE]",
        "counted = length",
    ),
    Mutant(
        "degraded time is none of either",
        "telemetry/uptime.py",
        "percentage(seconds[UP] + seconds[DEGRADED], seconds[DOWN])",
        "percentage(seconds[UP], seconds[DOWN])",
    ),
    Mutant(
        "what is observed in a pause counts",
        "telemetry/uptime.py",
        "if any(span.began <= seen.at < span.ended for span in times)",
        "if False",
    ),
    Mutant(
        "two downtimes with an answer between are one",
        "telemetry/uptime.py",
        "        elif span.state is not UNKNOWN:\n            goes_on = False\n",
        "",
    ),
)

_SETTLING = (
    Mutant(
        "each step writes a row of its own",
        "telemetry/settling.py",
        "AND state = :state AND ended = :began ",
        "AND state = :state AND ended = :began + 1 ",
    ),
    Mutant("the last minute is settled at once", "telemetry/settling.py", "LATE = 60.0", "LATE = 0.0"),
    Mutant(
        "several settle at once",
        "telemetry/settling.py",
        'if not leases.acquire(connection, "settle", process, _LEASE, now):',
        'if leases.acquire(connection, "settle", process, _LEASE, now) is None:',
    ),
    Mutant(
        "a refusal is no sign of life",
        "telemetry/settling.py",
        "    if answered or other:\n",
        "    if answered:\n",
    ),
    Mutant(
        "a clock that was ahead is believed",
        "telemetry/settling.py",
        "    if horizon > now:\n",
        "    if horizon < 0:\n",
    ),
    Mutant(
        "what does not fit into one transaction is left out",
        "telemetry/settling.py",
        "    if more:\n        goal = float(rows[-1][0])\n",
        "    if more:\n",
    ),
    Mutant(
        "pauses are unknown to whoever settles",
        "telemetry/settling.py",
        "uptime.excused(seen, watch_for(watch, target))",
        "seen",
    ),
)

_READING = (
    Mutant(
        "a window takes what began before it",
        "telemetry/coverage.py",
        "first, last = _upwards(began, width),",
        "first, last = began // width * width,",
    ),
    Mutant(
        "where something was forgotten there was nothing",
        "telemetry/coverage.py",
        "    if finer_from > began:",
        "    if finer_from == -1:",
    ),
    Mutant(
        "a page begins with the last row of the one before",
        "telemetry/feed.py",
        "(at = :at AND id > :id)",
        "(at = :at AND id >= :id)",
    ),
    Mutant(
        "numbers that begin anew are waited for",
        "telemetry/feed.py",
        "return number if number <= _last(connection, table) else 0",
        "return number",
    ),
    Mutant(
        "a file that was replaced is read on",
        "telemetry/snapshots.py",
        "        if self._connection is not None and database.identity(self.path) != self._identity:\n"
        "            self._forget_locked()\n",
        "",
    ),
    Mutant(
        "a look sees several moments",
        "telemetry/snapshots.py",
        '    connection.execute("BEGIN")\n',
        "",
    ),
    Mutant(
        "a forked child reads over its parent's connection",
        "telemetry/snapshots.py",
        "            _left_to_parent.append(self._connection)\n            self._connection = None\n",
        "            _left_to_parent.append(self._connection)\n",
    ),
    Mutant(
        "what was spent today is remembered for a minute",
        "telemetry/bookkeeping.py",
        "return today, others + (today if day.startswith",
        "return today, others + (others if day.startswith",
    ),
    Mutant(
        "an incident is over while it lasts",
        "telemetry/breakdowns.py",
        "    still = down.ended >= now\n",
        "    still = down.ended > now\n",
    ),
    Mutant(
        "what is happening now does not belong to a window that ends now",
        "telemetry/reader.py",
        "return inf if ended >= self._clock.time() else ended",
        "return ended",
    ),
)

MUTANTS = (*_UPTIME, *_SETTLING, *_READING)
