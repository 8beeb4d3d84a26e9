"""Keeps programs that call LLM APIs running: failover inside the caller's deadline, retries, circuit breakers."""

__version__ = "0.1.0"
