"""The outage that ``failsafe demo`` rehearses."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.monitoring_config import StoreConfig
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.sim import BEHAVIOURS, Behaviour, FakeCloud

DEADLINE = 3.0
"""Seconds each call is given."""

MODELS = ("gpt-4.1-mini", "claude-haiku-4-5", "gemini-3.5-flash")

_USUAL = {"openai": (0.06, 0.06), "anthropic": (0.09, 0.06), "gemini": (0.07, 0.06)}
"""Seconds a healthy answer takes, and the chance on top of it."""

PROMPTS = (
    "Name a prime number.",
    "What is the capital of Peru?",
    "Translate 'good morning' into French.",
    "Summarise: the cat sat on the mat.",
    "Is 91 a prime number?",
    "Write a haiku about rain.",
    "Convert 20 miles to kilometres.",
    "What rhymes with orange?",
)


class Act(NamedTuple):
    """One turn of the story: from *begins* on (a share of the whole) the named providers behave like this."""

    begins: float
    title: str
    changes: dict[str, str]


ACTS = (
    Act(0.0, "all three are healthy", {}),
    Act(0.12, "openai hangs: it accepts every request and answers none", {"openai": "hang"}),
    Act(0.34, "openai still hangs, and anthropic is overloaded (529)", {"anthropic": "overloaded"}),
    Act(0.5, "both are back", {"openai": "healthy", "anthropic": "healthy"}),
    Act(0.66, "openai cuts its answers short, gemini resets connections", {"openai": "truncated", "gemini": "reset"}),
    Act(0.84, "all three are healthy again", {"openai": "healthy", "gemini": "healthy"}),
)


def behaviour(provider: str, name: str) -> Behaviour:
    """The behaviour called *name*, at the pace this provider usually has."""
    latency, jitter = _USUAL[provider]
    return replace(BEHAVIOURS[name], latency=latency, latency_jitter=jitter)


def steps(seconds: float) -> dict[str, list[tuple[float, Behaviour]]]:
    """Each provider's schedule over *seconds*, as the fake providers take it."""
    schedule = {provider: [(0.0, behaviour(provider, "healthy"))] for provider in _USUAL}
    for act in ACTS:
        for provider, name in act.changes.items():
            schedule[provider].append((act.begins * seconds, behaviour(provider, name)))
    return schedule


def act_at(share: float) -> Act:
    """The act that is on when *share* of the time has passed."""
    return next(act for act in reversed(ACTS) if act.begins <= share)


def settings(cloud: FakeCloud, seconds: float) -> RouterConfig:
    """A router over the fake providers whose breakers are quick enough to close again within one act."""
    providers = [
        ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key, timeout=1.0) for each in cloud
    ]
    return RouterConfig(
        providers=providers,
        aliases={"fast": MODELS},
        timeout=DEADLINE,
        breaker=CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout=min(1.5, seconds / 16)),
        store=StoreConfig(enabled=False),  # what is played has no place in the history of what was real
    )
