"""What one call asks for beside its parameters: who may answer, at what price, how fast, and who did before."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypedDict

import msgspec

from failsafe.checks import suggestion
from failsafe.config import ProviderConfig
from failsafe.encoding import refuse
from failsafe.models import ChatParameters

_DAY_MS = 86_400_000
_LONGEST_TAG = 64


class RoutingOptions(TypedDict, total=False):
    """The options of a call that choose among the providers; none of them reaches a provider."""

    only: str | Sequence[str]
    """Providers, or tags of providers: nobody else is asked."""
    exclude: str | Sequence[str]
    """Providers, or tags of providers, that are not asked."""
    max_cost_usd: float
    """USD; whoever is estimated to cost more, or has no known price, is not asked (0 or more)."""
    max_latency_ms: float
    """Milliseconds; whoever is known to take longer at present is asked after all others (above 0, at most a day)."""
    sticky: str
    """A key of yours (a user, a conversation): calls with the same one begin with the same provider."""
    progress: bool
    """Whether the answer is asked for as a stream and put together; the router's setting by default."""
    tag: str
    """A word of yours (a team, a feature) that the call and its cost are booked under (up to 64 characters)."""


class CallParameters(ChatParameters, RoutingOptions, total=False):
    """Everything a call may be given by name: what is sent, and what chooses among the providers."""


class Constraints(msgspec.Struct, frozen=True, kw_only=True):
    """
    The checked options of one call.

    Attributes:
        only: Names and tags of the providers that may answer; empty: all.
        exclude: Names and tags of those that may not.
        max_cost_usd: USD that the call is estimated to cost at most, or None.
        max_latency_ms: Milliseconds that a provider usually takes at most, or None.
        sticky: The caller's key, or None.
        progress: Whether a plain answer is asked for as a stream; None: as the router is told.
        tag: What the call is booked under, or "".
    """

    only: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    sticky: str | None = None
    progress: bool | None = None
    tag: str = ""


_OPTIONS = frozenset(RoutingOptions.__annotations__)


def split(parameters: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Mapping[str, Any]]:
    """
    Tell the routing options of a call from its parameters.

    Returns:
        The options, or None if there are none (the usual case, which costs next to nothing), and the parameters.
    """
    if not parameters or _OPTIONS.isdisjoint(parameters):
        return None, parameters
    options = {name: value for name, value in parameters.items() if name in _OPTIONS and value is not None}
    return options, {name: value for name, value in parameters.items() if name not in _OPTIONS}


def checked(
    options: Mapping[str, Any], serving: Sequence[ProviderConfig], everyone: Iterable[ProviderConfig]
) -> Constraints:
    """
    Return the constraints that *options* (of :class:`RoutingOptions`) make.

    Args:
        options: As the caller gave them.
        serving: Who serves the model that is asked for.
        everyone: Every provider of the router.

    Raises:
        InvalidRequest: An option is wrong, names nobody, or leaves nobody.
    """
    known = {word for provider in everyone for word in _words(provider)}
    constraints = Constraints(
        only=_names("only", options.get("only"), known),
        exclude=_names("exclude", options.get("exclude"), known),
        max_cost_usd=_number("max_cost_usd", options.get("max_cost_usd"), "a number of USD, 0 or more, is needed"),
        max_latency_ms=_milliseconds("max_latency_ms", options.get("max_latency_ms")),
        sticky=_key(options.get("sticky")),
        progress=_flag("progress", options.get("progress")),
        tag=_tag(options.get("tag")),
    )
    if all(_by_name(constraints, provider) for provider in serving):
        _refuse_leaving_nobody(constraints, serving)
    return constraints


def _refuse_leaving_nobody(constraints: Constraints, serving: Sequence[ProviderConfig]) -> NoReturn:
    option, words = ("only", constraints.only) if constraints.only else ("exclude", constraints.exclude)
    beside = f"beside exclude = {_listed(constraints.exclude)} " if constraints.only and constraints.exclude else ""
    names = ", ".join(provider.name for provider in serving)
    refuse(option, _listed(words), f"{beside}this leaves nobody to ask: {names} serve this model")


def ruled_out(constraints: Constraints, provider: ProviderConfig, cost: float | None) -> str | None:
    """
    Why *provider* is not asked in this call, in words, or None.

    Args:
        constraints: What the call asks for.
        provider: The provider's settings.
        cost: USD that the call is estimated to cost there; None where no price is known.
    """
    reason = _by_name(constraints, provider)
    most = constraints.max_cost_usd
    if reason or most is None:
        return reason
    if cost is None:
        return (
            f"its price is not known, and the call has max_cost_usd = {most:g}; set prices = "
            f"{{ MODEL = {{ input = ..., output = ... }} }} under [providers.{provider.name}]"
        )
    if cost > most:
        return f"would cost about ${cost:.4g}, above max_cost_usd = {most:g}"
    return None


def _by_name(constraints: Constraints, provider: ProviderConfig) -> str | None:
    words = _words(provider)
    if constraints.only and constraints.only.isdisjoint(words):
        return f"the call asks for {_listed(constraints.only)} only"
    unwanted = constraints.exclude.intersection(words)
    return f"the call excludes {_listed(unwanted)}" if unwanted else None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _words(provider: ProviderConfig) -> tuple[str, ...]:
    """What a call may name *provider* by."""
    return (provider.name, *provider.tags)


def _names(option: str, value: object, known: Collection[str]) -> frozenset[str]:
    if value is None:
        return frozenset()
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Sequence | set | frozenset) or isinstance(given, bytes):
        refuse(option, value, "the name or tag of a provider, or a list of them, is needed")
    if not given and option == "only":
        refuse(option, value, "the name or tag of a provider is needed; leave only out to ask anybody")
    for name in given:
        if not isinstance(name, str):
            refuse(option, name, "the name or tag of a provider is needed")
        if name not in known:
            _refuse_unknown(option, name, known)
    return frozenset(given)


def _refuse_unknown(option: str, name: str, known: Collection[str]) -> None:
    """Refuse *name*, unless it is one to exclude and resembles none: a tag that nobody has any more excludes nobody."""
    hint = suggestion(name, known)
    if option == "only" or hint:
        refuse(option, name, f"no provider has this name or tag{hint}; known are {_listed(known)}")


def _number(option: str, value: object, allowed: str) -> float | None:
    if value is None:
        return None
    # The comparison is written so that NaN and infinity fail it, and an int too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        refuse(option, value, allowed)
    return float(value)


def _milliseconds(option: str, value: object) -> float | None:
    allowed = f"a number of milliseconds above 0 and at most {_DAY_MS} is needed"
    number = _number(option, value, allowed)
    if number is not None and not 0 < number <= _DAY_MS:
        refuse(option, value, allowed)
    return number


def _flag(name: str, value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        refuse(name, value, "True or False is needed")
    return value


def _key(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        refuse("sticky", value, "a text that is not empty is needed")
    return value


def _tag(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TAG or not value.isprintable():
        refuse("tag", value, f"a printable text of 1 to {_LONGEST_TAG} characters is needed")
    return value
