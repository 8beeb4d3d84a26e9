"""Why a TLS handshake failed. Pure functions: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from failsafe.addresses import host_matches, is_loopback
from failsafe.diagnosis.facts import ProviderFacts
from failsafe.diagnosis.finding import Finding, error
from failsafe.durations import in_words
from failsafe.transport.inspection import Certificate, Handshake
from failsafe.transport.sockets import spelled

# OpenSSL, verify(1): X509_V_ERR_*.
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED = 18
_HOST = frozenset({62, 63, 64})

_INTERCEPTORS = re.compile(
    r"\b(?:zscaler|netskope|forti\w*|palo ?alto|blue ?coat|umbrella|sophos|watchguard|check ?point|barracuda|sonicwall|"
    r"mcafee|skyhigh|symantec web|cato|iboss|kaspersky|eset|avast|avg|bitdefender|mitmproxy|charles|fiddler|"
    r"portswigger|proxy|firewall|inspection)\b",
    re.IGNORECASE,
)
"""Who signs in the place of others, as their certificates name themselves."""

_OLD_VERSION = frozenset(
    {
        "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION", "NO_PROTOCOLS_AVAILABLE",
        "VERSION_TOO_LOW",
    }
)  # fmt: skip
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
_REFUSED = frozenset({"SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INSUFFICIENT_SECURITY"})
_CLIENT_CERTIFICATE = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE"})


def judge(facts: ProviderFacts, now: float) -> Finding:
    """
    Explain a handshake that failed.

    Args:
        facts: What was seen; its handshake has a problem.
        now: This machine's time, seconds since 1970-01-01 UTC.
    """
    made = facts.handshake or Handshake()
    if made.code is None:
        return _no_agreement(facts, made)
    if made.code == _EXPIRED:
        return _expired(facts, made.certificate, now)
    if made.code == _NOT_YET_VALID:
        return _not_yet_valid(facts, made.certificate, now)
    if made.code in _HOST:
        return _other_host(facts, made.certificate)
    return _untrusted(facts, made)


def judge_together(all_facts: Sequence[ProviderFacts], now: float) -> Finding | None:
    """What explains that the certificates of several hosts are expired, or not yet valid, all at once: the clock."""
    made = {facts.address.host: facts.handshake for facts in all_facts if facts.handshake is not None}
    codes = {handshake.code for handshake in made.values()}
    if len(made) < 2 or len(codes) > 1 or not codes <= {_EXPIRED, _NOT_YET_VALID}:
        return None
    look = "expired" if codes == {_EXPIRED} else "not yet valid"
    return error(
        "clock", "clock", f"the certificates of all {len(made)} hosts look {look}",
        f"this machine's clock says {_day(now)}; when all are wrong alike, it is the clock that is",
        *SET_THE_CLOCK,
    )  # fmt: skip


SET_THE_CLOCK = (
    "let it be set by NTP: $ timedatectl set-ntp true",
    "in a virtual machine or WSL, after sleep: $ sudo hwclock -s",
)
"""The steps to set this machine's clock."""

EXPLAINED_BY_THE_CLOCK = frozenset({"tls-expired", "tls-not-yet-valid"})
"""Findings about single providers that :func:`judge_together` says in one."""


def intercepts(certificate: Certificate | None) -> bool:
    """Whether whoever signed *certificate* is known to sign in the place of others."""
    return certificate is not None and _INTERCEPTORS.search(f"{certificate.issuer} {certificate.subject}") is not None


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _issued(certificate: Certificate | None) -> str:
    return f" (issued by {certificate.issuer})" if certificate else ""


def _expired(facts: ProviderFacts, certificate: Certificate | None, now: float) -> Finding:
    when = f" on {_day(certificate.ends)}" if certificate else ""
    return error(
        "tls-expired", facts.name, f"its TLS certificate expired{when}{_issued(certificate)}",
        f"this machine's clock says {_day(now)}; if that is wrong, the certificate may well be valid",
        "check the clock: $ date",
        "if it is right, whoever runs the server has to renew the certificate",
    )  # fmt: skip


