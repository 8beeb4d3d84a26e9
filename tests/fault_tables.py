"""The fault tables as ``docs/faults.md`` shows them, written from the code."""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.faults import REACTIONS, Fault, Reaction
from failsafe.providers.fault_rules import RULES, STATUSES, Rule


def reactions() -> str:
    """One row a fault: what it means and what is done."""
    head = ("fault", "error", "breaker", "the call", "put off", "for", "alert", "what to do")
    return _table(head, (_reaction(fault, REACTIONS[fault]) for fault in Fault))


def rules() -> str:
    """One row a rule, in the order in which they are tried."""
    head = ("fault", "case", "who", "status", "code, type or reason", "and")
    return _table(head, map(_rule, RULES))


def statuses() -> str:
    """One row a fault: the statuses that mean it by themselves."""
    by_fault = {fault: [status for status, meant in STATUSES.items() if meant is fault] for fault in Fault}
    return _table(
        ("fault", "status"),
        ((f"`{fault}`", ", ".join(map(str, found))) for fault, found in by_fault.items() if found),
    )


def _reaction(fault: Fault, reaction: Reaction) -> tuple[str, ...]:
    return (
        f"`{fault}`",
        f"`{reaction.error.__name__}`",
        str(reaction.breaker),
        str(reaction.step),
        str(reaction.scope),
        _time_off(reaction),
        "yes" if reaction.alert else "",
        reaction.advice,
    )


def _time_off(reaction: Reaction) -> str:
    if reaction.scope == "none":
        return ""
    if not reaction.off_for:
        return "as stated"
    growing = f", x{reaction.growth:g} up to {reaction.off_at_most:g} s" if reaction.growth > 1 else ""
    return f"{reaction.off_for:g} s{growing}"


def _rule(rule: Rule) -> tuple[str, ...]:
    conditions = (
        ("its words", rule.text is not None),
        ("a web page", rule.page),
        ("an API's answer", rule.own_answer is True),
        ("no API's answer", rule.own_answer is False),
        ("the model's name", rule.names_model),
    )
    return (
        f"`{rule.fault}`",
        rule.why,
        ", ".join(sorted(rule.vendors)),
        ", ".join(map(str, sorted(rule.statuses))),
        ", ".join(f"`{word}`" for word in rule.words),
        ", ".join(condition for condition, holds in conditions if holds),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    print(reactions(), rules(), statuses(), sep="\n")  # noqa: T201  # to paste into the guide
