"""The limit: one route of Flask that does nothing, for the gunicorn of the REST APIs. Also the keys that a gateway in front asks for."""

import json
import os

from flask import Flask, jsonify
from flask.typing import ResponseReturnValue

JWKS = "BENCH_JWKS"


def create_app() -> Flask:
    """The application."""
    app = Flask(__name__)
    keys = json.loads(os.environ[JWKS])

    @app.get("/access/v1/bare")
    def bare() -> ResponseReturnValue:
        return jsonify(status="ok")

    @app.get("/readyz")
    def ready() -> ResponseReturnValue:
        return jsonify(status="ready")

    @app.get("/auth/v1/jwks.json")
    def jwks() -> ResponseReturnValue:
        return jsonify(keys)

    return app
