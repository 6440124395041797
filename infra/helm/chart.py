"""Rendering the chart with Helm's own library, and the files in it that code writes.

How runs queue, are watched and are tried again must not differ between a machine and a cluster, so that part of dagster.yaml is
written from `infra.local.dagster`; where runs are started is the chart's own business.
"""

import functools
import json
from pathlib import Path
from typing import Any

import yaml
from helm_python.chart import Chart, lint

from infra.helm.gateway import gateway_text
from infra.local.dagster import artifacts, everywhere

FOLDER = Path(__file__).parent / "smartfit"
INSTANCE = FOLDER / "files" / "instance.json"
GATEWAY = FOLDER / "files" / "gateway.json"
RULES = FOLDER / "files" / "rules"
SOURCE_OF_RULES = Path(__file__).parents[1] / "observability" / "prometheus" / "rules"
RELEASE, NAMESPACE = "gym", "smartfit"
_WARNING = 2
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DATABASE = "SMARTFIT_DAGSTER_DATABASE_URL"


def instance_text() -> str:
    """What files/instance.json has to hold."""
    document = {
        "storage": {"postgres": {"postgres_url": {"env": DATABASE}}},
        **artifacts("/var/lib/smartfit/scratch/dagster"),
        # What a run prints goes to the cluster's logs, from its pod.
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        **everywhere(),
    }
    return json.dumps(document, indent=1) + "\n"


def generated() -> dict[Path, str]:
    """The files of the chart that come from elsewhere in the product, and what they have to hold; Prometheus' rules are copied."""
    rules = {RULES / path.name: path.read_text("utf-8") for path in sorted(SOURCE_OF_RULES.glob("*.yml"))}
    return {INSTANCE: instance_text(), GATEWAY: gateway_text(), **rules}


def stale() -> list[str]:
    """Names of such files that are not what they have to be, or should not be there."""
    wanted = generated()
    old = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    return sorted(path.name for path in {*old, *(set(RULES.glob("*")) - set(wanted))})


def value_sets() -> dict[str, dict[str, Any]]:
    """Values that the chart is tried with, by name: its defaults, and those in ci/."""
    found: dict[str, dict[str, Any]] = {"defaults": {}}
    for file in sorted((FOLDER / "ci").glob("*.yaml")):
        found[file.stem] = yaml.safe_load(file.read_text("utf-8"))
    return found


def rendered(values: dict[str, Any], release: str = RELEASE, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """The objects of a release. Raises helm_python.errors.HelmError where the values do not fit the schema."""
    objects: list[dict[str, Any]] = json.loads(_rendered(json.dumps(values), release, namespace))
    return objects


@functools.lru_cache(maxsize=64)
def _rendered(values: str, release: str, namespace: str) -> str:
    chart = Chart.load(FOLDER)
    given = json.loads(values)
    chart.validate_schema(chart.merge_values(given))
    texts = chart.render(given, name=release, namespace=namespace)
    objects = [
        document
        for name, text in sorted(texts.items())
        if name.endswith(".yaml")
        for document in yaml.load_all(text, Loader=_LOADER)
        if document
    ]
    return json.dumps(objects)


def merged(values: dict[str, Any]) -> dict[str, Any]:
    """The values over the chart's defaults."""
    return Chart.load(FOLDER).merge_values(values)


def complaints(values: dict[str, Any]) -> list[str]:
    """What `helm lint --strict` says of the chart with these values, beyond remarks."""
    messages = lint(FOLDER, values, strict=True)["messages"]
    return [f"{each['path']}: {each['error']}" for each in messages if each["severity"] >= _WARNING]
