"""The way to a provider: names, connections, TLS, proxies, hangs. Real sockets, and no key beyond a failed step."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from failsafe.config import ProviderConfig
from failsafe.diagnosis import network
from failsafe.diagnosis.examination import Wanted, examine
from failsafe.diagnosis.finding import Level
from failsafe.sim import BEHAVIOURS, FakeProvider
from tests.diagnosis.conftest import Lead
from tests.diagnosis.looking import KEY, examined, http, listed, only, problems, settings_of, written
from tests.transport.exchanges import full_listener
from tests.transport.raw_server import Peer, RawServer, answer, answer_once
from tests.transport.test_transport_proxy import tunnel_to

Certified = Callable[..., ssl.SSLContext]


def at(url: str, **settings: Any) -> dict[str, dict[str, Any]]:
    return {"mine": {"base_url": url, "api_key": KEY, "allow_http": True, **settings}}


# Names


def test_a_name_that_nobody_knows_is_told(tmp_path: Path) -> None:
    finding = only(examined(tmp_path, at("https://api.opnai.test/v1")))
    assert (finding.level, finding.code, finding.subject) == (Level.ERROR, "dns-failed", "mine")
    assert finding.found.startswith("cannot look up api.opnai.test: ")
    assert finding.do[0] == "check base_url (https://api.opnai.test/v1) letter by letter"


@pytest.mark.leaves_threads("failsafe-dns")
@pytest.mark.usefixtures("silent_resolver")
def test_a_name_server_that_says_nothing_is_told(tmp_path: Path) -> None:
    finding = only(examined(tmp_path, at("https://api.test/v1"), timeout=0.2))
    assert finding.code == "dns-timeout"
    assert finding.found.startswith("looking up api.test took longer than 0.2")


def test_a_slow_name_server_is_told(tmp_path: Path, lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    lead({"api.test": ["127.0.0.1"]})
    monkeypatch.setattr(network, "SLOW_LOOKUP", 0.0)
    with RawServer(answer(listed())) as server:
        finding = only(examined(tmp_path, at(f"http://api.test:{server.port}/v1")))
    assert (finding.level, finding.code) == (Level.WARNING, "dns-slow")


def test_when_no_name_can_be_looked_up_it_is_the_network_and_said_once(tmp_path: Path) -> None:
    providers = {name: {"base_url": f"https://api.{name}.test/v1", "api_key": KEY} for name in ("a", "b", "c")}
    with RawServer(answer(listed())) as server:
        providers["local"] = {"base_url": f"{server.url}/v1", "api_key": KEY}
        report = examined(tmp_path, providers)
    finding = only(report)
    assert (finding.level, finding.code, finding.subject) == (Level.ERROR, "no-network", "network")
    assert finding.found == "none of 3 providers can be reached: no name can be looked up"
    assert report.findings[0] is finding


def test_when_one_of_several_answers_it_is_not_the_network(tmp_path: Path, lead: Lead) -> None:
    lead({"api.b.test": ["127.0.0.1"]})
    with RawServer(answer(listed())) as server:
        providers = {"a": {"base_url": "https://api.a.test/v1", "api_key": KEY}}
        providers |= {"b": at(f"http://api.b.test:{server.port}/v1")["mine"]}
        assert only(examined(tmp_path, providers)).code == "dns-failed"


def test_when_nothing_takes_connections_it_is_the_network(tmp_path: Path, lead: Lead) -> None:
    lead({"api.a.test": ["127.0.0.1"], "api.b.test": ["127.0.0.1"]})
    providers = {name: {"base_url": f"https://api.{name}.test:1/v1", "api_key": KEY} for name in ("a", "b")}
    assert only(examined(tmp_path, providers)).found.endswith("no connection comes about")


def test_ipv6_that_does_not_work_is_told_where_ipv4_does(tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["::1", "127.0.0.1"]})
    with RawServer(answer(listed())) as server:
        report = examined(tmp_path, at(f"http://api.test:{server.port}/v1"))
    finding = only(report)
    assert (finding.level, finding.code) == (Level.WARNING, "ipv6-broken")
    assert finding.found.startswith("IPv6 does not work and IPv4 does: connection refused by [::1]:")
    assert any("gai.conf" in step for step in finding.do)
    assert report.exit_code == 0


def test_ipv4_that_does_not_work_is_told_where_ipv6_does(tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["127.0.0.1", "::1"]})
    with RawServer(answer(listed()), family=socket.AF_INET6) as server:
        finding = only(examined(tmp_path, at(f"http://api.test:{server.port}/v1")))
    assert finding.code == "ipv4-broken"


def test_a_localhost_that_means_two_addresses_is_told(tmp_path: Path, lead: Lead) -> None:
    lead({"localhost": ["::1", "127.0.0.1"]})
    with RawServer(answer(listed())) as server:
        finding = only(examined(tmp_path, at(f"http://localhost:{server.port}/v1")))
        assert finding.code == "localhost-ambiguous"
        assert finding.do == (f"write the address: base_url = 'http://127.0.0.1:{server.port}/v1'",)


# Connections


@pytest.mark.parametrize(
    ("preset", "variable", "start"),
    [
        ("ollama", "OLLAMA_HOST", "$ ollama serve"),
        ("lmstudio", "LMSTUDIO_BASE_URL", "start the server in LM Studio, tab Developer"),
        ("vllm", "VLLM_BASE_URL", "$ vllm serve MODEL"),
        ("llamacpp", "LLAMACPP_BASE_URL", "$ llama-server -m MODEL.gguf --port 1"),
    ],
)
def test_a_local_server_that_does_not_run_is_told_with_how_it_is_started(
    preset: str, variable: str, start: str, tmp_path: Path
) -> None:
    report = examined(tmp_path, {"here": {"base_url": "http://127.0.0.1:1/v1", "preset": preset, "models": ["m"]}})
    finding = only(report)
    assert (finding.level, finding.code) == (Level.ERROR, "local-not-running")
    assert "is not running: connection refused by 127.0.0.1:1" in finding.found
    assert finding.do[0] == start
    assert variable in finding.do[-1]


def test_a_gateway_that_has_ended_is_suspected(tmp_path: Path) -> None:
    finding = only(examined(tmp_path, {"openai": {"base_url": "http://127.0.0.1:1/v1", "api_key": KEY}}))
    assert (finding.code, finding.found) == ("local-not-running", "nothing listens at 127.0.0.1:1")
    assert "failsafe serve, failsafe sim" in finding.why


def test_a_port_that_refuses_elsewhere_is_told(tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["127.0.0.1"]})
    finding = only(examined(tmp_path, at("https://api.test:1/v1")))
    assert finding.code == "unreachable"
    assert finding.found == "does not take connections: connection refused by 127.0.0.1:1"


def test_an_address_that_says_nothing_is_told(tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["127.0.0.1"]})
    with full_listener() as port:
        finding = only(examined(tmp_path, at(f"https://api.test:{port}/v1"), timeout=0.2))
    assert finding.code == "connect-timeout"
    assert "did not answer" in finding.found
    assert "HTTPS_PROXY" in finding.do[0]


# Answers that do not come


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("hang", "takes the request and sends no first byte of an answer"),
        ("never-read", "takes the request and sends no first byte of an answer"),
        ("drip-headers", "takes the request and sends no first byte of an answer"),
        ("stall-mid-body", "begins an answer and does not end it"),
        ("drip-body", "begins an answer and does not end it"),
    ],
)
def test_a_server_that_hangs_is_told_with_how_far_it_came(behaviour: str, said: str, tmp_path: Path) -> None:
    with FakeProvider("openai", behaviour=BEHAVIOURS[behaviour]) as provider:
        finding = only(examined(tmp_path, {"openai": settings_of(provider)}, timeout=0.3))
    assert (finding.level, finding.code) == (Level.ERROR, "hangs")
    assert finding.found.startswith(said)
    assert "DNS, connecting and TLS work" in finding.why
    assert finding.do[-1] == "leave it more time: $ failsafe doctor --timeout 60"


@pytest.mark.parametrize("behaviour", ["close", "reset", "truncated", "reset-mid-body", "truncated-chunks"])
def test_a_server_that_hangs_up_is_told(behaviour: str, tmp_path: Path) -> None:
    with FakeProvider("openai", behaviour=BEHAVIOURS[behaviour]) as provider:
        finding = only(examined(tmp_path, {"openai": settings_of(provider)}))
    assert finding.code == "cut"


def test_a_server_that_speaks_no_http_is_told(tmp_path: Path) -> None:
    with RawServer(answer_once(b"220 mail.test ESMTP\r\n\r\n")) as server:
        finding = only(examined(tmp_path, at(f"{server.url}/v1")))
    assert finding.code in ("malformed", "cut")


# TLS


def encrypted(folder: Path, server: RawServer, lead: Lead, host: str = "api.test", **settings: Any) -> Any:
    lead({host: ["127.0.0.1"]})
    report = examined(folder, at(f"https://{host}:{server.port}/v1", **settings))
    assert all(b"MARKED" not in request for request in server.requests)
    return only(report)


def test_an_expired_certificate_is_told_with_its_day_and_this_machines(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified
) -> None:
    old = {"not_before": dt.datetime(2020, 1, 1), "not_after": dt.datetime(2020, 2, 1)}  # noqa: DTZ001
    with RawServer(answer(), tls=certified(authority, "api.test", **old)) as server:
        finding = encrypted(tmp_path, server, lead, ca_bundle=ca_bundle)
        assert server.requests == []
    assert finding.code == "tls-expired"
    assert finding.found == "its TLS certificate expired on 2020-02-01 (issued by Zscaler Inc.)"
    assert f"this machine's clock says {dt.datetime.now(dt.UTC):%Y-%m-%d}" in finding.why


def test_a_certificate_that_is_not_yet_valid_makes_the_clock_suspect(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified
) -> None:
    new = {"not_before": dt.datetime(2096, 1, 1), "not_after": dt.datetime(2097, 1, 1)}  # noqa: DTZ001
    with RawServer(answer(), tls=certified(authority, "api.test", **new)) as server:
        finding = encrypted(tmp_path, server, lead, ca_bundle=ca_bundle)
    assert finding.code == "tls-not-yet-valid"
    assert "is not valid before 2096-01-01" in finding.found
    assert "timedatectl" in finding.do[0]


@pytest.mark.parametrize("year", [2020, 2096])
def test_when_all_certificates_are_wrong_alike_it_is_the_clock_and_said_once(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified, year: int
) -> None:
    lead({"api.a.test": ["127.0.0.1"], "api.b.test": ["127.0.0.1"]})
    valid = {"not_before": dt.datetime(year, 1, 1), "not_after": dt.datetime(year, 2, 1)}  # noqa: DTZ001
    with RawServer(answer(), tls=certified(authority, "api.a.test", "api.b.test", **valid)) as server:
        both = {
            name: at(f"https://api.{name}.test:{server.port}/v1", ca_bundle=ca_bundle)["mine"] for name in ("a", "b")
        }
        finding = only(examined(tmp_path, both))
    assert (finding.level, finding.code) == (Level.ERROR, "clock")
    assert finding.found.startswith("the certificates of all 2 hosts look ")
    assert f"clock says {dt.datetime.now(dt.UTC):%Y-%m-%d}" in finding.why


def test_a_certificate_for_another_host_is_told_with_its_names(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified
) -> None:
    with RawServer(answer(), tls=certified(authority, "other.test", "www.other.test")) as server:
        finding = encrypted(tmp_path, server, lead, ca_bundle=ca_bundle)
    assert finding.code == "tls-host"
    assert finding.found == "the TLS certificate is for other.test, www.other.test, not for api.test"


def test_somebody_who_reads_along_is_told_by_the_issuer(
    tmp_path: Path, lead: Lead, authority: trustme.CA, certified: Certified
) -> None:
    with RawServer(answer(), tls=certified(authority, "api.test")) as server:
        finding = encrypted(tmp_path, server, lead)
    assert finding.code == "tls-intercepted"
    assert finding.found == "its TLS certificate, issued by Zscaler Inc., is not trusted"
    assert "reads the connection and signs in the provider's place" in finding.why
    assert 'for this provider: ca_bundle = "/path/issuer.pem" in [providers.mine]' in finding.do
    assert finding.do[-1] == "$ export REQUESTS_CA_BUNDLE=~/ca.pem"


def test_whoever_signs_for_a_vendors_own_host_without_being_trusted_reads_along(
    tmp_path: Path, lead: Lead, certified: Certified
) -> None:
    with RawServer(answer(), tls=certified(trustme.CA(), "api.openai.com")) as server:
        lead({"api.openai.com": ["127.0.0.1"]})
        settings = {"base_url": f"https://api.openai.com:{server.port}/v1", "api_key": KEY}
        finding = only(examined(tmp_path, {"openai": settings}))
        assert server.requests == []
    assert finding.code == "tls-intercepted"


def test_a_server_of_ones_own_with_an_authority_of_its_own_is_told(
    tmp_path: Path, lead: Lead, certified: Certified
) -> None:
    with RawServer(answer(), tls=certified(trustme.CA(organization_name="Example Ltd"), "api.test")) as server:
        finding = encrypted(tmp_path, server, lead)
    assert finding.code == "tls-untrusted"
    assert finding.found == "its TLS certificate, issued by Example Ltd, is not trusted"
    assert finding.do[0] == "get the issuer's certificate as a PEM file from whoever runs the server"


def test_a_self_signed_certificate_is_told_as_the_servers_own(tmp_path: Path, lead: Lead) -> None:
    authority = trustme.CA(organization_name="api.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    both = tmp_path / "self.pem"
    both.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context.load_cert_chain(both)
    with RawServer(answer(), tls=context) as server:
        finding = encrypted(tmp_path, server, lead)
    assert finding.code == "tls-untrusted"
    assert finding.do[0] == "get the server's own certificate as a PEM file from whoever runs the server"


def test_a_server_of_old_tls_alone_is_told(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified
) -> None:
    context = certified(authority, "api.test")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with RawServer(answer(), tls=context) as server:
        finding = encrypted(tmp_path, server, lead, ca_bundle=ca_bundle)
    assert finding.code == "tls-version"
    assert finding.found.startswith("offers no TLS version from 1.2 up")


@pytest.mark.parametrize("host", ["api.test", "localhost"])
def test_a_plain_server_under_https_is_told(host: str, tmp_path: Path, lead: Lead) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.send(http("400 Bad Request"))

    with RawServer(script) as server:
        finding = encrypted(tmp_path, server, lead, host)
        assert finding.code == "tls-not-tls"
        where = f"try base_url = 'http://localhost:{server.port}/v1'"
        assert finding.do == (where if host == "localhost" else "check the port in base_url",)


def test_a_server_that_asks_for_a_client_certificate_is_told(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified
) -> None:
    context = certified(authority, "api.test")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with RawServer(answer(), tls=context) as server:
        finding = encrypted(tmp_path, server, lead, ca_bundle=ca_bundle)
        assert finding.code == "tls-client-cert"
        assert finding.do == ('client_cert = "/path/me.pem" in [providers.mine]',)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # which says less
        finding = encrypted(tmp_path, server, lead, ca_bundle=ca_bundle)
    assert finding.code == "tls-failed"
    assert "or asks for a client certificate" in finding.why


@pytest.mark.parametrize("behaviour", ["tls-alert", "tls-close", "tls-stall"])
def test_a_handshake_that_is_broken_off_is_told(behaviour: str, tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["127.0.0.1"]})
    with FakeProvider("openai", behaviour=BEHAVIOURS[behaviour]) as provider:
        report = examined(tmp_path, at(f"https://api.test:{provider.port}/v1"), timeout=0.3)
        assert provider.count() == 0
    assert only(report).code == "tls-failed"


def test_a_bundle_that_does_not_exist_is_told(tmp_path: Path) -> None:
    report = examined(tmp_path, at("https://api.test/v1"), environ={"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"})
    finding = only(report)
    assert finding.code == "bundle-missing"
    assert "REQUESTS_CA_BUNDLE = '/nowhere/ca.pem'" in finding.found


def test_a_bundle_that_is_no_pem_is_told(tmp_path: Path, lead: Lead) -> None:
    with RawServer(answer()) as server:
        finding = encrypted(tmp_path, server, lead, ca_bundle=__file__)
    assert finding.code == "bundle-missing"


def test_a_trusted_server_is_told_with_its_tls_version(
    tmp_path: Path, lead: Lead, authority: trustme.CA, ca_bundle: str, certified: Certified
) -> None:
    lead({"api.test": ["127.0.0.1"]})
    with RawServer(answer(listed()), tls=certified(authority, "api.test")) as server:
        report = examined(tmp_path, at(f"https://api.test:{server.port}/v1", ca_bundle=ca_bundle))
    (well,) = [each for each in report.findings if each.code == "answers"]
    assert "DNS " in well.found
    assert "connecting " in well.found
    assert "TLSv1.3 " in well.found


# Proxies


def test_a_socks_proxy_is_told_by_its_variable(tmp_path: Path) -> None:
    report = examined(tmp_path, at("https://api.test/v1"), environ={"ALL_PROXY": "socks5://user:PASSWORD@p:1080"})
    finding = only(report)
    assert finding.code == "proxy-unusable"
    assert "ALL_PROXY names a socks5 proxy" in finding.found
    assert "PASSWORD" not in repr(finding)
    assert finding.do[0] == "name an http proxy: $ export ALL_PROXY=http://HOST:PORT"


@pytest.mark.parametrize("proxy", ["http://user:PASSWORD@127.0.0.1:1", "http://proxy.nowhere.test:3128"])
def test_a_proxy_that_cannot_be_reached_is_told_with_what_names_it(proxy: str, tmp_path: Path) -> None:
    finding = only(examined(tmp_path, at("https://api.test/v1"), environ={"HTTPS_PROXY": proxy}))
    assert finding.code == "proxy-unreachable"
    assert "(HTTPS_PROXY) cannot be reached: " in finding.found
    assert "PASSWORD" not in repr(finding)
    assert finding.do[-1] == "if it can be reached without one: $ export NO_PROXY=api.test"


@pytest.mark.parametrize("credentials", ["", "user:PASSWORD@"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_asks_for_authentication_is_told(credentials: str, scheme: str, tmp_path: Path) -> None:
    asks = http("407 Proxy Authentication Required", b"", "Proxy-Authenticate: Basic")
    with RawServer(answer_once(asks)) as proxy:
        through = proxy.url.replace("//", f"//{credentials}")
        report = examined(tmp_path, at(f"{scheme}://api.test/v1"), environ={f"{scheme}_proxy": through})
    finding = only(report)
    assert finding.code == "proxy-auth"
    assert ("were not accepted" in finding.why) is bool(credentials)
    assert "PASSWORD@" not in finding.found


def test_a_proxy_that_lets_nobody_through_to_a_host_is_told(tmp_path: Path) -> None:
    with RawServer(answer_once(http("403 Forbidden"))) as proxy:
        finding = only(examined(tmp_path, at("https://api.test/v1", proxy=proxy.url)))
    assert finding.code == "proxy-refused"
    assert "(proxy in the settings) opens no way to api.test: it answered 403" in finding.found
    assert finding.do[-1] == "if it can be reached without one, take proxy out of [providers.mine]"


def test_a_proxy_that_does_not_reach_the_host_itself_is_told(tmp_path: Path) -> None:
    with RawServer(answer_once(http("503 Service Unavailable"))) as proxy:
        finding = only(examined(tmp_path, at("https://api.test/v1", proxy=proxy.url)))
    assert finding.code == "proxy-refused"
    assert finding.why.startswith("the proxy itself does not reach the host")


def test_a_proxy_that_reads_along_is_told_with_the_issuer(
    tmp_path: Path, authority: trustme.CA, certified: Certified
) -> None:
    with (
        RawServer(answer(), tls=certified(authority, "api.openai.com")) as behind,
        RawServer(tunnel_to(behind.port)) as proxy,
    ):
        settings = {"openai": {"base_url": "https://api.openai.com/v1", "api_key": KEY}}
        finding = only(examined(tmp_path, settings, environ={"HTTPS_PROXY": proxy.url}))
        assert behind.requests == []
    assert finding.code == "tls-intercepted"
    assert finding.found == "its TLS certificate, issued by Zscaler Inc., is not trusted"
    assert finding.why.startswith("HTTPS_PROXY leads through a proxy that reads the connection")


def test_a_proxy_that_works_is_told_beside_the_answer(tmp_path: Path) -> None:
    with RawServer(answer(listed())) as proxy:
        report = examined(tmp_path, at("http://api.test/v1"), environ={"http_proxy": proxy.url})
    (well,) = [each for each in report.findings if each.code == "answers"]
    assert f"through the proxy 127.0.0.1:{proxy.port} (http_proxy)" in well.found
    assert problems(report) == {}


def test_a_proxy_that_no_proxy_leaves_out_is_not_used(tmp_path: Path, lead: Lead) -> None:
    lead({"api.test": ["127.0.0.1"]})
    environ = {"http_proxy": "http://127.0.0.1:1", "no_proxy": ".test"}
    with RawServer(answer(listed())) as server:
        report = examined(tmp_path, at(f"http://api.test:{server.port}/v1"), environ=environ)
    assert problems(report) == {}
    (well,) = [each for each in report.findings if each.code == "answers"]
    assert well.found.endswith("past the proxy in http_proxy, as no_proxy says)")


# A provider of the catalogue that is not configured


def test_the_way_to_a_provider_that_is_not_configured_is_looked_at_and_nothing_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(answer(listed())) as server:
        monkeypatch.setattr(
            "failsafe.diagnosis.examination._unconfigured",
            lambda name, _: ProviderConfig(name=name, base_url=server.url, enabled=False),
        )
        path = written(tmp_path, at("http://127.0.0.1:1/v1"))
        report = examine(Wanted(path=path, providers=("openai",), timeout=2.0), environ={"FAILSAFE_STORE": "off"})
        assert (server.connections, server.requests) == (1, [])
    assert [each.code for each in report.findings if each.subject == "openai"] == ["reachable"]


def test_several_providers_are_looked_at_at_once(tmp_path: Path) -> None:
    """Each waits for its answer until all of them have got their request."""
    waiting = 5
    arrived = threading.Barrier(waiting)

    def script(peer: Peer) -> None:
        if peer.read_request():
            arrived.wait(10)
            peer.send(listed())

    with RawServer(script) as server:
        providers = {f"p{number}": at(f"{server.url}/v1")["mine"] for number in range(waiting)}
        report = examined(tmp_path, providers, timeout=10.0)
    assert problems(report) == {}
