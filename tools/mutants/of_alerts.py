"""Who is told what, and when."""

from __future__ import annotations

from tools.mutants.running import Mutant

_GROUPING = (
    Mutant(
        "what still holds is told each time it is found",
        "alerts/grouping.py",
        "        if subject.holds:\n            return self._consider_again(subject, alert, now)\n",
        "",
    ),
    Mutant(
        "what gets worse waits for the next reminder",
        "alerts/grouping.py",
        "worse = rank(alert.severity) > rank(subject.alarm.severity)",
        "worse = False",
    ),
    Mutant(
        "an end is told of what nobody heard of",
        "alerts/grouping.py",
        "        if subject is None or not subject.holds:\n            return False\n        subject.holds, subject",
        "        if subject is None:\n            return False\n        subject.holds, subject",
    ),
    Mutant(
        "gathering begins anew with each alert",
        "alerts/grouping.py",
        "        if subject.waiting is None:\n            subject.waiting = now.steady",
        "        for each in self._subjects.values():\n            each.waiting = now.steady",
    ),
    Mutant(
        "what flaps is told each time",
        "alerts/grouping.py",
        "subject.held_until = now.steady + FLAPPING_WINDOW",
        "subject.held_until = now.steady",
    ),
    Mutant(
        "a reminder is due for ever once it was",
        "alerts/grouping.py",
        "subject.told, subject.told_at, subject.told_severity = subject.holds, now.steady,",
        "subject.told, subject.told_at, subject.told_severity = subject.holds, subject.told_at,",
    ),
    Mutant(
        "the hour's limit counts what was sent in all time",
        "alerts/grouping.py",
        "        return self._sent[0] + _HOUR if full else now.steady",
        "        return math.inf if full else now.steady",
    ),
    Mutant(
        "what is muted is told when others are",
        "alerts/grouping.py",
        "self._offline_until, self._muted_until(subject.provider, now))",
        "self._offline_until)",
    ),
    Mutant(
        "what came and went while it was muted is told after all",
        "alerts/grouping.py",
        "            if subject.told or muted:  # nothing is left to tell\n",
        "            if subject.told:  # nothing is left to tell\n",
    ),
    Mutant(
        "at night nobody hears that it is over",
        "alerts/grouping.py",
        "        return self.told and self.told_severity == CRITICAL",
        "        return False",
    ),
    Mutant(
        "what is critical waits for the morning",
        "alerts/grouping.py",
        "        if self._quiet is not None and not subject.urgent:",
        "        if self._quiet is not None:",
    ),
    Mutant(
        "subjects pile up",
        "alerts/grouping.py",
        "        self._subjects = {about: each for about, each in self._subjects.items() if not each.settled(now)}",
        "        pass",
    ),
    Mutant(
        "a flood is kept",
        "alerts/grouping.py",
        "if len(self._subjects) >= MOST_SUBJECTS and not self._make_room(now):",
        "if len(self._subjects) < 0:",
    ),
    Mutant(
        "two keys of a provider are one",
        "alerts/grouping.py",
        '_ABOUT = ("key", "model", "breaker", "period")',
        '_ABOUT = ("model", "breaker", "period")',
    ),
    Mutant(
        "the wall's clock says when to remind",
        "alerts/grouping.py",
        "if self._reminds(each) and each.told_at + self._config.repeat <= now.steady:",
        "if self._reminds(each) and each.since + self._config.repeat <= now.wall:",
    ),
    Mutant(
        "an end that comes twice ends once",
        "alerts/quiet.py",
        "ends = (end.timestamp(), end.replace(fold=1).timestamp())",
        "ends = (end.timestamp(),)",
    ),
    Mutant(
        "a night ends in the evening",
        "alerts/quiet.py",
        "timedelta(days=local.time() >= self._end)",
        "timedelta(days=0)",
    ),
)

