"""When a hedge starts, and what is learnt from it."""

from __future__ import annotations

from tools.mutants.running import Mutant

_HEDGING = (
    Mutant("a budget of nothing allows a few", "hedge.py", "AT_FIRST if config.budget > 0 else 0.0", "AT_FIRST"),
    Mutant(
        "losers are not learnt from",
        "hedge.py",
        "    if after is not None and seconds >= after:",
        "    if after is not None and seconds < 0:",
    ),
    Mutant(
        "fast losers are learnt from",
        "hedge.py",
        "    if after is not None and seconds >= after:",
        "    if after is not None:",
    ),
    Mutant(
        "hedging before enough is known", "hedge.py", "if recent.count < config.minimum_calls:", "if recent.count < 1:"
    ),
    Mutant(
        "enough is one more than said",
        "hedge.py",
        "if recent.count < config.minimum_calls:",
        "if recent.count <= config.minimum_calls:",
    ),
    Mutant("an answer is taken for a loser", "hedge_delay.py", "        if answered:\n", "        if not answered:\n"),
)

_LATENCY = (
    Mutant(
        "the oldest stays in",
        "latency.py",
        "                del self._sorted[bisect_left(self._sorted, oldest)]\n",
        "",
    ),
    Mutant(
        "one rank too high",
        "latency.py",
        "return self._sorted[max(0, rank - 1)]",
        "return self._sorted[min(rank, len(self._sorted) - 1)]",
    ),
    Mutant("NaN is taken in", "latency.py", "        if math.isnan(seconds):\n            return\n", ""),
)

MUTANTS = (*_HEDGING, *_LATENCY)
