"""What calls cost, and how much they may."""

from __future__ import annotations

from tools.mutants.running import Mutant

MUTANTS = (
    Mutant(
        "a cap is looked at and nothing is set aside",
        "spending.py",
        "                account.reserved += amount or 0\n",
        "                pass\n",
    ),
    Mutant(
        "what is set aside stays so for ever",
        "spending.py",
        "account.reserved = max(0, account.reserved - reserved)",
        "pass",
    ),
    Mutant(
        "a cap may be reached only from below",
        "spending.py",
        "if used + estimate > most:",
        "if used + estimate >= most:",
    ),
    Mutant(
        "what is under way does not count",
        "spending.py",
        "used = self.spent(period) + self.reserved",
        "used = self.spent(period)",
    ),
    Mutant(
        "a failed attempt is never charged",
        "spending.py",
        "elif line.fault is None or line.maybe_billed:",
        "elif False:",
    ),
    Mutant(
        "a refused attempt is charged",
        "spending.py",
        "elif line.fault is None or line.maybe_billed:",
        "elif True:",
    ),
    Mutant(
        "a reservation ends as often as it is told to",
        "spending.py",
        "            accounts = self._accounts.pop()\n",
        "            accounts = self._accounts[0]\n",
    ),
    Mutant(
        "only the provider's own cap holds",
        "spending.py",
        "return tuple(account for account in (own, self._all) if account is not None)",
        "return tuple(account for account in (own or self._all,) if account is not None)",
    ),
    Mutant(
        "an unknown price costs nothing",
        "spending.py",
        'refused = self.caps.unknown_prices == "refuse"',
        "refused = False",
    ),
    Mutant(
        "what is free is refused once the money is gone",
        "spending.py",
        "        if not accounts or estimate == 0:\n            return None\n        self._refresh_if_due()",
        "        if not accounts:\n            return None\n        self._refresh_if_due()",
    ),
    Mutant(
        "our own part of the totals counts twice",
        "spending.py",
        "own += max(total, own_of_it) - own_of_it",
        "own += total",
    ),
    Mutant(
        "what was not written yet is not spent",
        "spending.py",
        "own += max(total, own_of_it) - own_of_it",
        "own += total - own_of_it",
    ),
    Mutant(
        "the day begins where the process is",
        "spending.py",
        "number = int(at // _DAY)",
        "number = int((at - 3600) // _DAY)",
    ),
    Mutant("a month never ends", "spending.py", "timedelta(days=32)", "timedelta(days=400)"),
    Mutant(
        "a forked child waits for its parent's attempts",
        "spending.py",
        "            account.reserved = 0  # for",
        "            account.reserved += 0  # for",
    ),
    Mutant(
        "totals are looked up on the call's own way",
        "spending.py",
        "            self._later(self._refresh)\n",
        "            self._refresh()\n",
    ),
    Mutant(
        "a server of the same name shares the account",
        "shared_spending.py",
        "target = reader.target(name, address)",
        "target = reader.target(name)",
    ),
    Mutant(
        "the totals are read before our own part is written",
        "shared_spending.py",
        "            self._store.flush(_PATIENCE)\n",
        "",
    ),
    Mutant(
        "nobody cheaper is asked",
        "ordering.py",
        "return arranged if self._spending is None else _within_caps(arranged, size, self._spending)",
        "return arranged",
    ),
    Mutant(
        "a cheaper model of an alias is not found",
        "ordering.py",
        "        elif affordable:\n            left.append(Candidate(endpoint, affordable))\n        else:",
        "        else:",
    ),
    Mutant(
        "a refusal by a cap is tried until the deadline",
        "attempts.py",
        "    if refused.reason is SkipReason.SPEND_LIMIT:\n        course.rule_out(course.model)\n",
        "",
    ),
    Mutant(
        "what something else refuses stays set aside",
        "attempts.py",
        "            elif set_aside is not None:\n                set_aside.release()\n",
        "",
    ),
    Mutant(
        "an interrupted attempt stays set aside",
        "admission.py",
        "            if self.set_aside is not None:\n                self.set_aside.hold()\n",
        "",
    ),
    Mutant(
        "an empty purse is told as a failure of the providers",
        "failover.py",
        "if overrun is not None and self._only_money_is_short():",
        "if False:",
    ),
    Mutant(
        "an answer of unknown price counts as one that costs nothing",
        "ledger.py",
        "            self.unpriced += 1\n",
        "            pass\n",
    ),
    Mutant(
        "what the provider says does not count",
        "ledger.py",
        "            self.stated = EXACT.add(self.stated, usage.cost_usd)\n",
        "            pass\n",
    ),
    Mutant(
        "prices of one model are billed as the first of them",
        "ledger.py",
        "found = self.tokens.get(id(rates))",
        "found = next(iter(self.tokens.values()), None)",
    ),
    Mutant(
        "what was read from a cache is billed in full",
        "ledger.py",
        "            cached_tokens=self.cached,\n",
        "",
    ),
    Mutant(
        "a duplicate is charged like the answer it was not",
        "ledger.py",
        "rates = self._rates(attempt.provider, attempt.model, attempt.started_at, usage.prompt_tokens)",
        'rates = self._rates("a", attempt.model, attempt.started_at, usage.prompt_tokens)',
    ),
    Mutant(
        "another call's answer stands for it",
        "ledger.py",
        "usage = self._answered.get(call)",
        "usage = next(iter(self._answered.values()), None)",
    ),
    Mutant("calls that never end are kept", "ledger.py", "while len(calls) > _OPEN_CALLS:", "while False:"),
    Mutant("days are kept for ever", "ledger.py", "if each.day > key.day - _KEPT_DAYS}", "}"),
    Mutant("per cent are rounded up", "savings.py", "ROUND_FLOOR))", '"ROUND_CEILING"))'),
    Mutant("a loss is rounded towards nothing", "savings.py", "ROUND_FLOOR))", '"ROUND_DOWN"))'),
    Mutant(
        "tokens of unknown price are compared all the same",
        "savings.py",
        "if price is None or row.unpriced or not row.answers:",
        "if price is None or not row.answers:",
    ),
    Mutant(
        "half a baseline is a baseline",
        "savings.py",
        "known = known and (each.baseline_usd is not None or not each.row.answers)",
        "known = known or each.baseline_usd is not None",
    ),
    Mutant(
        "every vendor's cost is in dollars",
        "providers/openai_answer.py",
        '    if target.vendor != "openrouter":\n        return None\n',
        "",
    ),
    Mutant(
        "a fee is taken for the whole cost",
        "providers/openai_answer.py",
        'if cost is None or usage.get("is_byok") is not True:',
        "if True:",
    ),
    Mutant(
        "tokens that nobody counted cost nothing",
        "models.py",
        "if not usage.total_tokens and (self.rates.input or self.rates.output):",
        "if False:",
    ),
    Mutant(
        "money is as exact as the program wants it",
        "pricing.py",
        "    add, times = EXACT.add, EXACT.multiply\n",
        "    add, times = Decimal.__add__, Decimal.__mul__\n",
    ),
)
"""The mutants of the caps, the ledger, the savings and what a single answer costs."""
