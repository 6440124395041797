"""Versions that come as signed archives: fetched, checked, installed; one that must not be trusted never serves."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ml_bentos import archives, registry
from ml_bentos.laundry import package
from platform_api.core.events import TransientFailure
from platform_api.mlops import packages, rollout, storage
from platform_api.mlops.judge import candidate, judge
from platform_api.mlops.settings import settings
from tests.integration.mlops.conftest import KEY, lay, taught

STRANGER = Ed25519PrivateKey.generate()
pytestmark = pytest.mark.usefixtures("trusted")


def test_a_version_from_elsewhere_is_fetched_and_serves(
    world: Any, versions: list[str], archive: bytes, elsewhere: None, trusted: Path
) -> None:
    assert world.refused("POST", "/models/laundry/versions", json={"version": versions[1]}) == (422, "version_unknown")
    lay(versions[1], archive)
    found = world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    assert (found["archive_key"], found["archive_bytes"]) == (f"models/laundry/{versions[1]}.tar", len(archive))
    assert (trusted / package.NAME / versions[1] / registry.MANIFEST).is_file()
    assert world.deploy(versions[1])["state"] == "live"
    assert world.submit(world.task(taught("hung", 1)))["model_version"] == versions[1]
    told = world.published("mlops.ModelStaged")[0]["data"]
    assert told["archive"] == {
        "object_key": found["archive_key"], "sha256": found["archive_sha256"], "bytes": len(archive),
    }  # fmt: skip


def test_another_machine_fetches_what_is_live_by_itself(
    world: Any, versions: list[str], archive: bytes, elsewhere: None, trusted: Path
) -> None:
    lay(versions[1], archive)
    assert world.deploy(versions[1])["state"] == "live"
    shutil.rmtree(trusted)
    for cached in (judge, candidate):
        cached.cache_clear()
    assert rollout.follow()
    assert world.submit(world.task(taught("hung", 1)))["verdict"] == "done"


def bad(archive: bytes, how: str, versions: list[str]) -> bytes:
    if how == "truncated":
        return archive[: len(archive) // 2]
    if how == "damaged":
        middle = len(archive) // 2
        return archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1 :]
    if how == "signature_wrong":
        return archives.pack(package.NAME, versions[1], STRANGER)
    if how == "name_wrong":
        return archives.pack(package.NAME, versions[0], KEY)
    return b"no archive at all"


@pytest.mark.parametrize("how", ["truncated", "damaged", "signature_wrong", "name_wrong", "not_an_archive"])
def test_what_is_not_to_be_trusted_is_not_registered(
    world: Any, versions: list[str], archive: bytes, how: str, models_dir: Path, tmp_path: Path, trusted: Path
) -> None:
    data = bad(archive, how, versions)
    own = models_dir / "bentoml" / "models" / package.NAME / versions[1]
    own.rename(tmp_path / "away")
    try:
        lay(versions[1], data)
        answer = world.call("POST", "/models/laundry/versions", json={"version": versions[1]})
    finally:
        (tmp_path / "away").rename(own)
    assert (answer.status_code, answer.json["code"]) == (422, "package_refused")
    # A tar that ends too soon is told as either.
    codes = ("truncated", "not_an_archive") if how == "truncated" else (how,)
    assert any(f": {code}: " in answer.json["detail_en"] for code in codes)
    assert not (trusted / package.NAME / versions[1]).exists()


@pytest.mark.parametrize("how", ["truncated", "damaged", "signature_wrong", "missing"])
def test_what_is_no_longer_what_was_registered_never_serves(
    world: Any, versions: list[str], archive: bytes, how: str
) -> None:
    world.deploy(versions[0])
    lay(versions[1], archive)
    world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    if how == "missing":
        storage.store().delete(packages.key_of("laundry", versions[1]))
    else:
        lay(versions[1], bad(archive, how, versions))
    asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[1], "stages": []})
    rollout.carry_out()
    found = world.ok("GET", f"/deployments/{asked['deployment_id']}")
    assert (found["state"], found["error"].split(":")[0]) == ("failed", "missing" if how == "missing" else "damaged")
    assert world.ok("GET", "/models/laundry")["live_version"] == versions[0]
    assert world.published("mlops.ModelHeldBack")[0]["data"]["reason"] == found["error"]
    lay(versions[1], archive)
    assert world.deploy(versions[1])["state"] == "live", "once it is whole again"


def test_a_good_hash_does_not_stand_for_a_signature(world: Any, versions: list[str]) -> None:
    world.deploy(versions[0])
    lay(versions[1], archives.pack(package.NAME, versions[1], STRANGER))
    found = world.deploy(versions[1])
    assert (found["state"], found["error"].split(":")[0]) == ("failed", "signature_wrong")


def test_where_no_key_is_trusted_no_archive_is(
    world: Any, versions: list[str], archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMARTFIT_MODEL_PUBLIC_KEYS_FILE")
    settings.cache_clear()
    lay(versions[1], archive)
    found = world.deploy(versions[1])
    assert (found["state"], "SMARTFIT_MODEL_PUBLIC_KEYS_FILE" in found["error"]) == ("failed", True)


Away = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def store_away(objects: Path, tmp_path: Path) -> Away:
    """`with store_away():` the store's folder is somewhere else."""

    @contextmanager
    def away() -> Iterator[None]:
        objects.rename(tmp_path / "objects-away")
        try:
            yield
        finally:
            (tmp_path / "objects-away").rename(objects)

    return away


