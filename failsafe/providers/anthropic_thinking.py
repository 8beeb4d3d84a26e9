"""
How hard a Claude model is asked to think: ``reasoning_effort`` in Anthropic's two forms.

Older models take a budget of tokens (``thinking.budget_tokens``: at least 1024 and below
``max_tokens``), newer ones decide themselves and take a word (``thinking.type: "adaptive"`` with
``output_config.effort``). Source: platform.claude.com "Extended thinking" and "Adaptive thinking".
"""

from __future__ import annotations

from typing import Any

from failsafe.providers.anthropic_history import History
from failsafe.providers.base import Target
from failsafe.providers.common import Changes
from failsafe.providers.native import Asked

_LEAST_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
_WORDS = ("low", "medium", "high", "xhigh", "max")
_DEFAULT_MAX_TOKENS = 4096  # every current model takes this many


def length_and_thinking(
    effort: str | None,
    given: int | None,
    history: History,
    asked: Asked,
    target: Target,
    changes: Changes,
    *,
    forced: bool,
) -> dict[str, Any]:
    """
    The body's ``max_tokens``, ``thinking`` and ``output_config.effort``.

    Args:
        effort: The ``reasoning_effort``, or None.
        given: The caller's ``max_tokens``, or None.
        history: The conversation; some of its shapes exclude thinking.
        asked: What the target refuses.
        target: Whom it goes to.
        changes: Where it is noted what became of the effort and the length.
        forced: Whether the model must call a tool, which excludes thinking.
    """
    obstacle = _obstacle(history, target, forced=forced)
    budget = _BUDGETS.get(effort or "", 0) if target.info.thinking == "budget" and not obstacle else 0
    limit = _max_tokens(given, budget, target, changes)
    fields: dict[str, Any] = {}
    if effort is not None:
        if target.info.thinking == "adaptive":
            fields = _adaptive(effort, obstacle, asked, changes)
        elif target.info.thinking == "budget":
            fields = _budgeted(effort, obstacle, limit, changes)
        else:
            changes.dropped("reasoning_effort", f"it is not known how {target.model} is asked to think")
    return {"max_tokens": limit, **fields}


def _obstacle(history: History, target: Target, *, forced: bool) -> str:
    """Why Anthropic refuses thinking for this request, or ""."""
    if forced:
        return "tool_choice makes the model call a tool"
    if history.ends_with_assistant:
        return "the last turn is the assistant's"
    if target.info.thinking == "budget" and history.answers_unthinking_call:
        return "the tool call that is answered was made without thinking, or by another model"
    return ""


def _max_tokens(given: int | None, budget: int, target: Target, changes: Changes) -> int:
    """The caller's limit, else the one configured for the provider, else the default with the *budget* on top."""
    longest = target.info.max_output_tokens
    wanted = given or _configured(target) or _DEFAULT_MAX_TOKENS + budget
    sent = min(wanted, longest) if longest else wanted
    if given is None:
        changes.mapped("max_tokens", f"none given, and Anthropic needs one: {sent}")
    elif sent != given:
        changes.clamped("max_tokens", f"{given} to {sent}, the longest answer of {target.model}")
    return sent


def _configured(target: Target) -> int | None:
    value = target.extra.get("max_tokens")
    return value if isinstance(value, int) and value > 0 else None


def _adaptive(effort: str, obstacle: str, asked: Asked, changes: Changes) -> dict[str, Any]:
    if effort == "none":
        changes.mapped("reasoning_effort", "'none' to thinking disabled")
        return {"thinking": {"type": "disabled"}}
    word = asked.nearest("reasoning_effort", "low" if effort == "minimal" else effort, _WORDS)
    if word != effort:
        changes.mapped("reasoning_effort", f"{effort!r} to {word!r}")
    if obstacle:
        changes.mapped("reasoning_effort", f"effort {word!r} without thinking: {obstacle}")
        return {"output_config": {"effort": word}}
    return {"output_config": {"effort": word}, "thinking": {"type": "adaptive"}}


def _budgeted(effort: str, obstacle: str, limit: int, changes: Changes) -> dict[str, Any]:
    if effort == "none":
        changes.mapped("reasoning_effort", "'none' to no thinking, the default")
        return {}
    if not obstacle and limit <= _LEAST_BUDGET:
        obstacle = f"it needs {_LEAST_BUDGET} tokens, and max_tokens is {limit}"
    if obstacle:
        changes.dropped("reasoning_effort", f"no thinking: {obstacle}")
        return {}
    budget = min(_BUDGETS[effort], max(limit - _DEFAULT_MAX_TOKENS, limit // 2, _LEAST_BUDGET))
    changes.mapped("reasoning_effort", f"{effort!r} to a thinking budget of {budget} tokens")
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}
