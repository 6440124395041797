"""What the tests of search share: branches by hand, events as the worker delivers them, an Elasticsearch to talk to."""

import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from uuid_utils.compat import uuid7

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.search import events  # noqa: F401 - registers the handlers
from platform_api.search.documents import Facts
from platform_api.search.engines.cluster import CompatibleNode

GANGNAM, HONGDAE, SEOMYEON = (37.4979, 127.0276), (37.5572, 126.9245), (35.1577, 129.0590)
WEEKDAYS = {day: [["06:00", "23:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


def facts(branch_id: str, name: str, **changes: Any) -> Facts:
    """A branch near Gangnam station, unless said otherwise."""
    given: dict[str, Any] = {
        "branch_id": branch_id,
        "name": name,
        "address": "서울특별시 강남구 역삼동 823-4",
        "region": "서울 강남구",
        "latitude": GANGNAM[0],
        "longitude": GANGNAM[1],
        "last_change": clock.now(),
        **changes,
    }
    return Facts(**given)


def three() -> list[Facts]:
    """A branch in Gangnam that never closes, one in Hongdae with hours, one in Busan."""
    return [
        facts("gangnam", "스마트피트니스 강남점", name_en="Smart Fitness Gangnam", amenities=("parking", "shower"),
              prices=({"plan": "1개월", "won": 59_000, "months": 1},), description="조용하고 깨끗한 헬스장",
              reviews=4, stars=19, texts=("주차가 편해요", "조용해서 좋아요", "조용합니다", "깨끗해요")),
        facts("hongdae", "머슬팩토리 홍대점", address="서울특별시 마포구 서교동 10-1", region="서울 마포구", latitude=HONGDAE[0],
              longitude=HONGDAE[1], hours=WEEKDAYS, amenities=("pt", "pilates"), prices=({"plan": "1개월", "won": 39_000, "months": 1},)),
        facts("busan", "블랙짐 서면점", address="부산광역시 부산진구 부전동 5-1", region="부산 부산진구", latitude=SEOMYEON[0],
              longitude=SEOMYEON[1], amenities=("pool", "sauna", "parking"), prices=({"plan": "1개월", "won": 99_000, "months": 1},)),
    ]  # fmt: skip


def branch_data(branch_id: str, **changes: Any) -> dict[str, Any]:
    """The data of branch.BranchInfoCreated."""
    return {
        "branch_id": branch_id,
        "name": "스마트피트니스 강남점",
        "name_en": None,
        "description": "조용한 헬스장",
        "description_en": None,
        "address": "서울특별시 강남구 역삼동 823-4",
        "region": "서울 강남구",
        "latitude": GANGNAM[0],
        "longitude": GANGNAM[1],
        "timezone": "Asia/Seoul",
        "hours": None,
        "amenities": ["parking"],
        "prices": [{"plan": "1개월", "won": 59_000, "months": 1}],
        "capacity": None,
        "status": "open",
        "manager_ids": [],
        "phone": None,
        **changes,
    }


def deliver(type: str, subject: str, version: int, data: Mapping[str, Any]) -> None:
    """Handle an event as the worker would, in a transaction of its own."""
    event = Event(uuid7(), type, subject, version, clock.now(), dict(data))
    found = handlers("search", type)
    assert found, f"nobody hears {type}"
    with unit_of_work("search") as session:
        for handler in found:
            handler(session, event)


def branch(branch_id: str = "gangnam", version: int = 1, **changes: Any) -> str:
    """A branch, heard of by event."""
    deliver("branch.BranchInfoCreated", branch_id, version, branch_data(branch_id, **changes))
    return branch_id


def visit(member_id: str, branch_id: str = "gangnam", method: str = "face", at: datetime | None = None) -> None:
    """A member goes into a branch."""
    data = {
        "entry_id": str(uuid.uuid4()),
        "branch_id": branch_id,
        "gate_id": "g1",
        "member_id": member_id,
        "method": method,
        "reason": "granted",
        "at": (at or clock.now()).isoformat(),
    }
    deliver("access.AccessGranted", data["entry_id"], 1, data)


class ElasticsearchServer:
    """noida-db (https://pypi.org/project/noida-db): answers as Elasticsearch 8.15 to the unmodified client. It is an
    imitation: what passes here is tried against the interface, not against Lucene's behaviour or a cluster's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Raises OSError or TimeoutError where it cannot be had."""
        from noida_db import cli

        binary = Path(cli.__file__).parent / "noida-db"
        options = ["--data-dir", str(self.folder), "--only", "elasticsearch", "--elasticsearch-port", str(self.port)]
        self.process = subprocess.Popen(
            [str(binary), "start", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        client = self.client()
        end = time.monotonic() + 15
        while not client.ping():
            if self.process.poll() is not None:
                raise OSError(f"noida-db ended with {self.process.returncode}")
            if time.monotonic() > end:
                raise TimeoutError("noida-db does not answer")
            time.sleep(0.05)

    def client(self, timeout: float = 5.0) -> Elasticsearch:
        """A client as the product makes it."""
        return Elasticsearch(self.url, node_class=CompatibleNode, request_timeout=timeout, max_retries=0)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