def registered(world: Any, versions: list[str], archive: bytes, *stages: str) -> str:
    """The path of a deployment of the second version that is asked for, beside the first that serves."""
    world.deploy(versions[0])
    lay(versions[1], archive)
    world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[1], "stages": list(stages)})
    return f"/deployments/{asked['deployment_id']}"


@pytest.mark.parametrize("how", ["moved", "empty", "refusing"])
def test_a_store_that_is_away_for_a_while_ends_no_deployment(
    world: Any, versions: list[str], archive: bytes, store_away: Away, objects: Path, trusted: Path, how: str
) -> None:
    path = registered(world, versions, archive, "shadow")
    shutil.rmtree(trusted, ignore_errors=True)
    with store_away():
        if how == "empty":
            objects.mkdir()  # where a volume was mounted
        elif how == "refusing":
            objects.write_text("no folder")
        for _ in range(rollout.MOST_ATTEMPTS + 2):
            rollout.carry_out()
        found = world.ok("GET", path)
        assert (found["state"], found["error"]) == ("preparing", None)
        assert found["waits_for"].startswith("storage: ")
        assert "; it fails at 20" in found["waits_for"]
        assert world.ok("GET", "/models/laundry")["live_version"] == versions[0]
        if how == "empty":
            objects.rmdir()
        elif how == "refusing":
            objects.unlink()
    rollout.carry_out()
    found = world.ok("GET", path)
    assert (found["state"], found["waits_for"].split(":")[0]) == ("shadow", "shadow")
    with store_away():
        world.ok("POST", f"{path}/promote")
        rollout.evaluate()
        found = world.ok("GET", path)
        assert (found["state"], found["waits_for"].split(":")[0]) == ("shadow", "storage")
    rollout.evaluate()
    assert world.ok("GET", path)["state"] == "live"
    assert [step["state"] for step in world.ok("GET", path)["steps"]] == ["requested", "preparing", "shadow", "live"]
    assert world.published("mlops.ModelHeldBack") == []


def test_a_store_that_stays_away_ends_it_in_the_end(
    world: Any, versions: list[str], archive: bytes, store_away: Away
) -> None:
    path = registered(world, versions, archive)
    with store_away():
        rollout.carry_out()
        world.do("UPDATE deployment SET obstacle_since = now() - interval '9 minutes' WHERE state = 'preparing'")
        rollout.carry_out()
        assert world.ok("GET", path)["state"] == "preparing"
        world.do("UPDATE deployment SET obstacle_since = now() - interval '10 minutes' WHERE state = 'preparing'")
        rollout.carry_out()
    found = world.ok("GET", path)
    assert (found["state"], found["error"].split(":")[:2]) == ("failed", ["not reached for 10 min", " storage"])
    assert world.published("mlops.ModelHeldBack")[0]["data"]["reason"] == found["error"]
    assert world.ok("GET", "/models/laundry")["live_version"] == versions[0]


def test_a_task_handed_in_while_the_store_is_away_is_judged_when_it_is_back(
    world: Any, versions: list[str], store_away: Away
) -> None:
    world.deploy(versions[0])
    task = world.task(taught("hung", 1))
    with store_away(), pytest.raises(TransientFailure):
        world.submit(task)
    assert world.submit(task)["verdict"] == "done"
