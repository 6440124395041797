"""A fault begins its trace where it was seen: at the prober, or in a device's own line. Both run on gevent, as does their export."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from infra.local.postgres import free_port
from platform_api.core.database import unit_of_work
from platform_api.core.models import OutboxEvent
from tests import monitoring_world as world
from tests.monitoring_world import QUICK, Plant
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def receiver() -> str:
    """URL of the receiver of spans."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def site(postgres: Any, tmp_path_factory: pytest.TempPathFactory, receiver: str) -> Iterator[Plant]:
    """Prober, heartbeat server, equipment and receiver."""
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    made = Plant(tmp_path_factory.mktemp("traced"), postgres.urls["monitoring"], **QUICK, **traced)
    made.start("infra.sandboxes.otlp", "--port", receiver.rpartition(":")[2], ready=f"{receiver}/healthz", wait=False)
    world.empty()
    for start in (made.start_heartbeat, made.start_sandbox, made.start_prober):
        start(wait=False)
    made.all_ready()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("damage", "service", "root"),
    [("error", "smartfit-prober", "record echoes"), ("trouble", "smartfit-heartbeat", "heartbeat")],
)
def test_a_fault_is_a_trace_from_where_it_was_seen(
    site: Plant, receiver: str, damage: str, service: str, root: str
) -> None:
    world.branch(damage)
    (item,) = world.register(1, site.echo_base, damage)
    site.simulate([item])
    wait_for(lambda: bool(world.state_of(item.equipment_id).last_echo_at), 60)
    site.damage(damage, item.equipment_id)
    wait_for(lambda: bool(_published(item.equipment_id)), 60)
    trace_id = str(_published(item.equipment_id)[0]["traceparent"]).split("-")[1]
    found: list[dict[str, Any]] = []

    def exported() -> bool:
        answer = site.session.get(f"{receiver}/spans", params={"trace_id": trace_id}, timeout=5)
        found[:] = answer.json()["spans"]
        return any(each["parent_id"] is None for each in found)

    wait_for(exported, 30)
    (begun,) = [each for each in found if each["parent_id"] is None]
    assert (begun["service"], begun["name"], begun["error"]) == (service, root, False)
    statements = [each for each in found if "outbox" in each["attributes"].get("db.query.text", "")]
    assert {each["parent_id"] for each in statements} == {begun["span_id"]}


def test_echoes_that_find_nothing_make_no_trace(site: Plant, receiver: str) -> None:
    spans = site.session.get(f"{receiver}/spans", timeout=5).json()["spans"]
    roots = {each["name"] for each in spans if each["parent_id"] is None}
    assert roots <= {"record echoes", "heartbeat"}


def _published(equipment_id: str) -> list[dict[str, Any]]:
    """Envelopes of the faults of an item."""
    with unit_of_work("monitoring") as session:
        rows = session.scalars(select(OutboxEvent).where(OutboxEvent.type == "monitoring.EquipmentFault")).all()
    return [row.envelope for row in rows if row.envelope["subject"] == equipment_id]
