"""What is wrong on the way to a provider: name, connection, proxy. Pure functions: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from failsafe.addresses import is_loopback
from failsafe.diagnosis import certificates
from failsafe.diagnosis.facts import ProviderFacts
from failsafe.diagnosis.finding import Finding, error, warning
from failsafe.durations import in_words
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.transport.inspection import Connected, family
from failsafe.transport.sockets import spelled

SLOW_LOOKUP = 1.0
"""Seconds from which looking up a name is slow."""

_REFUSED_TUNNEL = re.compile(r"the proxy refused the way to \S+ with status (\d{3})")

_START = {
    "ollama": ("$ ollama serve",),
    "lmstudio": ("start the server in LM Studio, tab Developer", "$ lms server start"),
    "vllm": ("$ vllm serve MODEL",),
    "llamacpp": ("$ llama-server -m MODEL.gguf --port {port}",),
}
"""How each local server is started."""


def judge(facts: ProviderFacts, now: float) -> Iterator[Finding]:
    """
    What is wrong on the way to one provider; nothing when its server was reached.

    Args:
        facts: What was seen.
        now: This machine's time, seconds since 1970-01-01 UTC.
    """
    if facts.route_problem:
        yield _unusable_route(facts)
        return
    yield from _lookup(facts)
    if facts.lookup is not None and not facts.lookup.addresses:
        return
    reached = any(not each.problem for each in facts.connections)
    if facts.connections and not reached:
        yield _unreachable(facts)
        return
    yield from _families(facts)
    failed_handshake = facts.handshake is not None and bool(facts.handshake.problem)
    refused = _refused_by_proxy(facts)
    if refused is not None:
        yield refused
    elif failed_handshake:
        yield certificates.judge(facts, now)


def judge_together(all_facts: Sequence[ProviderFacts]) -> Finding | None:
    """What explains that no server outside of this machine can be reached; None where one could be."""
    outside = [facts for facts in all_facts if not is_loopback(facts.address.host)]
    hosts = {facts.address.host for facts in outside}
    if len(hosts) < 2 or not all(_is_cut_off(facts) for facts in outside):
        return None
    lookups = all(facts.lookup is not None and not facts.lookup.addresses for facts in outside)
    return error(
        "no-network",
        "network",
        f"none of {len(hosts)} providers can be reached: "
        + ("no name can be looked up" if lookups else "no connection comes about"),
        "when all fail alike, it is this machine's network, its DNS server or a firewall, and no provider",
        "check the network, and the VPN if you use one",
        f"$ getent hosts {min(hosts)}",
        "if only a proxy leads out: $ export HTTPS_PROXY=http://HOST:PORT",
    )


def _is_cut_off(facts: ProviderFacts) -> bool:
    if facts.lookup is not None and not facts.lookup.addresses:
        return True
    return bool(facts.connections) and all(each.problem for each in facts.connections)


EXPLAINED_BY_NO_NETWORK = frozenset(
    {"dns-failed", "dns-timeout", "unreachable", "connect-timeout", "proxy-unreachable"}
)
"""Findings about single providers that :func:`judge_together` says in one."""


def proxy_in_words(facts: ProviderFacts) -> str:
    """The proxy and what names it, without its password."""
    setting = facts.route.setting
    return f"the proxy {proxy_host(facts)} ({'proxy in the settings' if setting == 'proxy' else setting})"


def proxy_host(facts: ProviderFacts) -> str:
    """The proxy's host and port."""
    parts = urlsplit(facts.route.proxy or "")
    return spelled(parts.hostname or "?", parts.port or (443 if parts.scheme == "https" else 80))


def _without_proxy(facts: ProviderFacts) -> str:
    """How this provider is reached past the proxy."""
    if facts.route.setting == "proxy":
        return f"if it can be reached without one, take proxy out of [providers.{facts.name}]"
    return f"if it can be reached without one: $ export NO_PROXY={facts.address.host}"


def _unusable_route(facts: ProviderFacts) -> Finding:
    problem = facts.route_problem
    if " proxy" not in problem:
        return error(
            "bundle-missing", facts.name, f"cannot be called: {problem}",
            "certificates are checked on every call, against the file that is named",
            "name an existing PEM file, or unset the variable: certifi's list is used then",
        )  # fmt: skip
    setting = problem.split(maxsplit=1)[0]
    return error(
        "proxy-unusable", facts.name, f"cannot be called: {problem.partition('; ')[0]}",
        "http and https proxies are supported, and SOCKS is not",
        f"name an http proxy: $ export {'HTTPS_PROXY' if setting == 'proxy' else setting}=http://HOST:PORT",
        _without_proxy(facts),
    )  # fmt: skip


