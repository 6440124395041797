"""The checks of images and Compose find what is wrong with them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.checks import containers
from infra.checks.check import CheckFailed
from infra.containers import described, init

Services = dict[str, Any]
Change = Callable[[Services], object]


@pytest.fixture(scope="module")
def services() -> Services:
    return described.tried()["services"]


@pytest.mark.parametrize("check", list(containers.checks()), ids=lambda check: check.name)
def test_the_installation_passes(check: Any) -> None:
    check.run()


EACH: dict[str, tuple[Callable[..., None], str, Change, str]] = {
    "a module that is not there": (
        containers.commands, "worker", lambda s: s["command"].__setitem__(2, "platform_api.wroker"), "wroker",
    ),
    "a setting that nobody reads": (
        containers.settings, "api", lambda s: s["environment"].update(SMARTFIT_DRAIN_SECOND="8"), "SMARTFIT_DRAIN_SECOND",
    ),
    "a secret that is not mounted": (containers.settings, "sender", lambda s: s["secrets"].clear(), "is not mounted"),
    "the newest image, whatever it is": (containers.pinned, "redis", lambda s: s.update(image="redis:latest"), "latest"),
    "root": (containers.hardened, "api", lambda s: s.pop("user"), "root"),
    "a root file system that can be written": (
        containers.hardened, "worker", lambda s: s.update(read_only=False), "root file system",
    ),
    "capabilities": (containers.hardened, "postgres", lambda s: s.pop("cap_drop"), "capabilities"),
    "the host's processes": (containers.hardened, "prober", lambda s: s.update(pid="host"), "host's"),
    "no health check": (containers.healthy, "minio", lambda s: s.pop("healthcheck"), "never asked"),
    "a health check at another port": (
        containers.healthy, "indexer", lambda s: s["environment"].update(SMARTFIT_SEARCH_INDEXER_PORT="9"), "does not listen",
    ),
    "no limits": (containers.limited, "kibana", lambda s: s.pop("deploy"), "limits"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(EACH))
def test_what_is_wrong_with_a_service_is_found(name: str, services: Services) -> None:
    check, service, change, told = EACH[name]
    damaged = copy.deepcopy(services[service])
    change(damaged)
    with pytest.raises(CheckFailed, match=told):
        check(service, damaged, described.reasons()[service])


WHOLE: dict[str, tuple[Callable[[Services], None], Change, str]] = {
    "Prometheus on another network": (
        containers.scraped, lambda all: all["worker"].update(networks={"data": None}), "worker",
    ),
    "a service that the gateway asks and that is not there": (containers.routed, lambda all: all.pop("dagster"), "dagster"),
    "a database open to the world": (
        containers.published, lambda all: all["postgres"].update(ports=[{"target": 5432, "published": "5432"}]), "postgres",
    ),
    "web that may reach the domains on a network where it is not believed": (
        containers.believed, lambda all: all["web"]["environment"].update(SMARTFIT_WEB_API_URL="http://api:8000"), "metrics",
    ),
    "a domain that does not believe the gateway and web": (
        containers.believed, lambda all: all["api"]["environment"].update(SMARTFIT_TRUSTED_PROXIES="127.0.0.0/8"), "api does not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WHOLE))
def test_what_is_wrong_between_services_is_found(name: str, services: Services) -> None:
    check, change, told = WHOLE[name]
    damaged = copy.deepcopy(services)
    change(damaged)
    with pytest.raises(CheckFailed, match=told):
        check(damaged)


def test_hadolint_finds_what_is_wrong_with_a_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN sudo apt-get install curl\n")
    with pytest.raises(CheckFailed, match="DL3006"):
        containers.linted(tmp_path / "Dockerfile")


def test_an_installation_keeps_its_secrets_to_its_owner_and_to_those_it_gives_them_to(tmp_path: Path) -> None:
    folder = tmp_path / "installation"
    init.make(folder, ("gym.example",))
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert folder.stat().st_mode & 0o777 == 0o700
    # Containers run as several users; each is given files, never the folder.
    assert all(file.stat().st_mode & 0o777 == 0o444 for file in (folder / "secrets").glob("*") if file.is_file())
    mounted = {
        Path(volume["source"]) for service in described.understood(folder)["services"].values()
        for volume in service.get("volumes", []) if volume["type"] == "bind"
    }  # fmt: skip
    assert not mounted & {folder, folder / "secrets", folder / "authority"}
    # Again: nothing changes.
    init.make(folder, ("gym.example",))
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
