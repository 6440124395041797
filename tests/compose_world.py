"""A service of compose.yaml as a process here: its command and environment, with paths, hosts and ports of this machine.

What a container's file system and network would do is done by replacing text: /etc/smartfit/... becomes the file that is mounted
there, a service's name and port an address on loopback.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.containers.described import Service
from infra.local.postgres import free_port
from tests.local_world import bare
from tests.waiting import wait_for

# Listening is on loopback here.
ANY = "0.0.0.0"


def _aliases(network: dict[str, Any] | None) -> list[str]:
    return list((network or {}).get("aliases", ()))


class Containers:
    """Processes of one installation.

    Attributes:
        document: compose.yaml as Compose understands it.
        hosts: "name:port" -> "address:port", for what is not started here.
        programs: folder of the programs that the image has.
    """

    def __init__(self, document: dict[str, Any], folder: Path, hosts: Mapping[str, str], programs: Path) -> None:
        self.services: dict[str, Service] = document["services"]
        self.secrets = {name: Path(secret["file"]) for name, secret in document["secrets"].items()}
        self.folder, self.hosts, self.programs = folder, dict(hosts), programs
        self.ports: dict[tuple[str, str], int] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def port(self, service: str, inside: str) -> int:
        """Where the process has what its container has at port `inside`; from then on others find it there."""
        if (service, inside) not in self.ports:
            self.ports[service, inside] = free_port()
            aliases = {name for network in self.services[service]["networks"].values() for name in _aliases(network)}
            for name in (service, *aliases):
                self.hosts[f"{name}:{inside}"] = f"127.0.0.1:{self.ports[service, inside]}"
        return self.ports[service, inside]

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        """Start it; its output goes to a file."""
        service = self.services[name]
        environment = {
            key: self._here(name, key, str(value)) for key, value in (service.get("environment") or {}).items()
        }
        words = service["command"]
        command = [
            str(self.port(name, word)) if before == "--port" else self._here(name, "", word)
            for before, word in zip(["", *words], words, strict=False)
        ]
        command[0] = str(self.programs / command[0])
        # The image's own settings, which no service here changes.
        own = {"HOME": str(self.folder / "tmp"), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        (self.folder / "tmp").mkdir(exist_ok=True)
        with self.log(name).open("ab") as output:
            self.running[name] = subprocess.Popen(
                command,
                env={"PATH": bare()["PATH"], **own, **environment},
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )
        return self.running[name]

    def job(self, name: str) -> None:
        """Run it to its end; it must succeed."""
        assert self.start(name).wait(180) == 0, self.said(name)

    def healthy(self, name: str) -> bool:
        """What the service's own health check says; fails where the process has ended."""
        assert self.running[name].poll() is None, self.said(name)
        _, *words = self.services[name]["healthcheck"]["test"]
        command = [self._here(name, "", word) for word in words]
        command[0] = str(self.programs / command[0])
        return subprocess.run(command, cwd=self.folder, env=bare(), capture_output=True).returncode == 0

    def await_healthy(self, name: str) -> None:
        """Fails with what it said where it does not become so."""
        try:
            wait_for(lambda: self.healthy(name), 180, name, every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said(name)}") from None

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        return f"{name}: {self.log(name).read_text(errors='replace')[-3000:]}"

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def _here(self, service: str, key: str, value: str) -> str:
        if key.startswith("SMARTFIT_") and key.endswith("_PORT") and value.isdigit():
            return str(self.port(service, value))
        if value == ANY:
            return "127.0.0.1"
        for target, source in sorted(self._mounts(service).items(), key=lambda pair: -len(pair[0])):
            if value == target or value.startswith(f"{target}/"):
                value = str(source) + value[len(target) :]
        mine = re.fullmatch(r"(https?://127\.0\.0\.1:)(\d+)(/.*)", value)
        if mine:
            return f"{mine.group(1)}{self.port(service, mine.group(2))}{mine.group(3)}"
        return self.translated(value)

    def translated(self, text: str) -> str:
        """With hosts of this machine in the place of names of services."""
        for name in sorted(self.hosts, key=len, reverse=True):
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?!\d)", self.hosts[name], text)
        return text

    def _mounts(self, name: str) -> dict[str, Path]:
        service, found = self.services[name], {}
        for secret in service.get("secrets", []):
            source = self.secrets[secret["source"]]
            copy = self.folder / "secrets" / source.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(self.translated(source.read_text(encoding="utf-8")), encoding="utf-8")
            found[secret["target"]] = copy
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                found[volume["target"]] = Path(volume["source"])
            else:
                found[volume["target"]] = self.folder / "volumes" / volume["source"]
                found[volume["target"]].mkdir(parents=True, exist_ok=True)
        return found
