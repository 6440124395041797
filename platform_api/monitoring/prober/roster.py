"""The items of the shards that this worker holds, as it remembers them between two looks at the database."""

import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.addresses import Network
from platform_api.monitoring.models import Equipment, EquipmentState
from platform_api.monitoring.prober.echo import Target
from platform_api.monitoring.prober.schedule import phase_of
from platform_api.monitoring.tracker import Background, Rules, Tracker

OVERLAP = timedelta(seconds=35)
"""Changes are looked for so far back: a transaction may commit this long after the time that it wrote down (the
statement timeout of 30 s bounds it)."""


# Columns, not objects: ten thousand rows are read while everything else waits.
_COLUMNS = (
    Equipment.equipment_id, Equipment.shard, Equipment.version, Equipment.echo_url, Equipment.created_at,
    Equipment.retired_at, EquipmentState.causes, EquipmentState.suspect_since, EquipmentState.loss,
    EquipmentState.flaps, EquipmentState.recovered_at, EquipmentState.last_echo_at,
)  # fmt: skip


@dataclass(eq=False)
class Device:
    """An item that is asked. `judged_from`: it is not held silent before then. `unclear`: the last probe said nothing."""

    equipment_id: str
    shard: int
    version: int
    target: Target
    tracker: Tracker
    phase: float
    judged_from: datetime
    answered_at: datetime | None = None
    rtt_ms: float | None = None
    unwritten: bool = False
    asking: bool = False
    unclear: bool = False


class Roster:
    """Devices by id."""

    def __init__(
        self, rules: Rules, networks: Sequence[Network], context: ssl.SSLContext, commissioning: timedelta
    ) -> None:
        self.rules, self.networks, self.context, self.commissioning = rules, networks, context, commissioning
        self.background = Background()
        self.devices: dict[str, Device] = {}

    def load(
        self, session: Session, shards: Iterable[int], since: datetime | None
    ) -> tuple[list[Device], list[Device]]:
        """Bring the devices of `shards` up to date with the database.

        Args:
            since: only items that were changed after this; None: all.

        Returns:
            (devices that are new or are asked otherwise now, devices that are asked no more).
        """
        query = (
            select(*_COLUMNS)
            .join(EquipmentState, EquipmentState.equipment_id == Equipment.equipment_id)
            .where(Equipment.shard.in_(sorted(shards)))
        )
        query = (
            query.where(Equipment.retired_at.is_(None)) if since is None else query.where(Equipment.updated_at > since)
        )
        added, removed = [], []
        for row in session.execute(query):
            known = self.devices.get(row.equipment_id)
            if known is not None and known.version >= row.version:
                continue
            if known is not None and known.target.url == row.echo_url and row.retired_at is None:
                known.version = row.version
                continue
            if known is not None:
                removed.append(self.devices.pop(row.equipment_id))
            if row.echo_url is not None and row.retired_at is None:
                added.append(self._add(row))
        return added, removed

    def drop(self, shards: frozenset[int]) -> list[Device]:
        """Forget the devices that are not of `shards`. Returns them."""
        gone = [device for device in self.devices.values() if device.shard not in shards]
        for device in gone:
            del self.devices[device.equipment_id]
        return gone

    def _add(self, row: Any) -> Device:
        silent = "no_echo" in row.causes
        tracker = Tracker(
            self.rules, self.background, silent=silent, loss=row.loss, flaps=row.flaps, recovered_at=row.recovered_at
        )
        if row.suspect_since is not None and not silent:
            # Somebody was looking into it: go on with quick re-probes.
            tracker.misses, tracker.missing_since = 1, row.suspect_since
        never = row.last_echo_at is None
        device = Device(
            equipment_id=row.equipment_id,
            shard=row.shard,
            version=row.version,
            target=Target(row.echo_url, self.networks, self.context),
            tracker=tracker,
            phase=phase_of(row.equipment_id),
            answered_at=row.last_echo_at,
            judged_from=row.created_at + (self.commissioning if never else timedelta()),
        )
        self.devices[row.equipment_id] = device
        return device
