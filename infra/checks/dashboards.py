"""Grafana's dashboards: the files are what the code gives, and every query asks for what is exported."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import yaml

from infra.checks.alerts import world
from infra.checks.check import Check, CheckFailed
from infra.observability.dashboards import files
from infra.observability.metrics.queries import complaints, labels_of, parse
from infra.observability.servers import FOLDER, configuration

PROVISIONING = FOLDER / "grafana" / "provisioning"
_SHOWN = re.compile(r"{{\s*(\w+)\s*}}")


def checks() -> Iterator[Check]:
    """One for the files, one for each dashboard, one for what Grafana is told at its start."""
    yield Check("Grafana: the dashboards' files are what the code gives", current)
    for name, document in files.read().items():
        yield Check(f"Grafana: all that {name} shows is exported", functools.partial(shown, document))
    yield Check("Grafana: provisioning names Prometheus and the dashboards", provisioned)


def current() -> None:
    """CheckFailed where a file has to be written anew."""
    wanted = files.texts()
    old = [file.name for file, text in wanted.items() if not file.is_file() or file.read_text("utf-8") != text]
    left = sorted(set(files.read()) - {file.name for file in wanted})
    if old or left:
        raise CheckFailed(f"{', '.join([*old, *left])}: run python -m infra.observability")


def shown(document: dict[str, Any]) -> None:
    """CheckFailed: what panels ask for that nobody exports, and labels in legends that the answer does not have."""
    found = []
    for title, expression, legend in files.queries(document):
        query = expression.replace("$__rate_interval", "5m")
        wrong = complaints(query, world())
        if not wrong and (missing := set(_SHOWN.findall(legend)) - labels_of(parse(query), world())):
            wrong = [f"the legend shows {', '.join(sorted(missing))}, which is not there"]
        found += [f"{title}: {words}" for words in wrong]
    if found:
        raise CheckFailed("; ".join(found))


def provisioned() -> None:
    """CheckFailed where Grafana would not find Prometheus at its port, or would not read the dashboards as ours."""
    (source,) = _read("datasources/prometheus.yml")["datasources"]
    own = next(job for job in configuration("Compose")["scrape_configs"] if job["job_name"] == "prometheus")
    port = own["static_configs"][0]["targets"][0].rpartition(":")[2]
    if source["type"] != "prometheus" or not source["url"].endswith(f":{port}"):
        raise CheckFailed(f"the data source is {source['url']}, Prometheus listens on {port}")
    (provider,) = _read("dashboards/smartfit.yml")["providers"]
    if provider["type"] != "file" or provider["allowUiUpdates"] or not provider["options"]["path"].startswith("/"):
        raise CheckFailed("dashboards are to be read from files, and not changed in Grafana")


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))
    if document.get("apiVersion") != 1:
        raise CheckFailed(f"{name}: apiVersion is not 1")
    return document
