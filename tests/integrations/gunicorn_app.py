"""The app that gunicorn runs in ``test_gunicorn.py``."""

from __future__ import annotations

import os

from flask import Flask

from failsafe.integrations.flask import current_router
from tests.integrations.apps import asking_app


def create_app() -> Flask:
    """An app over the providers of the file that ``APP_SETTINGS`` names; ``APP_WARM`` has it ask them at once."""
    app = asking_app(FAILSAFE_CONFIG=os.environ["APP_SETTINGS"], FAILSAFE_STATUS=True)
    app.add_url_rule("/pid", view_func=lambda: str(os.getpid()))
    if os.environ.get("APP_WARM"):
        with app.app_context():
            current_router.chat("before the fork", model="gpt-4.1")
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _export(app)
    return app


def _export(app: Flask) -> None:
    """Have ``/shared-metrics`` tell what all workers have done."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    from failsafe.integrations import prometheus

    def metrics() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    with app.app_context():
        prometheus.register(current_router._get_current_object())  # type: ignore[attr-defined]
    app.add_url_rule("/shared-metrics", view_func=metrics)
