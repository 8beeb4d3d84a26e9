"""What is written into the store: outcomes, histograms, rollups, costs, transactions, and what is forgotten."""

from __future__ import annotations

from tools.mutants.running import Mutant

_BATCH = (
    Mutant(
        "a span of counts begins ten seconds late",
        "telemetry/batch.py",
        "key = int(at // _SHORTEST), target\n",
        "key = int(at // _SHORTEST) + 1, target\n",
    ),
    Mutant(
        "an outcome that came earlier is not the first",
        "telemetry/batch.py",
        "        elif at < tally.first:\n            tally.first = at\n",
        "",
    ),
    Mutant(
        "an event from the year 10000 is kept",
        "telemetry/batch.py",
        "(_LATEST if now is None else now + _DAY)",
        "1e99",
    ),
    Mutant(
        "an event that cannot be is not counted",
        "telemetry/batch.py",
        "            self.refused += 1\n",
        "            pass\n",
    ),
    Mutant(
        "a failure that may be billed is no duplicate",
        "telemetry/batch.py",
        "if fault is None or attempt.maybe_billed:",
        "if fault is None:",
    ),
    Mutant(
        "what is unfit for SQLite loses the whole batch",
        "telemetry/batch.py",
        "            if not self._leave_out_unfit():\n                raise\n",
        "            raise\n",
    ),
    Mutant(
        "an unhidden mistake is tried for nothing and hidden",
        "telemetry/batch.py",
        "            if not self._leave_out_unfit():\n                raise\n",
        "            if not self._leave_out_unfit():\n                return\n",
    ),
    Mutant(
        "of two routers with one provider, the second overwrites the first",
        "telemetry/batch.py",
        "spans[place] = span if known is None else known.merged(span)",
        "spans[place] = span",
    ),
    Mutant(
        "of two routers with one provider, only one pays",
        "telemetry/batch.py",
        "costs[key] = row if earlier is None else tuple(map(sum, zip(earlier, row, strict=True)))",
        "costs[key] = row",
    ),
    Mutant(
        "a call that nobody answered has no row",
        "telemetry/batch.py",
        "in self._calls.items():\n",
        "in self._calls.items():\n            if who is None:\n                continue\n",
    ),
)

_ROWS = (
    Mutant(
        "a latency of NaN is kept",
        "telemetry/rows.py",
        "    if not 0.0 <= took <= _LONGEST_MS:",
        "    if took < 0.0 or took > _LONGEST_MS:",
    ),
    Mutant(
        "a key that was typed for a name is written",
        "telemetry/rows.py",
        "return mask(value)[:LONGEST_WORD]",
        "return encodable(value)[:LONGEST_WORD]",
    ),
    Mutant(
        "a key in the reason of an event is written",
        "telemetry/rows.py",
        "    if type(value) is str:\n        return masked(value)\n",
        "",
    ),
    Mutant(
        "half a character loses the row",
        "telemetry/rows.py",
        "    return value if len(value) <= LONGEST_TEXT and value.isascii() else encodable(value[:LONGEST_TEXT])",
        "    return value[:LONGEST_TEXT]",
    ),
    Mutant(
        "minus three tokens are kept",
        "telemetry/rows.py",
        "if not 0 <= (prompt | cached | written | completion | reasoning) < _MOST_TOKENS:",
        "if not (prompt | cached | written | completion | reasoning) < _MOST_TOKENS:",
    ),
)

_STATEMENTS = (
    Mutant(
        "the latest outcome of a span is taken for its first",
        "telemetry/statements.py",
        "first = min(first, excluded.first)",
        "first = max(first, excluded.first)",
    ),
    Mutant(
        "a breaker's change that was seen already counts twice",
        "telemetry/statements.py",
        '    "WHERE excluded.seen_at >= seen_at"\n',
        "",
    ),
    Mutant(
        "every look at a breaker is a change",
        "telemetry/statements.py",
        "changed_at = CASE WHEN state = excluded.state THEN changed_at ELSE excluded.changed_at END",
        "changed_at = excluded.changed_at",
    ),
    Mutant(
        "a pause that is announced again begins anew",
        "telemetry/statements.py",
        "WHERE {_OPEN} AND state <> ?",
        "WHERE {_OPEN} AND ? <> ''",
    ),
    Mutant(
        "a network that two programs miss is gone twice",
        "telemetry/statements.py",
        'f"WHERE NOT EXISTS (SELECT 1 FROM watch WHERE {_OPEN})"',
        'f"WHERE 1 OR NOT EXISTS (SELECT 1 FROM watch WHERE {_OPEN})"',
    ),
)

