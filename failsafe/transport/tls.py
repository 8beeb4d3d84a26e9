"""TLS settings: always verified, made once a process for each CA bundle and client certificate."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from pathlib import Path

import requests.certs
from urllib3.util.ssl_ import create_urllib3_context

from failsafe import forking
from failsafe.errors import ConfigError
from failsafe.transport.sockets import DeadlineTLSSocket

ClientCertificate = str | tuple[str, str] | None
"""A file with certificate and key, or one file for each, or none."""

_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def choose_bundle(ca_bundle: str | None, environ: Mapping[str, str]) -> str:
    """
    The file or folder of certificates to trust.

    Args:
        ca_bundle: What the configuration names; it wins.
        environ: Asked for ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` and ``SSL_CERT_FILE``, in this order;
            without one, certifi's bundle is used.

    Raises:
        ConfigError: The one that was named does not exist.
    """
    if ca_bundle is not None:
        return _existing("ca_bundle", ca_bundle)
    for variable in _VARIABLES:
        if environ.get(variable):
            return _existing(variable, environ[variable])
    return str(requests.certs.where())  # type: ignore[attr-defined] # re-exported; the stubs lack it


def check_certificate(client_cert: ClientCertificate) -> ClientCertificate:
    """
    *client_cert*, if its files exist.

    Raises:
        ConfigError: One of them does not.
    """
    for path in (client_cert,) if isinstance(client_cert, str) else client_cert or ():
        _existing("client_cert", path)
    return client_cert


def _existing(setting: str, path: str) -> str:
    if not Path(path).exists():
        raise ConfigError(f"{setting} = {path!r}: there is no such file; name a PEM file, or take the setting out")
    return path


class Contexts:
    """
    The TLS settings of this process, one for each pair of CA bundle and client certificate.

    Loading a bundle takes some 20 ms and a megabyte, so all transports share them. Thread-safe.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, ClientCertificate], ssl.SSLContext] = {}  # guarded by _lock
        self._after_fork()
        forking.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def get(self, bundle: str, client_cert: ClientCertificate) -> ssl.SSLContext:
        """
        TLS 1.2 or newer, certificate and host name checked.

        Raises:
            OSError: A file cannot be read or is not PEM (``ssl.SSLError`` is an ``OSError``).
        """
        with self._lock:
            made = self._made.get((bundle, client_cert))
            if made is None:
                made = self._made[bundle, client_cert] = _make(bundle, client_cert)
        return made


contexts = Contexts()
"""The TLS settings of this process."""


def _make(bundle: str, client_cert: ClientCertificate) -> ssl.SSLContext:
    made = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED, ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
    made.check_hostname = True
    made.sslsocket_class = DeadlineTLSSocket
    if Path(bundle).is_dir():
        made.load_verify_locations(capath=bundle)
    else:
        made.load_verify_locations(cafile=bundle)
    if client_cert is not None:
        certificate, key = (client_cert, None) if isinstance(client_cert, str) else client_cert
        # An encrypted key would make OpenSSL ask for its password on the terminal.
        made.load_cert_chain(certificate, key, password=_no_password)
    return made


def _no_password() -> str:
    raise ssl.SSLError("the key of client_cert is encrypted; give one without a password")
