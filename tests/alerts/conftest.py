"""Fixtures of the alerts' tests: the certificates of the transport's."""

from __future__ import annotations

from tests.transport.conftest import authority, ca_bundle, server_tls

__all__ = ["authority", "ca_bundle", "server_tls"]