_FIGURES = (
    Mutant(
        "an unblamed timeout speaks for the provider",
        "telemetry/outcomes.py",
        "Fault.TIMEOUT: None",
        "Fault.TIMEOUT: Outcome.OTHER",
    ),
    Mutant(
        "a rejected key is the provider's failure",
        "telemetry/outcomes.py",
        "Fault.AUTH: Outcome.EXCUSED",
        "Fault.AUTH: Outcome.FAILED",
    ),
    Mutant(
        "buckets are too wide for 5 %",
        "telemetry/histogram.py",
        "GROWTH = 1.1\n",
        "GROWTH = 1.12\n",
    ),
    Mutant(
        "a quantile is one rank too low",
        "telemetry/histogram.py",
        "math.ceil(q * total - 1e-9)",
        "int(q * total)",
    ),
    Mutant(
        "what rounding adds is a rank",
        "telemetry/histogram.py",
        "math.ceil(q * total - 1e-9)",
        "math.ceil(q * total)",
    ),
    Mutant(
        "half a histogram is one",
        "telemetry/histogram.py",
        "    if len(distances) != len(counts) or 0 in counts or 0 in distances[1:] or sum(distances) > LAST:",
        "    if len(distances) != len(counts) or 0 in counts or 0 in distances[1:]:",
    ),
    Mutant(
        "a number that was cut off is one",
        "telemetry/varints.py",
        'return b"" if shift else numbers',
        "return numbers",
    ),
    Mutant(
        "a number may have any length",
        "telemetry/varints.py",
        '            if shift > MOST.bit_length():\n                return b""\n',
        "",
    ),
    Mutant(
        "tokens of the cache are paid twice",
        "telemetry/costs.py",
        "plain = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens",
        "plain = usage.prompt_tokens",
    ),
    Mutant(
        "tokens that nobody has counted cost nothing",
        "telemetry/costs.py",
        " or not usage.total_tokens:",
        ":",
    ),
    Mutant(
        "rates are taken for others that lie where they lay",
        "telemetry/costs.py",
        "entry = self._rates[id(rates)] = rates, _whole(rates)",
        "entry = rates, _whole(rates)\n        self._rates[id(rates)] = None, entry[1]",
    ),
    Mutant(
        "a price finer than a picodollar is cut before it is multiplied",
        "telemetry/costs.py",
        "    if any(rate != int(rate) for rate in exact):\n        return None\n",
        "",
    ),
    Mutant(
        "an answer of unknown price is free",
        "telemetry/costs.py",
        "            self.unpriced += 1\n",
        "            pass\n",
    ),
    Mutant(
        "targets are as configured first",
        "telemetry/numbering.py",
        "        if row[1:] != limits:\n            execute(_CHANGE_TARGET, (*limits, number))\n",
        "",
    ),
    Mutant(
        "the breaker of a model is a provider of its own",
        "telemetry/records.py",
        "            if shorter in self._configured:",
        "            if False:",
    ),
    Mutant(
        "made-up names are remembered for ever",
        "telemetry/records.py",
        "if len(self._known) > len(self._configured) + _REMEMBERED:",
        "if False:",
    ),
)

_RETENTION = (
    Mutant(
        "attempts are kept as long as history",
        "telemetry/retention.py",
        "attempts, history = now - config.keep_attempts, now - config.keep_history",
        "attempts, history = now - config.keep_history, now - config.keep_history",
    ),
    Mutant(
        "ten-second counts outlive history",
        "telemetry/retention.py",
        '("rollup_10", max(history, now - _KEEP_10))',
        '("rollup_10", now - _KEEP_10)',
    ),
    Mutant(
        "the newest attempts make room",
        "telemetry/retention.py",
        "begins = {",
        "begins = {} and {",
    ),
    Mutant(
        "free pages count as used, so that a full file is emptied",
        "telemetry/retention.py",
        "return (pages - free) * size > config.max_bytes - room",
        "return pages * size > config.max_bytes - room",
    ),
    Mutant(
        "a file gives back one page at a time",
        "telemetry/retention.py",
        'connection.executescript(f"PRAGMA',
        'connection.execute(f"PRAGMA',
    ),
    Mutant(
        "a pause ends while whoever keeps it lives",
        "telemetry/retention.py",
        '"AND p.ended_at IS NULL AND p.seen_at >= ?)"',
        '"AND p.ended_at IS NULL AND p.seen_at >= 2 * ?)"',
    ),
    Mutant(
        "a pause lasts longer than the program that kept it",
        "telemetry/retention.py",
        "        _close_watches(connection, now)\n",
        "",
    ),
    Mutant(
        "breakers outlive their program",
        "telemetry/retention.py",
        "WHERE ended_at IS NOT NULL OR seen_at < ?)",
        "WHERE seen_at < ? - 1e9)",
    ),
    Mutant(
        "one step forgets all that is old",
        "telemetry/retention.py",
        "        if left <= 0:\n            return True\n",
        "        if left <= -1e9:\n            return True\n",
    ),
)

MUTANTS = (*_BATCH, *_ROWS, *_STATEMENTS, *_FIGURES, *_RETENTION)
