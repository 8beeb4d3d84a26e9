"""
A gateway on this machine: programs that speak OpenAI's or Anthropic's API, answered by a router.

``failsafe serve`` runs it; :class:`failsafe.gateway.app.Gateway` is a WSGI application for any other server.
See ``docs/gateway.md``.
"""

from failsafe.gateway.app import Gateway

__all__ = ["Gateway"]
