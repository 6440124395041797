"""Who may talk to whom in a release: what the rendered NetworkPolicies let through is this table, no more and no less."""

import copy
import functools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml

from infra.checks.check import Check, CheckFailed
from infra.helm import chart
from infra.helm.environment import environment
from infra.helm.network import End, may_connect, pods

APIS = ("auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops")
PORTS = {
    **dict.fromkeys(APIS, 8000),
    "pooler": 6432,
    "code": 4000,
    "web": 8000,
    "dagster": 3000,
    "model-face": 3001,
    "model-laundry": 3001,
    "edge": 8445,
}
"""What can be called inside; everything else is called by nobody."""
WORLD = {"gateway": {8443, 8080}, "heartbeat": {8443}, "edge": {8445}}
"""What is open to everybody."""
FIGURES = {"gateway": 9902, **dict.fromkeys(APIS, 8000), "web": 8000, "indexer": 8002, "sender": 8003, "heartbeat": 8004, "prober": 8005, "model-face": 3001, "model-laundry": 3001,
           **{f"worker-{domain}": 8001 for domain in APIS}}  # fmt: skip
"""Where Prometheus may ask."""
_STORE = {"auth", "access", "helper", "branch", "mlops"}
_API = {
    "auth": {"access", "card"}, "access": {"auth"}, "helper": {"auth"}, "search": {"auth", "index"}, "branch": {"auth"},
    "monitoring": {"auth"}, "notification": {"auth"}, "mlops": {"auth", "dagster", "model-laundry"},
}  # fmt: skip
_WORKER = {
    # auth collects exports from every domain.
    "auth": {*APIS, "card", "cache"} - {"auth"}, "access": {"auth"}, "search": {"index"}, "mlops": {"dagster", "model-laundry"},
}  # fmt: skip
_LEARNING = {"auth", "mlops", "search", "branch"}
_OTHERS = {
    "gateway": {*APIS, "web", "dagster"},
    # With the token of whoever is signed in, and nothing of its own: no database, no store.
    "web": {*APIS, "cache"},
    "indexer": {"database", "index"},
    "sender": {"database", "push", "mail"},
    "heartbeat": {"database"},
    "prober": {"database", "equipment"},
    "model-face": set(),
    "model-laundry": set(),
    "pooler": {"database"},
    "code": {"database", "store", *_LEARNING},
    "run": {"database", "store", "languageModel", *_LEARNING},
    "dagster": {"database", "store", "code", "cluster"},
    "daemon": {"database", "store", "code", "cluster"},
    "migration": {"database"},
    "edge": {"centre", "gates"},
}
_UNTRACED = {"model-face", "model-laundry", "pooler", "migration", "edge"}
_WITHOUT_SECRETS = {"gateway", "code", "run", "dagster", "daemon", "edge"}
OUTSIDE = (
    "database", "broker", "index", "cache", "collector", "vault", "cluster", "equipment", "store", "card", "push",
    "languageModel", "centre", "gates", "mail",
)  # fmt: skip
GOES = {"SMARTFIT_JWKS_URL": "auth", "AWS_ENDPOINT_URL": "store", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector", "SMARTFIT_PLATFORM_URL": "auth", "SMARTFIT_DOMAINS_INTERNAL_URL": "helper", "SMARTFIT_WEB_API_URL": "helper", "SMARTFIT_LLM_URL": "languageModel"}  # fmt: skip
"""Settings that processes have in common, though not each of them goes there: the table says who does."""
NAMESPACE = {"kubernetes.io/metadata.name": chart.NAMESPACE}


def checks() -> Iterator[Check]:
    """One for each set of values."""
    for name, values in chart.value_sets().items():
        yield Check(f"helm: {name} lets through what must talk, and nothing else", functools.partial(lets, values))
        yield Check(
            f"helm: with {name} the way is open to every address in the settings", functools.partial(ways, values)
        )


def table(values: dict[str, Any]) -> dict[str, set[str]]:
    """Who must reach whom with these (merged) values: what is not named must not be reached."""
    found = {name: set(calls) for name, calls in _OTHERS.items()}
    for domain in APIS:
        store = {"store"} if domain in _STORE else set()
        found[domain] = {"database", "cache", *store, *_API[domain]}
        found[f"worker-{domain}"] = {"database", "broker", *store, *_WORKER.get(domain, set())}
    away = {
        *(() if values["cache"]["enabled"] else ("cache",)),
        *(() if values["search"]["engine"] == "elasticsearch" else ("index",)),
        *(() if values["learning"]["languageModel"] else ("languageModel",)),
    }
    for name, calls in found.items():
        calls -= away
        if values["tracing"]["host"] and name not in _UNTRACED:
            calls.add("collector")
        secret = name not in _WITHOUT_SECRETS and (name != "web" or values["cache"]["enabled"])
        if values["secrets"]["vaultAgent"]["enabled"] and secret:
            calls.add("vault")
        if values["pooler"]["enabled"] and name in APIS:
            calls ^= {"database", "pooler"}
    return found


def lets(values: dict[str, Any]) -> None:
    """CheckFailed: a connection that passes and must not, or the other way round."""
    values = apart(values)
    objects = chart.rendered(values)
    if wrong := differences(objects, chart.merged(values)):
        raise CheckFailed("; ".join(sorted(wrong)))


def ways(values: dict[str, Any]) -> None:
    """CheckFailed: a process that is told an address and may not go there; of addresses outside only the port is known."""
    objects = chart.rendered(values)
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    services = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Service"}
    wanted, outside, wrong = table(chart.merged(values)), chart.merged(values)["network"]["outside"], set()
    for component, template in pods(objects):
        here = End(template["metadata"]["labels"], NAMESPACE)
        ports = {port for name in wanted[component] & outside.keys() for port in outside[name]["ports"]}
        for name, url in environment(objects, template).items():
            if not url.startswith(("http://", "https://")) or GOES.get(name, component) not in {
                *wanted[component],
                component,
            }:
                continue
            split = urlsplit(url.replace("{domain}", GOES.get(name, "")))
            port = split.port or (443 if split.scheme == "https" else 80)
            service = services.get(str(split.hostname).split(".")[0])
            there = End({**service["selector"], "app.kubernetes.io/name": "smartfit"}, NAMESPACE) if service else None
            if not (may_connect(policies, here, there, port) if there else port in ports):
                wrong.add(f"{component} may not go to {url} ({name})")
    if wrong:
        raise CheckFailed("; ".join(sorted(wrong)))


def apart(values: dict[str, Any]) -> dict[str, Any]:
    """The values with an address and a port of its own for everything outside, so that it can be told apart."""
    changed = copy.deepcopy(values)
    outside = changed.setdefault("network", {}).setdefault("outside", {})
    for number, name in enumerate(OUTSIDE):
        outside[name] = {"to": [{"ipBlock": {"cidr": f"198.51.100.{number}/32"}}], "ports": [20_000 + number]}
    return changed


def differences(objects: list[dict[str, Any]], values: dict[str, Any]) -> list[str]:
    """What passes between any two of the release and everything outside, against the table."""
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    ends = {component: End(template["metadata"]["labels"], NAMESPACE) for component, template in pods(objects)}
    ends["run"] = End(_run_labels(objects), NAMESPACE)
    wanted, wrong = table(values), []
    if unknown := ends.keys() - wanted.keys():
        wrong.append(f"not in the table: {', '.join(sorted(unknown))}")
    strange = End({"app.kubernetes.io/component": "gateway"}, {"kubernetes.io/metadata.name": "elsewhere"})
    scraper = End({}, {"kubernetes.io/metadata.name": "monitoring"})
    dns = End({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
    world = End(address="203.0.113.9")
    every = sorted({*PORTS.values(), *FIGURES.values(), *(port for ports in WORLD.values() for port in ports), 9901})

    def expect(what: str, must: bool, does: bool) -> None:
        if must != does:
            wrong.append(f"{what} {'must be let through' if must else 'must not be'}")

    for name, end in ends.items():
        for other, there in ends.items():
            for port in every:
                must = name != other and other in wanted[name] and PORTS.get(other) == port
                expect(f"{name} to {other}:{port}", must, may_connect(policies, end, there, port))
        for number, other in enumerate(OUTSIDE):
            there = End(address=f"198.51.100.{number}")
            expect(f"{name} to {other}", other in wanted[name], may_connect(policies, end, there, 20_000 + number))
        expect(f"{name} to anywhere", False, may_connect(policies, end, world, 443))
        expect(f"{name} to DNS", bool(wanted[name]), may_connect(policies, end, dns, 53, "UDP"))
        for port in every:
            open_ = port in WORLD.get(name, ())
            expect(f"the world to {name}:{port}", open_, may_connect(policies, world, end, port))
            expect(f"another namespace to {name}:{port}", open_, may_connect(policies, strange, end, port))
            figures = open_ or FIGURES.get(name) == port
            expect(f"Prometheus to {name}:{port}", figures, may_connect(policies, scraper, end, port))
    return wrong


def _run_labels(objects: list[dict[str, Any]]) -> dict[str, str]:
    (found,) = [each for each in objects if "dagster.yaml" in each.get("data", {})]
    launcher = yaml.safe_load(found["data"]["dagster.yaml"])["run_launcher"]["config"]["run_k8s_config"]
    labels: dict[str, str] = launcher["pod_template_spec_metadata"]["labels"]
    return labels