def _lookup(facts: ProviderFacts) -> Iterator[Finding]:
    lookup = facts.lookup
    if lookup is None:
        return
    through_proxy = facts.route.proxy is not None
    if not lookup.addresses and through_proxy:
        yield _lost_proxy(facts, lookup.problem)
    elif not lookup.addresses and lookup.late:
        yield error(
            "dns-timeout", facts.name, f"looking up {facts.address.host} took longer than {in_words(lookup.seconds)}",
            "the DNS server of this machine does not answer; every provider will be affected",
            "see which one is asked: $ cat /etc/resolv.conf",
            f"$ getent hosts {facts.address.host}",
        )  # fmt: skip
    elif not lookup.addresses:
        own = facts.config.base_url == facts.preset.base_url
        yield error(
            "dns-failed", facts.name, lookup.problem,
            "this machine is offline, or its DNS server does not know the name"
            + ("" if own else ", or the name is mistyped"),
            *(() if own else (f"check base_url ({facts.config.base_url}) letter by letter",)),
            "check the network, and the VPN if you use one",
            f"$ getent hosts {facts.address.host}",
        )  # fmt: skip
    elif lookup.seconds >= SLOW_LOOKUP:
        yield warning(
            "dns-slow", facts.name, f"looking up {facts.address.host} takes {in_words(lookup.seconds)}",
            "the first DNS server often does not answer, and the next is asked only then; each new connection waits",
            "see which ones are asked, and take out the dead one: $ cat /etc/resolv.conf",
        )  # fmt: skip


def _lost_proxy(facts: ProviderFacts, problem: str) -> Finding:
    return error(
        "proxy-unreachable", facts.name, f"{proxy_in_words(facts)} cannot be reached: {problem}",
        f"{facts.route.setting} leads every request for {facts.address.host} through it",
        "check the proxy's address, and that the network it is in can be reached (VPN?)",
        _without_proxy(facts),
    )  # fmt: skip


def _unreachable(facts: ProviderFacts) -> Finding:
    problems = "; ".join(dict.fromkeys(each.problem for each in facts.connections))
    host = facts.address.host
    if facts.route.proxy is not None:
        return _lost_proxy(facts, problems)
    if is_loopback(host):
        return _not_running(facts, problems)
    if all(each.late for each in facts.connections):
        return error(
            "connect-timeout", facts.name, f"does not take connections: {problems}",
            "a firewall drops what is sent there, or the way leads through a proxy that is not set, or it is down",
            "if only a proxy leads out: $ export HTTPS_PROXY=http://HOST:PORT",
            *status_page(facts),
        )  # fmt: skip
    return error(
        "unreachable", facts.name, f"does not take connections: {problems}",
        f"nothing listens at {spelled(host, facts.port)}, or a firewall refuses the way",
        f"check host and port in base_url ({facts.config.base_url})",
        *status_page(facts),
    )  # fmt: skip


def _not_running(facts: ProviderFacts, problems: str) -> Finding:
    where = spelled(facts.address.host, facts.port)
    preset = facts.config.preset or ""
    if facts.preset.local:
        start = tuple(step.format(port=facts.port) for step in _START.get(preset, ("start it",)))
        return error(
            "local-not-running", facts.name, f"{facts.title} is not running: {problems}",
            f"a server on this machine is expected at {where}",
            *start,
            f"if it listens elsewhere: $ export {facts.preset.base_url_env}=http://HOST:PORT",
        )  # fmt: skip
    named = f"{facts.address_from} leads to this machine" if facts.address_from else "base_url leads to this machine"
    undo = f"$ unset {facts.address_from}" if facts.address_from else f"base_url in [providers.{facts.name}]"
    return error(
        "local-not-running", facts.name, f"nothing listens at {where}",
        f"{named}, where a gateway or fake provider (failsafe serve, failsafe sim) may have run and has ended",
        "start it again, or call the provider itself:",
        undo if undo.startswith("$") else f"take out {undo}",
    )  # fmt: skip


def _families(facts: ProviderFacts) -> Iterator[Finding]:
    """One kind of addresses works, and the other does not."""
    broken = [each for each in facts.connections if each.problem]
    working = [each for each in facts.connections if not each.problem]
    if not broken or not working:
        return
    bad, well = broken[0], working[0]
    if is_loopback(facts.address.host):
        yield _one_loopback(facts, bad, well)
        return
    yield warning(
        "ipv6-broken" if bad.is_ipv6 else "ipv4-broken", facts.name,
        f"{family(bad.address)} does not work and {family(well.address)} does: {bad.problem}",
        f"each new connection that tries {family(bad.address)} first loses {in_words(bad.seconds)}",
        f"repair {family(bad.address)} on this network, or switch it off",
        *(("or prefer IPv4, in /etc/gai.conf: precedence ::ffff:0:0/96 100",) if bad.is_ipv6 else ()),
    )  # fmt: skip


