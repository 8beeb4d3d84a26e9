"""What is wrong with an answer: status, headers and body together. Pure functions: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from failsafe.addresses import host_matches, is_loopback, parse
from failsafe.diagnosis import certificates, keys, models, network
from failsafe.diagnosis.facts import Exchanged, ProviderFacts, key_in_words
from failsafe.diagnosis.finding import Finding, error, note, warning
from failsafe.durations import in_words
from failsafe.faults import REACTIONS, Fault
from failsafe.models import Failure, Phase
from failsafe.providers.error_body import ErrorBody

CLOCK_SKEW = 60.0
"""Seconds by which this machine's clock may differ from a server's."""

_REGION = re.compile(r"country|region|territory|location is not supported|not available in your", re.IGNORECASE)
_ADDRESS = re.compile(
    r"\bip\b.{0,40}\b(?:address|allow|authorized|permitted|whitelist)|allow[- ]?list|"
    r"public access is disabled|virtual network|firewall rules",
    re.IGNORECASE,
)
_OF_MODEL = re.compile(r"\bmodels?\b|\bdeployment\b", re.IGNORECASE)
_NO_MESSAGE = ErrorBody(kind="empty")


def judge_all(facts: ProviderFacts) -> list[Finding]:
    """What is wrong with what came back from a provider; a short answer says more than a list of models does."""
    last = facts.completion
    of_last = judge(facts, last) if last is not None else None
    found = [
        finding
        for each in facts.exchanges
        if (finding := judge(facts, each)) is not None
        and not (of_last is not None and last is not None and last.key == each.key and finding.code == of_last.code)
    ]
    return found if of_last is None else [*found, of_last]


def judge(facts: ProviderFacts, exchanged: Exchanged) -> Finding | None:
    """
    What is wrong with what came back; None when nothing is.

    Args:
        facts: What was seen of the provider.
        exchanged: One request of it and what came back.
    """
    failure = exchanged.failure
    if failure is None:
        return None
    if exchanged.status is None or failure.phase is not Phase.DONE:
        return network.lost_on_the_way(facts, failure, seconds=exchanged.seconds)
    if exchanged.status == 511:
        return _portal(facts, "it asks to log in (511)")
    if 300 <= exchanged.status < 400:
        return _redirect(facts, exchanged)
    if _is_page(exchanged):
        return _page(facts, exchanged)
    return _JUDGES.get(failure.fault, _other)(facts, exchanged, failure)


def said(exchanged: Exchanged) -> str:
    """What the provider says, for a person."""
    body = exchanged.said or _NO_MESSAGE
    text = body.message if body.kind != "empty" else "an empty body"
    words = " ".join(word for word in (body.code or body.status_text or body.type,) if word)
    parts = [f"HTTP {exchanged.status}" if exchanged.status else "", words]
    start = " ".join(part for part in parts if part)
    return f"{start}: {text}".rstrip(". :") if text else start


def _is_page(exchanged: Exchanged) -> bool:
    html = exchanged.said is not None and exchanged.said.kind == "html"
    return html or "HTML" in (exchanged.failure.message if exchanged.failure and exchanged.status == 200 else "")


def own_address(facts: ProviderFacts) -> bool:
    """Whether it is called at its vendor's own address, so that only somebody else can answer with a web page."""
    if not host_matches(facts.address.host, facts.preset.hosts) or "{" in facts.preset.base_url:
        return False
    return facts.address.path == parse("base_url", facts.preset.base_url).path


def _portal(facts: ProviderFacts, found: str) -> Finding:
    return error(
        "captive-portal", facts.name, f"another server answers in its place: {found}",
        "hotels, trains and guest networks answer everything with their own page until you have agreed to something",
        "open any web page in a browser on this machine and log in, or change the network",
        *(_past_proxy(facts)),
    )  # fmt: skip


def _past_proxy(facts: ProviderFacts) -> tuple[str, ...]:
    return (f"or it is {network.proxy_in_words(facts)}: ask whoever runs it",) if facts.route.proxy else ()


