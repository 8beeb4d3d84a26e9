"""Retries: how often, how long, at whose cost, after what."""

from __future__ import annotations

from tools.mutants.running import Mutant

_BUDGET = (
    Mutant(
        "an extra try costs nothing",
        "budget.py",
        "            self._units -= _UNITS\n            return True\n",
        "            return True\n",
    ),
    Mutant("the last token cannot be spent", "budget.py", "if self._units < _UNITS:", "if self._units <= _UNITS:"),
    Mutant("a part of a token is enough", "budget.py", "if self._units < _UNITS:", "if self._units <= 0:"),
    Mutant(
        "credit beyond the capacity",
        "budget.py",
        "self._units = min(self._capacity, self._units + self._per_success)",
        "self._units = self._units + self._per_success",
    ),
    Mutant(
        "giving back beyond the capacity",
        "budget.py",
        "self._units = min(self._capacity, self._units + _UNITS)",
        "self._units = self._units + _UNITS",
    ),
    Mutant(
        "giving back gives nothing back",
        "budget.py",
        "self._units = min(self._capacity, self._units + _UNITS)",
        "self._units = min(self._capacity, self._units)",
    ),
    Mutant("empty at the start", "budget.py", "self._units = self._capacity  #", "self._units = 0  #"),
    Mutant(
        "a forked child keeps a lock that may be held",
        "budget.py",
        "    def _after_fork(self) -> None:\n        self._lock = threading.Lock()",
        "    def _after_fork(self) -> None:\n        pass",
    ),
)

_BACKOFF = (
    Mutant(
        "jitter before the cap",
        "backoff.py",
        "    longest = ceiling(config.base_delay, config.exponential_base, attempt, config.max_delay)\n"
        "    return longest * random.random() if config.jitter else longest",
        "    longest = ceiling(config.base_delay, config.exponential_base, attempt, 1e300)\n"
        "    return min(config.max_delay, longest * random.random() if config.jitter else longest)",
    ),
    Mutant(
        "no cap",
        "backoff.py",
        "return min(float(cap), base * float(factor) ** repeats)",
        "return base * float(factor) ** repeats",
    ),
    Mutant(
        "an overflow is no wait",
        "backoff.py",
        "    except OverflowError:\n        return float(cap)",
        "    except OverflowError:\n        return 0.0",
    ),
    Mutant(
        "an overflow is raised",
        "backoff.py",
        "    except OverflowError:\n        return float(cap)",
        "    except ZeroDivisionError:\n        return float(cap)",
    ),
    Mutant(
        "jitter where none was asked for",
        "backoff.py",
        "random.random() if config.jitter else longest",
        "random.random() if not config.jitter else longest",
    ),
    Mutant(
        "earlier than the provider asked",
        "backoff.py",
        "return seconds * (1.0 + LATER_AT_MOST",
        "return seconds * (1.0 - LATER_AT_MOST",
    ),
    Mutant(
        "the growth is one step late",
        "backoff.py",
        "attempt, config.max_delay)",
        "max(0, attempt - 1), config.max_delay)",
    ),
    Mutant("a negative retry_after counts", "backoff.py", "return seconds if seconds >= 0 else None", "return seconds"),
    Mutant("True is a second", "backoff.py", "isinstance(retry_after, bool) or not", "not"),
)