_RULES = (
    Mutant(
        "any answer frees any key",
        "alerts/rules.py",
        "if each.key in (None, key) and each.model in (None, model)]",
        "if each.model in (None, model)]",
    ),
    Mutant(
        "a cap that is nearly reached is reached",
        "alerts/rules.py",
        "{int(share * 100)} % of the cap",
        "{share:.0%} of the cap",
    ),
    Mutant(
        "a probe repeats what a call has told",
        "alerts/rules.py",
        "or any(each.rule == _RULE_OF[event.fault] for each in blocked or ()):",
        "or False:",
    ),
    Mutant(
        "half a key is shown where a text is cut",
        "alerts/wording.py",
        'text = text[:_READ_AT_MOST].rpartition(" ")[0] + " …"',
        'text = text[:_READ_AT_MOST] + " …"',
    ),
    Mutant(
        "keys of the settings are not masked",
        "alerts/rules.py",
        "        self._secrets = tuple(secrets)",
        "        self._secrets: tuple[Secret, ...] = ()",
    ),
    Mutant(
        "what happened pushes out what to do",
        "alerts/rules.py",
        "parts = [safe(part, LONGEST_PART, self._secrets) for part in message]",
        "parts = list(message)",
    ),
)

_SINKS = (
    Mutant(
        "a mention is rung",
        "alerts/formats.py",
        '.replace("<", "&lt;")',
        "",
    ),
    Mutant(
        "a body grows without limit",
        "alerts/formats.py",
        "        if room < 0:\n            break\n",
        "",
    ),
    Mutant(
        "what is refused for good is tried again",
        "alerts/webhook.py",
        "    passing = status >= 500 or status in _TRY_AGAIN",
        "    passing = True",
    ),
    Mutant(
        "a webhook waits as long as it is told to",
        "alerts/webhook.py",
        "return min(float(retry_after), _LONGEST_PAUSE) if",
        "return float(retry_after) if",
    ),
    Mutant(
        "a foreign library logs the address",
        "alerts/webhook.py",
        "    return not _posting.get()",
        "    return True",
    ),
    Mutant(
        "each failure is logged",
        "alerts/sinks.py",
        "        if not self._said:\n",
        "        if True:\n",
    ),
    Mutant(
        "a program that hangs is waited for",
        "alerts/command.py",
        "process.communicate(body, timeout=self._timeout)",
        "process.communicate(body, timeout=45)",
    ),
    Mutant(
        "what a program has started outlives it",
        "alerts/command.py",
        "                start_new_session=True,  # so that all it starts can be ended with it\n",
        "",
    ),
    Mutant(
        "two programs run at once",
        "alerts/command.py",
        "if self._stopped or (self._running is not None and self._running.poll() is None):",
        "if self._stopped:",
    ),
    Mutant(
        "a program is given the keys",
        "alerts/command.py",
        "if not (name in known or _KEY_NAMES.fullmatch(name) or any(secret in value for secret in hidden))",
        "if not (name in known or any(secret in value for secret in hidden))",
    ),
)

_FACADE = (
    Mutant(
        "a sink that fails ends the others",
        "alerts/facade.py",
        '                except Exception:\n                    _logger.exception("alerts could not be delivered")\n',
        "                except ZeroDivisionError:\n                    pass\n",
    ),
    Mutant(
        "what is gathered is lost at the end",
        "alerts/facade.py",
        "            if sent is not None:\n                self._deliver(sent, self._sinks)\n",
        "",
    ),
    Mutant(
        "the night is disturbed at the end",
        "alerts/facade.py",
        "self._deliver(held, [sink for sink in self._sinks if isinstance(sink, Log)])",
        "self._deliver(held, self._sinks)",
    ),
    Mutant(
        "a child tells what its parent knows",
        "alerts/facade.py",
        "    _after_fork = _start_afresh\n",
        "    def _after_fork(self) -> None:\n        self._lock = threading.RLock()\n",
    ),
    Mutant(
        "what is forgotten stays as long as it waits",
        "alerts/facade.py",
        "self._workers.later(due - now.steady, partial(_look, weakref.ref(self)))",
        "self._workers.later(due - now.steady, self.look)",
    ),
    Mutant(
        "nobody looks by himself",
        "alerts/facade.py",
        "        self._plan(after=self.config.group)\n",
        "",
    ),
)

MUTANTS = (*_GROUPING, *_RULES, *_SINKS, *_FACADE)
