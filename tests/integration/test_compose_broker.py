"""The brokers of compose.yaml: with the configuration that is mounted there, three nodes become one cluster that tells its figures."""

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from infra.containers import init
from infra.containers.described import FOLDER
from infra.local.postgres import free_port
from infra.local.rabbitmq import RabbitNode, cluster, executable
from tests.waiting import wait_for


@dataclass
class ComposeNode(RabbitNode):
    """A node with the files of compose.yaml; only names and ports are of this machine."""

    users: str = field(default="", repr=False)
    figures: int = field(default_factory=free_port)

    def prepare(self) -> None:
        super().prepare()
        text = (FOLDER / "rabbitmq" / "rabbitmq.conf").read_text(encoding="utf-8")
        text = re.sub(r"rabbit@rabbitmq-(\d)", r"smartfit\1@localhost", text)
        text = text.replace("prometheus.tcp.port = 15692", f"prometheus.tcp.port = {self.figures}")
        assert str(self.figures) in text
        (self.folder / "rabbitmq.conf").write_text(text + self.users, encoding="ascii")
        (self.folder / "plugins").write_text((FOLDER / "rabbitmq" / "enabled_plugins").read_text(), encoding="ascii")


@pytest.mark.usefixtures("rabbitmq_installed")
def test_three_brokers_become_one_cluster(tmp_path: Path) -> None:
    init.make(tmp_path / "installation")
    users = (tmp_path / "installation" / "secrets" / "rabbitmq_users.conf").read_text()
    nodes = [
        ComposeNode(each.folder, each.name, each.cookie, epmd_port=each.epmd_port, users=users)
        for each in cluster(tmp_path / "nodes")
    ]
    try:
        for node in nodes:
            node.start()
            node.wait()
        wait_for(lambda: len(_running(nodes[0])) == 3, 60, "three nodes")
        password = users.rpartition("default_pass = ")[2].strip()
        command = [executable("rabbitmqctl"), "authenticate_user", "smartfit", password]
        assert subprocess.run(command, env=nodes[2].environment(), capture_output=True).returncode == 0
        for node in nodes:
            url = f"http://127.0.0.1:{node.figures}/metrics/per-object"
            assert "rabbitmq_identity_info" in requests.get(url, timeout=30).text
    finally:
        for node in reversed(nodes):
            node.stop()


def _running(node: RabbitNode) -> list[str]:
    command = [executable("rabbitmqctl"), "cluster_status", "--formatter", "json", "-q"]
    done = subprocess.run(command, env=node.environment(), capture_output=True, text=True)
    return list(json.loads(done.stdout)["running_nodes"]) if done.returncode == 0 else []