def _redirect(facts: ProviderFacts, exchanged: Exchanged) -> Finding:
    target = _parts(exchanged.headers.get("location", ""))
    host, scheme = target[1].partition(":")[0] or facts.address.host, target[0]
    if target[1] and host != facts.address.host and host_matches(facts.address.host, facts.preset.hosts):
        return _portal(facts, f"HTTP {exchanged.status} to {scheme}://{host}")
    if host == facts.address.host and scheme == "https" and facts.address.scheme == "http":
        steps = (f"base_url = {str(facts.address._replace(scheme='https'))!r}",)
    else:
        steps = (_better(facts) or f"set base_url to the address that is meant, on {host}",)
    return error(
        "redirect", facts.name, f"redirects to {scheme + '://' if scheme else ''}{target[1]}{_shortened(target[2])} "
        f"(HTTP {exchanged.status})",
        "redirects are never followed: key and prompt would go to a host that nobody has named",
        *steps,
    )  # fmt: skip


def _parts(url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return parts.scheme, f"{parts.hostname or ''}{port}", parts.path
    except ValueError:
        return "", "", ""


def _shortened(path: str) -> str:
    return path if len(path) <= 40 else f"{path[:40]}..."


def _page(facts: ProviderFacts, exchanged: Exchanged) -> Finding:
    """A web page where an API's answer belongs."""
    title = exchanged.said.message if exchanged.said else ""
    what = f"a web page{f' ({title})' if title else ''} under HTTP {exchanged.status}"
    if exchanged.status in (403, 429):
        return _blocked(facts, exchanged, what)
    if exchanged.status is not None and exchanged.status >= 500:
        return _down(facts, exchanged, exchanged.failure or _UNKNOWN)
    better = _better(facts)
    if better:
        return _wrong_path(facts, what, better)
    if own_address(facts):
        return _portal(facts, what)
    return error(
        "web-page", facts.name, f"answers with {what}",
        "base_url leads to a web site, or a proxy or login page answers in the API's place",
        f"check base_url ({facts.config.base_url}): it has to be the API's address, mostly ending in /v1",
        *_past_proxy(facts),
    )  # fmt: skip


def _blocked(facts: ProviderFacts, exchanged: Exchanged, what: str) -> Finding:
    server = exchanged.headers.get("server", "")
    who = "Cloudflare" if "cf-ray" in exchanged.headers or "cloudflare" in server.lower() else "a firewall"
    ray = f", Ray ID {exchanged.headers['cf-ray']}" if "cf-ray" in exchanged.headers else ""
    return error(
        "blocked", facts.name, f"{who} before it turns this machine away: {what}{ray}",
        "it is the network's address that is not trusted, as of VPNs and data centres; the key was not looked at",
        "try from another network, or with the VPN off",
        "if it stays so, tell the provider's support" + (" the Ray ID" if ray else " the time and your address"),
        *_past_proxy(facts),
    )  # fmt: skip


def _better(facts: ProviderFacts) -> str:
    return f"base_url = {facts.better_url!r} (it answers there)" if facts.better_url else ""


def _usual(facts: ProviderFacts) -> str:
    usual = facts.preset.base_url
    return f"{facts.title}'s own address is {usual}" if usual and "{" not in usual else "most end in /v1"


def _wrong_path(facts: ProviderFacts, what: str, better: str = "") -> Finding:
    steps = (better,) if better else (f"check base_url: {_usual(facts)}",)
    origin = f", from {facts.address_from}" if facts.address_from else ""
    return error(
        "wrong-path", facts.name, f"knows no such path: {what}",
        f"below base_url ({facts.config.base_url}{origin}) there is no API of the dialect {facts.config.dialect}"
        + ("; a part of its path is missing, doubled or too much" if better else ""),
        *steps,
    )  # fmt: skip


def _misconfigured(facts: ProviderFacts, exchanged: Exchanged, _: Failure) -> Finding:
    better = _better(facts)
    answers = _reaches_the_api(facts.completion)
    if (
        not exchanged.model
        and not better
        and (answers or (facts.completion is None and facts.config.preset in _WITHOUT_LIST))
    ):
        return _no_list(facts, exchanged, answers=answers)
    return _wrong_path(facts, said(exchanged), better)


def _reaches_the_api(completion: Exchanged | None) -> bool:
    """Whether a request for a chat was understood, whatever became of it."""
    if completion is None or completion.status is None or _is_page(completion):
        return False
    return completion.failure is None or completion.failure.fault not in (Fault.MISCONFIGURED, Fault.MALFORMED)


_WITHOUT_LIST = (None, "holysheep")
"""Servers of which nobody says that they have a list of models."""


def _no_list(facts: ProviderFacts, exchanged: Exchanged, *, answers: bool) -> Finding:
    found = f"has no list of models at {facts.config.base_url}: {said(exchanged)}"
    if answers:
        return note(
            "no-list", facts.name, found, "it understands chats all the same", 'models_path = "" in its settings'
        )
    return warning(
        "no-list", facts.name, found, "not every server has one; or base_url leads to the wrong path",
        f"ask it for a short answer: $ failsafe doctor {facts.name} --completion",
        f"check base_url: {_usual(facts)}",
    )  # fmt: skip


def _model(facts: ProviderFacts, exchanged: Exchanged, failure: Failure) -> Finding:
    if not exchanged.model:  # Google's words for an unknown model are those for an unknown path
        return _misconfigured(facts, exchanged, failure)
    return models.unknown(facts, exchanged, failure)


def _permission(facts: ProviderFacts, exchanged: Exchanged, _failure: Failure) -> Finding:
    body = exchanged.said or _NO_MESSAGE
    words = " ".join((body.message, *body.words)).replace("_", " ")
    for code, pattern, why, steps in _PERMISSIONS:
        if pattern.search(words):
            return error(code, facts.name, f"refuses: {said(exchanged)}", why, *steps)
    if exchanged.model and exchanged.model in body.message:
        code, _, why, steps = _PERMISSIONS[-1]
        return error(code, facts.name, f"refuses: {said(exchanged)}", why, *steps)
    page = (f"see the key's rights: {facts.preset.keys_page}",) if facts.preset.keys_page else ()
    which = key_in_words(exchanged.key) if exchanged.key else "the request"
    return error(
        "permission", facts.name, f"refuses: {said(exchanged)}",
        f"{which} is known, and may not do this" if exchanged.key else "no key was sent",
        *page, "give the key's project the right to do this, or use another key",
    )  # fmt: skip


_PERMISSIONS: tuple[tuple[str, re.Pattern[str], str, tuple[str, ...]], ...] = (
    (
        "region", _REGION, "this provider does not serve the country that this machine's address is in",
        ("call from a country it serves: with a VPN, that is where the VPN ends",
         "or use another provider: failsafe fails over to it by itself"),
    ),
    (
        "address-not-allowed", _ADDRESS, "the key's project takes requests only from addresses on its list",
        ("see this machine's own: $ curl https://api.ipify.org",
         "add that address to the list in the provider's console, or call from one that is on it"),
    ),
    (
        "model-not-permitted", _OF_MODEL, "the key is good, and its project may not use this model",
        ("switch the model on for the project in the provider's console, or name another model",),
    ),
)  # fmt: skip


def _rate_limit(facts: ProviderFacts, exchanged: Exchanged, failure: Failure) -> Finding:
    if failure.retry_after is None:
        ends = "it does not say when it ends"
    else:
        at = datetime.fromtimestamp(exchanged.at + failure.retry_after, UTC).astimezone()
        ends = f"it ends in {in_words(failure.retry_after)}, at {at:%H:%M:%S}"
    page = facts.preset.billing_page
    doubt = (f"if it stays so although little is asked for, see whether there is credit left: {page}",) if page else ()
    of = "of the whole key" if failure.whole_key else "of this key and model"
    return warning(
        "rate-limit", facts.name, f"limits the rate; {ends}: {said(exchanged)}",
        f"more was asked for than the limit {of} allows, maybe by other programs with the same key",
        "wait; failsafe asks other providers meanwhile",
        f"hold calls back before they are refused: rate_limiter in [providers.{facts.name}]",
        "raise the limit with the provider, or add a second key: api_key = [...]",
        *(doubt if failure.retry_after is None else ()),
    )  # fmt: skip


def _quota(facts: ProviderFacts, exchanged: Exchanged, _: Failure) -> Finding:
    page = facts.preset.billing_page
    return error(
        "quota", facts.name, f"has no credit left for this key, or a spending limit is reached: {said(exchanged)}",
        "waiting does not help, and another key of the same account mostly does not either",
        f"top up or raise the limit: {page}" if page else "top up the account or raise its limit in its console",
        f"running programs leave the key alone for an hour; then: $ failsafe breakers reset {facts.name}",
    )  # fmt: skip


_UNKNOWN = Failure(fault=Fault.SERVER, message="")


def _down(facts: ProviderFacts, exchanged: Exchanged, failure: Failure) -> Finding:
    overloaded = failure.fault is Fault.OVERLOADED
    wait = f"; it asks to come back in {in_words(failure.retry_after)}" if failure.retry_after else ""
    behind = f", which calls {', '.join(facts.config.upstream)} in turn" if facts.config.upstream else ""
    steps = network.status_page(facts)
    if is_loopback(facts.address.host):
        steps = ("look at the server's own log on this machine",)
    return error(
        "overloaded" if overloaded else "provider-down", facts.name,
        f"{'is out of capacity' if overloaded else 'is broken'}: {said(exchanged)}{wait}",
        f"that is the provider's own trouble{behind}; key, address and network are right",
        *steps, "failsafe fails over by itself; configure a second provider if there is none",
    )  # fmt: skip


def _malformed(facts: ProviderFacts, _: Exchanged, failure: Failure) -> Finding:
    better = _better(facts)
    return error(
        "not-the-api", facts.name, f"answers, but not in the dialect {facts.config.dialect}: {failure.message}",
        "something else than the API listens at base_url, or a proxy between rewrites its answers",
        better or f"check base_url ({facts.config.base_url}) and dialect ({facts.config.dialect})",
    )  # fmt: skip


def _other(facts: ProviderFacts, exchanged: Exchanged, failure: Failure) -> Finding:
    return error(
        f"fault-{failure.fault}".replace("_", "-"), facts.name, f"refused {exchanged.asked}: {said(exchanged)}",
        "", REACTIONS[failure.fault].advice,
    )  # fmt: skip


_Judge = Callable[[ProviderFacts, Exchanged, Failure], Finding]

_JUDGES: Mapping[Fault, _Judge] = {
    Fault.AUTH: keys.rejected,
    Fault.PERMISSION: _permission,
    Fault.MODEL: _model,
    Fault.MISCONFIGURED: _misconfigured,
    Fault.RATE_LIMIT: _rate_limit,
    Fault.QUOTA: _quota,
    Fault.SERVER: _down,
    Fault.OVERLOADED: _down,
    Fault.MALFORMED: _malformed,
}


def clock(all_facts: tuple[ProviderFacts, ...]) -> Iterator[Finding]:
    """How far this machine's clock is off, as the servers' answers date themselves: the least of what they say."""
    offsets = [offset for facts in all_facts for each in facts.exchanges if (offset := _offset(each)) is not None]
    if not offsets:
        return
    least = min(offsets, key=abs)
    if abs(least) < CLOCK_SKEW:
        return
    level = warning if abs(least) < 3600 else error
    yield level(
        "clock", "clock", f"this machine's clock is {in_words(abs(least))} {'fast' if least > 0 else 'slow'}",
        "certificates count as expired or not yet valid, tokens that expire are refused, and dates in Retry-After, "
        "in uptimes and costs are wrong",
        *certificates.SET_THE_CLOCK,
    )  # fmt: skip


def _offset(exchanged: Exchanged) -> float | None:
    """Seconds by which this machine's clock is ahead of the answer's ``Date``."""
    try:
        sent = parsedate_to_datetime(exchanged.headers.get("date", ""))
        if sent.tzinfo is None:
            sent = sent.replace(tzinfo=UTC)
        age = float(exchanged.headers.get("age", "0"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return exchanged.at - sent.timestamp() - age


def several_variables(facts: ProviderFacts, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Two variables hold a key of one vendor, and they differ."""
    held = [name for name in facts.preset.key_env if environ.get(name)]
    if len({environ[name] for name in held}) > 1 and any(key.source == f"env:{held[0]}" for key in facts.config.keys):
        yield note(
            "two-keys", facts.name, f"{' and '.join(held)} hold different keys; {held[0]} is used",
            "the vendor's own programs choose likewise", f"if the other one is meant: $ unset {held[0]}",
        )  # fmt: skip
