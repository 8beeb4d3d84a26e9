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
    return app