def _one_loopback(facts: ProviderFacts, bad: Connected, well: Connected) -> Finding:
    return warning(
        "localhost-ambiguous", facts.name,
        f"{facts.address.host} means {bad.address} and {well.address}, and the server listens on {well.address} alone",
        "each new connection may be refused once before it comes about",
        f"write the address: base_url = {str(facts.address._replace(host=well.address))!r}",
    )  # fmt: skip


def _refused_by_proxy(facts: ProviderFacts) -> Finding | None:
    failure = next((each.failure for each in facts.exchanges if each.failure is not None), None)
    if facts.route.proxy is None or failure is None:
        return None
    refused = _REFUSED_TUNNEL.search(failure.message)
    status = int(refused[1]) if refused else failure.status
    if status == 407:
        return _asks_for_password(facts)
    if failure.phase is Phase.PROXY:
        return error(
            "proxy-refused", facts.name, f"{proxy_in_words(facts)} opens no way to {facts.address.host}: "
            + (f"it answered {status}" if refused else failure.message),
            "the proxy itself does not reach the host: its names or its own way out fail"
            if status is not None and status >= 500
            else "many proxies let only listed hosts through",
            f"have {facts.address.host}, port {facts.port}, allowed on the proxy",
            _without_proxy(facts),
        )  # fmt: skip
    return None


def _asks_for_password(facts: ProviderFacts) -> Finding:
    known = urlsplit(facts.route.proxy or "").username is not None
    return error(
        "proxy-auth", facts.name, f"{proxy_in_words(facts)} asks for authentication (407)",
        "the user and password in its address were not accepted" if known else "its address holds no user and password",
        "give both, percent-encoded: http://USER:PASSWORD@HOST:PORT",
        "a proxy that wants Kerberos or NTLM needs a helper on this machine, such as px or cntlm",
    )  # fmt: skip


def status_page(facts: ProviderFacts) -> tuple[str, ...]:
    """The step to see whether the vendor knows of an incident; none for what only imitates it on this machine."""
    page = facts.preset.status_page if not is_loopback(facts.address.host) else None
    return (f"see whether it has an incident: {page}",) if page else ()


def lost_on_the_way(facts: ProviderFacts, failure: Failure, *, seconds: float) -> Finding:
    """
    An exchange that ended without an answer although the way is open.

    Args:
        facts: What was seen.
        failure: How it ended; it has no status.
        seconds: How long it took.
    """
    if failure.fault is Fault.MISCONFIGURED:
        return error("unsendable", facts.name, failure.message, "", "check base_url and headers in the settings")
    if failure.fault in (Fault.TIMEOUT, Fault.CONNECT_TIMEOUT):
        return _late(facts, failure, seconds)
    if failure.fault is Fault.MALFORMED:
        return error(
            "malformed", facts.name, f"did not answer in HTTP, or not to the end: {failure.message}",
            "something else than the API listens there, or a proxy between breaks its answers",
            f"check base_url ({facts.config.base_url})",
        )  # fmt: skip
    what = "answer" if failure.phase is Phase.READ else "connection"
    return error(
        "cut", facts.name, f"breaks the {what} off: {failure.message}",
        "the server, or a proxy or firewall before it, hangs up; some do so on hosts they do not like",
        "try again; if it stays so, try from another network",
        *status_page(facts),
    )  # fmt: skip


def _late(facts: ProviderFacts, failure: Failure, seconds: float) -> Finding:
    lasted = in_words(seconds)
    what = {
        Phase.SEND: f"takes the connection and does not read what is sent (given up after {lasted})",
        Phase.WAIT: f"takes the request and sends no first byte of an answer (given up after {lasted})",
        Phase.READ: f"begins an answer and does not end it (given up after {lasted}, {failure.bytes_received} bytes)",
    }.get(failure.phase, f"was not reached within {lasted}: {failure.message}")
    why = "DNS, connecting and TLS work: it is the server that hangs, or a proxy that holds the answer back"
    return error(
        "hangs", facts.name, what, why if failure.phase in (Phase.SEND, Phase.WAIT, Phase.READ) else "",
        *status_page(facts),
        "leave it more time: $ failsafe doctor --timeout 60",
    )  # fmt: skip