_RETRY = (
    Mutant("one try too many", "retrying.py", "if tries > config.max_retries:", "if tries > config.max_retries + 1:"),
    Mutant("one try too few", "retrying.py", "if tries > config.max_retries:", "if tries >= config.max_retries:"),
    Mutant(
        "retry_after ignored",
        "retrying.py",
        "        if named is not None:\n",
        "        if named is not None and named > config.retry_after_cap:\n",
    ),
    Mutant(
        "retry_after not capped",
        "retrying.py",
        "if named > config.retry_after_cap:",
        "if named > 1e300:",
    ),
    Mutant(
        "a retry_after at the cap is refused",
        "retrying.py",
        "if named > config.retry_after_cap:",
        "if named >= config.retry_after_cap:",
    ),
    Mutant(
        "retry_after shortens the backoff",
        "retrying.py",
        "wait = max(wait, a_little_later(named, self._random) if config.jitter else named)",
        "wait = a_little_later(named, self._random) if config.jitter else named",
    ),
    Mutant(
        "the last sleep passes the deadline",
        "retrying.py",
        "if deadline is not None and wait >= deadline.left:",
        "if deadline is not None and deadline.expired:",
    ),
    Mutant("a sleep up to the very deadline", "retrying.py", "wait >= deadline.left:", "wait > deadline.left:"),
    Mutant(
        "errors that nobody asked for are repeated",
        "retrying.py",
        "        if not isinstance(error, self.config.retry_on):\n            return None\n",
        "",
    ),
    Mutant(
        "a refusal of the breaker is repeated",
        "retrying.py",
        "        if not may_retry(error, config.retry_on):\n",
        "        if not was_refused(error) and not may_retry(error, config.retry_on):\n",
    ),
    Mutant(
        "a try that was refused stays paid for",
        "retrying.py",
        "        if tries > 1 and was_refused(error):\n",
        "        if False and was_refused(error):\n",
    ),
    Mutant(
        "the very first try is given back, too",
        "retrying.py",
        "        if tries > 1 and was_refused(error):\n",
        "        if was_refused(error):\n",
    ),
    Mutant(
        "a success earns nothing",
        "retrying.py",
        "                    self._budget.credit()\n",
        "                    pass\n",
    ),
    Mutant(
        "the budget is not asked", "retrying.py", "if self._budget is None or self._budget.try_spend():", "if True:"
    ),
    Mutant(
        "a cancelled wait stays paid for",
        "retrying.py",
        "        except BaseException:\n            self._give_back()\n            raise\n\n    def _give_back",
        "        except BaseException:\n            raise\n\n    def _give_back",
    ),
    Mutant(
        "a cancelled wait goes on to the next try",
        "retrying.py",
        "            self._check_cancelled(tries)\n        except",
        "        except",
    ),
)

_OUTCOME = (
    Mutant(
        "what ends a program is a failure of the service",
        "outcome.py",
        "if not isinstance(error, Exception) or _says_nothing(error) or",
        "if _says_nothing(error) or",
    ),
    Mutant(
        "a cancelled future is a failure",
        "outcome.py",
        "return isinstance(error, _NOT_THE_SERVICE) or _is_cancellation(error)",
        "return isinstance(error, _NOT_THE_SERVICE)",
    ),
    Mutant("another breaker's refusal is a failure", "outcome.py", "    errors.CircuitOpenError,\n", ""),
    Mutant("a full bulkhead is a failure of the service", "outcome.py", "    errors.BulkheadFull,\n", ""),
    Mutant("a rate limit of one's own is a failure of the service", "outcome.py", "    errors.RateLimitReached,\n", ""),
    Mutant(
        "a generator may be wrapped",
        "outcome.py",
        "    elif inspect.isgeneratorfunction(fn):",
        "    elif inspect.isgenerator(fn):",
    ),
    Mutant(
        "the caller's hurry is a failure",
        "outcome.py",
        "return deadline is not None and deadline.expired",
        "return False",
    ),
)

_COOLDOWN = (
    Mutant(
        "the provider's own time is ignored",
        "cooldown.py",
        "    named = named_wait(retry_after)\n    if named:",
        "    named = None\n    if named:",
    ),
    Mutant(
        "the provider's own time is not capped",
        "cooldown.py",
        "return min(reaction.off_at_most, named * later)",
        "return named * later",
    ),
    Mutant(
        "earlier than asked",
        "cooldown.py",
        "later = 1.0 + LATER_AT_MOST * chance",
        "later = 1.0 - LATER_AT_MOST * chance",
    ),
    Mutant(
        "a longer time off is shortened", "cooldown.py", "        if until > time_off.until:\n", "        if True:\n"
    ),
    Mutant(
        "calls under way count as repetitions", "cooldown.py", "old.repeats + (now >= old.until)", "old.repeats + 1"
    ),
    Mutant(
        "a trial is not exclusive",
        "cooldown.py",
        "                        time_off.trial_until = now + TRIAL_LEASE\n",
        "                        time_off.trial_until = 0.0\n",
    ),
    Mutant("a success does not forget the repetitions", "cooldown.py", "                time_off.repeats = 0\n", ""),
    Mutant("the shortest time off counts", "cooldown.py", "= max(running, key", "= min(running, key"),
)

MUTANTS = (*_BUDGET, *_BACKOFF, *_RETRY, *_OUTCOME, *_COOLDOWN)