def _not_yet_valid(facts: ProviderFacts, certificate: Certificate | None, now: float) -> Finding:
    when = f" before {_day(certificate.begins)}" if certificate else ""
    return error(
        "tls-not-yet-valid", facts.name, f"its TLS certificate is not valid{when}{_issued(certificate)}",
        f"this machine's clock says {_day(now)}, and most likely it is slow",
        "set the clock, best by NTP: $ timedatectl set-ntp true",
    )  # fmt: skip


def _other_host(facts: ProviderFacts, certificate: Certificate | None) -> Finding:
    names = ", ".join(certificate.names[:4]) if certificate and certificate.names else "another host"
    return error(
        "tls-host", facts.name, f"the TLS certificate is for {names}, not for {facts.address.host}",
        "base_url leads to another server than it should, or somebody answers in its place"
        + (f": it was issued by {certificate.issuer}" if certificate else ""),
        f"check base_url ({facts.config.base_url})",
        f"see where the name leads: $ getent hosts {facts.address.host}",
    )  # fmt: skip


def _untrusted(facts: ProviderFacts, made: Handshake) -> Finding:
    """Signed by nobody who is trusted: of a vendor's own host somebody between, of any other one's own authority."""
    certificate = made.certificate
    between = host_matches(facts.address.host, facts.preset.hosts) or intercepts(certificate)
    signed = f"issued by {certificate.issuer}" if certificate else "of an unknown issuer"
    why = f"this machine does not trust whoever signed it ({made.problem})"
    if between:
        who = f"{facts.route.setting} leads through a proxy that" if facts.route.proxy else "a proxy or virus scanner"
        why = f"{who} reads the connection and signs in the provider's place, as company networks do ({made.problem})"
    its = "the server's own certificate" if made.code == _SELF_SIGNED else "the issuer's certificate"
    return error(
        "tls-intercepted" if between else "tls-untrusted",
        facts.name, f"its TLS certificate, {signed}, is not trusted", why,
        f"get {its} as a PEM file from " + ("your IT department" if between else "whoever runs the server"),
        f'for this provider: ca_bundle = "/path/issuer.pem" in [providers.{facts.name}]',
        "for all programs in Python, beside the usual issuers: $ cat $(python -m certifi) issuer.pem > ~/ca.pem",
        "$ export REQUESTS_CA_BUNDLE=~/ca.pem",
    )  # fmt: skip


def _no_agreement(facts: ProviderFacts, made: Handshake) -> Finding:
    where = spelled(facts.address.host, facts.port)
    if made.reason == "UNLOADABLE":
        return error(
            "bundle-missing", facts.name, made.problem, "PEM files are needed", "check ca_bundle and client_cert"
        )
    if made.reason in _OLD_VERSION:
        return error(
            "tls-version", facts.name, f"offers no TLS version from 1.2 up ({made.problem.lower()})",
            "older versions are not safe, and are never used",
            "have TLS 1.2 or newer switched on at the server, or at the proxy before it",
        )  # fmt: skip
    if made.reason in _NOT_TLS:
        http = str(facts.address._replace(scheme="http"))
        step = f"try base_url = {http!r}" if is_loopback(facts.address.host) else "check the port in base_url"
        return error(
            "tls-not-tls", facts.name, f"{where} does not speak TLS ({made.problem.lower()})",
            "base_url begins with https, and a plain HTTP server, or a proxy, answers there", step,
        )  # fmt: skip
    if made.reason in _CLIENT_CERTIFICATE:
        return error(
            "tls-client-cert", facts.name, f"asks for a client certificate ({made.problem.lower()})",
            "it lets in only those who show one",
            f'client_cert = "/path/me.pem" in [providers.{facts.name}]',
        )  # fmt: skip
    lasted = f" within {in_words(made.seconds)}" if made.late else ""
    return error(
        "tls-failed", facts.name, f"no TLS handshake comes about with {where}{lasted}: {made.problem.lower()}",
        "it refuses every cipher that is offered, or asks for a client certificate (client_cert in the settings)"
        if made.reason in _REFUSED
        else "the connection is taken and then dropped: firewalls do so with hosts that are not allowed",
        "try from another network, or with the VPN off (or on)",
        *((f"see whether it has an incident: {facts.preset.status_page}",) if facts.preset.status_page else ()),
    )  # fmt: skip
