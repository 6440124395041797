"""What is sealed under an old key is put under the one that seals now, so that the old one can be taken out of the ring.

Only the data key is wrapped anew; no face is decrypted. A row or object is found by the key id that stands in its blob, so
whoever is stopped goes on where it was, and several may work side by side. Nobody waits: rows are locked in small batches,
and blobs under either key open all the while.

Objects know no transactions: one could be deleted between being read and being written again, and a face must not come
back. So the keys of a batch are noted in the store first, and whatever its domain does not name any more is deleted
again afterwards; a batch that was cut off is looked through by the next run.
"""

import importlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from platform_api.core.database import unit_of_work
from platform_api.core.encryption import DecryptionError, Envelope
from platform_api.core.storage import ObjectStore

log = structlog.get_logger(__name__)

BATCH = 200
NOTES = "resealing/batch.json"


@dataclass(frozen=True)
class Column:
    """A column of sealed blobs. `context(row)` is what a row's blob is bound to."""

    model: type[Any]
    name: str
    context: Callable[[Any], bytes]


@dataclass(frozen=True)
class Objects:
    """Objects below `prefix` that go when their domain names them no more: `named(session, keys)` are those it names."""

    prefix: str
    named: Callable[[Session, Sequence[str]], Iterable[str]]


@dataclass
class Outcome:
    """What was done: blobs under the new key; `failed`: what opens under no key of the ring, and was left as it is."""

    rows: int = 0
    objects: int = 0
    failed: list[str] = field(default_factory=list)


def of_domain(domain: str) -> tuple[list[Column], list[Objects]]:
    """What a domain seals, as its module `sealed` lists it."""
    name = f"platform_api.{domain}.sealed"
    if importlib.util.find_spec(name) is None:
        return [], []
    module = importlib.import_module(name)
    return list(module.COLUMNS), list(getattr(module, "OBJECTS", []))


def remaining(domains: Iterable[str], store: ObjectStore, kid: str) -> int:
    """How many blobs are not under key `kid`."""
    count = sum(1 for _ in _objects(store, kid))
    for domain in domains:
        for column in of_domain(domain)[0]:
            with unit_of_work(domain) as session:
                query = _not_under(column, kid)
                count += session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return count


def reseal_rows(domain: str, column: Column, envelope: Envelope, outcome: Outcome) -> None:
    """All rows of a column, a batch in a transaction."""
    kid, (key,) = envelope.keyring.current, column.model.__table__.primary_key.columns
    after: Any = None
    while True:
        with unit_of_work(domain) as session:
            query = _not_under(column, kid).order_by(key).limit(BATCH)
            if after is not None:
                query = query.where(key > after)
            rows = session.scalars(query.with_for_update()).all()
            for row in rows:
                after = getattr(row, key.name)
                try:
                    blob = envelope.rewrap(bytes(getattr(row, column.name)), column.context(row))
                except DecryptionError as error:
                    outcome.failed.append(f"{domain}.{column.model.__tablename__}.{column.name}: {error}")
                else:
                    setattr(row, column.name, blob)
                    outcome.rows += 1
        if not rows:
            return


def reseal_objects(store: ObjectStore, listed: Sequence[tuple[str, Objects]], outcome: Outcome) -> None:
    """All sealed objects. `listed`: (domain, objects) of every domain."""
    assert store.envelope is not None
    _finish_batch(store, listed)
    batch: list[str] = []
    for key in _objects(store, store.envelope.keyring.current):
        batch.append(key)
        if len(batch) == BATCH:
            _reseal_batch(store, listed, batch, outcome)
            batch = []
    if batch:
        _reseal_batch(store, listed, batch, outcome)


def _reseal_batch(
    store: ObjectStore, listed: Sequence[tuple[str, Objects]], keys: Sequence[str], outcome: Outcome
) -> None:
    store.put(NOTES, json.dumps(keys).encode(), sealed=False)
    for key in keys:
        try:
            store.rewrap(key)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except DecryptionError as error:
            outcome.failed.append(f"{key}: {error}")
        else:
            outcome.objects += 1
    _finish_batch(store, listed)


def _finish_batch(store: ObjectStore, listed: Sequence[tuple[str, Objects]]) -> None:
    """Delete what came back by being written again after its domain had deleted it."""
    try:
        keys: list[str] = json.loads(store.get(NOTES, sealed=False))
    except FileNotFoundError:
        return
    for domain, objects in listed:
        mine = [key for key in keys if key.startswith(objects.prefix)]
        if mine:
            with unit_of_work(domain) as session:
                gone = set(mine) - set(objects.named(session, mine))
            for key in gone:
                store.delete(key)
                log.info("object_gone", domain=domain)
    store.delete(NOTES)


def _objects(store: ObjectStore, kid: str) -> Iterable[str]:
    for key in store.list():
        if key.endswith(".part"):
            continue  # being written, or never finished
        try:
            head = store.read(key, 0, 64)
            under = Envelope.key_id(head)
        except (FileNotFoundError, DecryptionError):
            continue  # gone, or not sealed
        if under != kid:
            yield key


def _not_under(column: Column, kid: str) -> Select[Any]:
    blob = getattr(column.model, column.name)
    named = bytes([len(kid)]) + kid.encode()
    # As Envelope lays it out: the key id's length and the key id follow the four bytes of the magic.
    return select(column.model).where(blob.is_not(None), func.substring(blob, 5, len(named)) != named)
