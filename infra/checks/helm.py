"""The Helm chart, with several sets of values: Helm's lint, Kubernetes' own schemas, Envoy's, Dagster's and PgBouncer's word on what it renders.

Who may talk to whom is in helm_network, what processes are told in helm_settings.
"""

import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.checks.check import Check, CheckFailed
from infra.gateway import certificates, envoy
from infra.helm import chart, operators
from infra.helm.gateway import gateway

KUBERNETES = ("1.29", "1.34")
"""Oldest and newest that the chart is for."""


def checks() -> Iterator[Check]:
    """Several for each set of values, and one for the files that code writes."""
    yield Check("helm: files that come of code are what the code gives", current)
    for name, values in chart.value_sets().items():
        yield Check(f"helm lint: {name}", functools.partial(linted, values))
        for version in KUBERNETES:
            yield Check(f"helm: {name} fits Kubernetes {version}", functools.partial(fits, values, version))
        yield Check(f"helm: Dagster takes the instance of {name}", functools.partial(instance_taken, values))
        yield Check(
            f"helm: the gateway of {name} is the code's, and Envoy takes it", functools.partial(gateway_taken, values)
        )


def current() -> None:
    """CheckFailed where a file has to be written anew."""
    if old := chart.stale():
        raise CheckFailed(f"{', '.join(old)}: old; run python -m infra.helm")


def linted(values: dict[str, Any]) -> None:
    """CheckFailed: Helm's words."""
    if found := chart.complaints(values):
        raise CheckFailed("; ".join(found))


def fits(values: dict[str, Any], version: str) -> None:
    """CheckFailed: what an object has that Kubernetes, or the operator that reads it, does not know, or lacks."""
    for each in chart.rendered(values):
        if problem := _misfit(json.dumps(each), version):
            raise CheckFailed(f"{each['kind']} {each['metadata']['name']}: {problem}")


@functools.lru_cache(maxsize=4096)
def _misfit(text: str, version: str) -> str | None:
    """Most objects are alike in all sets of values, and looked at once."""
    import jsonschema
    import kubernetes_validate

    each = json.loads(text)
    try:
        if schema := operators.schema(each):
            jsonschema.validate(each, schema)
        else:
            kubernetes_validate.validate(each, version, strict=True)
    except (
        kubernetes_validate.ValidationError,
        jsonschema.ValidationError,
        kubernetes_validate.SchemaNotFoundError,
    ) as problem:
        return str(problem.message)
    return None


def config_map(values: dict[str, Any], file: str) -> dict[str, str]:
    """The data of the ConfigMap that holds `file`."""
    (found,) = [each for each in chart.rendered(values) if each["kind"] == "ConfigMap" and file in each["data"]]
    data: dict[str, str] = found["data"]
    return data


def gateway_taken(values: dict[str, Any]) -> None:
    """CheckFailed: the rendered configuration is another than the code's for the same values, or Envoy refuses it."""
    data = config_map(values, "envoy.json")
    described = gateway(chart.merged(values), chart.RELEASE, chart.NAMESPACE)
    if json.loads(data["envoy.json"]) != envoy.bootstrap(described):
        raise CheckFailed("envoy.json is not what infra.gateway gives for these values")
    if {name: json.loads(text) for name, text in data.items() if name != "envoy.json"} != certificates.resources(
        described
    ):
        raise CheckFailed("the certificates are not those that infra.gateway names")
    from infra.local.certificates import server

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = server(folder, "gateway")
        paths = {str(described.tls.certificate): str(made.chain), str(described.tls.key): str(made.key)}
        paths |= {str(described.secrets): str(folder), str(described.tls.certificate.parent): str(made.chain.parent)}
        for file, text in data.items():
            for there, here in paths.items():
                text = text.replace(f'"{there}', f'"{here}')
            (folder / file).write_text(text, encoding="utf-8")
        try:
            envoy.validate(folder / "envoy.json")
        except envoy.GatewayError as problem:
            raise CheckFailed(str(problem)) from None


def instance_of(values: dict[str, Any]) -> dict[str, Any]:
    """dagster.yaml as the servers and the runs find it."""
    document: dict[str, Any] = yaml.safe_load(config_map(values, "dagster.yaml")["dagster.yaml"])
    return document


def instance_taken(values: dict[str, Any]) -> None:
    """CheckFailed: what Dagster does not take, of the instance or of K8sRunLauncher's settings."""
    from dagster._config import process_config
    from dagster._core.instance.config import dagster_instance_config_schema
    from dagster_k8s import K8sRunLauncher

    document = instance_of(values)
    if document["storage"]["postgres"]["postgres_url"] != {"env": chart.DATABASE}:
        raise CheckFailed("the database's URL is not taken from the Secret")
    # Dagster looks the variable up; here there is none.
    document["storage"]["postgres"]["postgres_url"] = "postgresql://localhost/dagster"
    for schema, config in (
        (dagster_instance_config_schema(), document),
        (K8sRunLauncher.config_type(), document["run_launcher"]["config"]),  # type: ignore[no-untyped-call]
    ):
        result = process_config(schema, config)
        if not result.success:
            raise CheckFailed("; ".join(error.message for error in result.errors or []))
