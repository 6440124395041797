"""The faces line on real photos: from enrolled members to a signed version with its gallery, and every way it may end before."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from flask import Flask
from sqlalchemy import delete, func, select, text

from dagster_project.faces import faces_new_members
from data_assets.faces import (
    checks,
    dataset,
    deployment,
    enrolled,
    evaluation,
    gallery,
    limits,
    model,
    reference,
    versions,
)
from data_assets.faces.enrolled import Crop
from data_assets.reading import Reader
from ml_bentos import archives
from ml_bentos.face import FaceModel, load_model, tuning
from ml_bentos.face.thresholds import Thresholds
from platform_api.app import create_app
from platform_api.auth import templates, vault
from platform_api.auth.models import Consent, Member
from platform_api.auth.settings import settings as auth_settings
from platform_api.core.database import unit_of_work
from platform_api.core.http import ServiceUnavailable
from platform_api.core.settings import Settings
from platform_api.core.storage import ObjectStore
from platform_api.mlops import storage
from platform_api.mlops.models import Deployment, Version
from platform_api.mlops.settings import settings as mlops_settings
from platform_api.worker import import_handlers
from tests.faces_world import FacesWorld, People, as_folder, enrolments, people_of
from tests.laundry_world import made_world, reading
from tests.learning_world import metadata, outcomes, served

TAUGHT = {"train": 60, "validation": 12, "test": 16}
REFERENCE = 150

# Some six hundred photos are looked at, and half of the cores may be somebody else's.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_MODELS_DIR", str(folder))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faces")


@pytest.fixture(scope="module")
def application(
    base: Path, models_dir: Path, postgres: Any, keys: Any, empty_database_of_module: None
) -> Iterator[Flask]:
    """Auth and mlops, with the key that signs the line's packages as the one that is trusted."""
    made = made_world(base, keys.keyring_file)
    key = archives.load_signing_key(made.settings.model_signing_key_file).public_key()
    (base / "trusted.json").write_text(json.dumps([base64.b64encode(key.public_bytes_raw()).decode()]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_STORAGE_URL", (base / "objects").as_uri())
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        patch.setenv("SMARTFIT_MODEL_PUBLIC_KEYS_FILE", str(base / "trusted.json"))
        # Nobody signs up here, and no face is compared with another member's: neither is called.
        patch.setenv("SMARTFIT_CARD_URL", "https://127.0.0.1:1")
        patch.setenv("SMARTFIT_CARD_API_KEY", "none")
        patch.setenv("SMARTFIT_ACCESS_INTERNAL_URL", "http://127.0.0.1:1")
        caches = (auth_settings, mlops_settings, storage.store, vault.store, vault.envelope)
        for cached in caches:
            cached.cache_clear()
        import_handlers(["auth", "mlops"])
        yield create_app(["auth", "mlops"])
        for cached in caches:
            cached.cache_clear()


@pytest.fixture(scope="module")
def empty_database_of_module(postgres: Any, empty_database: Callable[..., None]) -> None:
    empty_database("auth", "mlops")


@pytest.fixture(scope="module")
def world(application: Flask, base: Path, postgres: Any, keys: Any, token_for: Any, lfw: Path) -> Iterator[FacesWorld]:
    """Members of all splits with two photos each, and two who are in the gallery but not to be taught with."""
    laundry = made_world(base, keys.keyring_file)
    with served(application, token_for) as platform, reading(postgres.urls, postgres.reader_password) as reader:
        made = FacesWorld(laundry.store, laundry.settings, reader, platform)
        reference_people = people_of(lfw, 3, REFERENCE)
        reference.put(made.store, as_folder(reference_people, base / "reference"), {})
        rest = people_of(lfw, 2, 1000, list(reference_people))
        left = list(rest.items())
        for split, count in TAUGHT.items():
            while count:
                part, left = dict(left[:count]), left[count:]
                count -= made.enrol(part, split)
        assert made.enrol(dict(left[:2]), training=False) == 2
        first = next(iter(made.members))
        made.named_at_the_gate(first, rest[first][0])
        yield made


@pytest.fixture(scope="module")
def whole(world: FacesWorld) -> dg.ExecuteInProcessResult:
    """The whole line, once; taught for a few steps, and measured on fewer people than thresholds for a gate should be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "Plan", functools.partial(tuning.Plan, epochs=3))
        patch.setattr(limits, "LEAST_PEOPLE", 100)
        # No worker carries the deployment out here.
        patch.setattr(deployment, "STAGED_WITHIN_S", 0.0)
        return world.run()


def asset(name: str) -> dg.AssetKey:
    return dg.AssetKey(["faces", name])


def why(result: dg.ExecuteInProcessResult) -> str:
    """Why a run ended: the description of its one failure."""
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data
    return f"{event.step_key}: {failure.user_failure_data.description if failure.user_failure_data else failure.error}"


def value(world: FacesWorld, name: str) -> Any:
    return json.loads(world.store.get(f"dagster/values/faces/{name}.json", sealed=True))


def test_the_whole_line_ends_in_a_version_that_is_deployed(
    world: FacesWorld, whole: dg.ExecuteInProcessResult, application: Flask
) -> None:
    assert whole.success, outcomes(whole)
    # Of so few members nothing can be said: that is a warning, and the reference set decides.
    assert [name for name, passed in outcomes(whole).items() if not passed] == [checks.NOT_WORSE]
    version = value(world, "bento")["version"]
    with unit_of_work("mlops") as session:
        row = session.scalars(select(Version).where(Version.version == version)).one()
        assert row.model == "face"
        assert row.dataset == value(world, "dataset")["digest"]
        assert row.archive_key == f"models/face/{version}.tar"
        wanted = session.scalars(select(Deployment).where(Deployment.version == version)).one()
        assert wanted.state == "requested"
    figures = value(world, "evaluation")["figures"]
    assert set(figures) == {"members", "reference"}
    assert figures["reference"]["people"] == REFERENCE
    assert figures["members"]["people"] == TAUGHT["test"]


def test_the_version_knows_everybody_whom_the_gates_know(world: FacesWorld, whole: dg.ExecuteInProcessResult) -> None:
    version = value(world, "bento")["version"]
    rows = enrolments(version)
    assert {row.member_id for row in rows} == set(world.members.values())
    face_model, thresholds = load_model(version), Thresholds.for_version(version)
    assert thresholds.model_version == version
    # Another enrolled crop of a member is let in by the template that the line made, under the thresholds that it measured.
    (name, member_id) = next(iter(world.members.items()))
    template = templates.opened(next(row for row in rows if row.member_id == member_id))
    from ml_bentos.face.images import decode_image

    picture = decode_image(world.store.get(f"faces/{member_id}/1", sealed=True))
    probe = face_model.embed(picture, face_model.detect(picture)[0])
    assert float(np.max(template @ probe)) > thresholds.accept(1000), name


def test_the_new_model_is_another_than_the_one_that_serves(world: FacesWorld, whole: dg.ExecuteInProcessResult) -> None:
    told = metadata(whole, asset("model"))
    assert told["improved"] is True
    assert told["best_epoch"] > 0
    assert "data:image/png" in told["curves"]
    version, live = value(world, "bento")["version"], value(world, "evaluation")["live"]["version"]
    picture = world.store.get(f"faces/{next(iter(world.members.values()))}/0", sealed=True)
    from ml_bentos.face.images import decode_image

    bgr = decode_image(picture)
    vectors = [each.embed(bgr, each.detect(bgr)[0]) for each in (load_model(version), load_model(live))]
    assert float(vectors[0] @ vectors[1]) < 0.9999


def test_a_model_that_is_no_better_stops_there_and_nothing_is_deployed(world: FacesWorld) -> None:
    with unit_of_work("mlops") as session:
        before = session.scalar(select(func.count()).select_from(Deployment))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "Plan", functools.partial(tuning.Plan, epochs=0))
        ended = world.run()
    assert not ended.success
    assert outcomes(ended)["better_for_members_not_taught_with"] is False
    assert not ended.asset_materializations_for_node("faces__evaluation")
    with unit_of_work("mlops") as session:
        assert session.scalar(select(func.count()).select_from(Deployment)) == before


def test_a_checkpoint_of_another_run_goes_and_the_own_one_is_gone_on_with(world: FacesWorld) -> None:
    ours, other = (model.Sealed(world.store, f"{model.TEACHING}/{name}") for name in ("ours", "other"))
    ours.save(b"ours")
    other.save(b"other")
    ours.only()
    assert (ours.load(), other.load()) == (b"ours", None)
    assert b"ours" not in world.store.get(f"{model.TEACHING}/ours", sealed=False)
    world.store.put(f"{model.TEACHING}/ours", b"damaged", sealed=False)
    assert ours.load() is None
    ours.forget()
    assert ours.load() is None


def test_nothing_of_a_face_lies_open(world: FacesWorld, whole: dg.ExecuteInProcessResult, base: Path) -> None:
    """Neither a picture nor a template nor a member's id is in any file that the line wrote, checkpoints included."""
    some = next(iter(world.members.values()))
    version = value(world, "bento")["version"]
    vector = templates.opened(next(row for row in enrolments(version) if row.member_id == some)).astype("<f4").tobytes()
    files = [path for place in ("objects", "work") for path in (base / place).rglob("*") if path.is_file()]
    assert len(files) > REFERENCE
    for path in files:
        data = path.read_bytes()
        assert not data.startswith(b"\xff\xd8"), path
        assert vector not in data, path
        assert some.encode() not in data, path
    assert not world.store.list("models/face/teaching")


def test_a_manifest_holds_those_who_agree_to_training_and_no_members_id(
    world: FacesWorld, whole: dg.ExecuteInProcessResult
) -> None:
    version = versions.read(world.store, value(world, "dataset")["dataset"])
    assert version.summary["groups"] == sum(TAUGHT.values())
    assert version.summary["people"] == TAUGHT
    assert version.summary["sources"] == {"enrolment": 2 * sum(TAUGHT.values()), "gate": 1}
    ids = set(world.members.values())
    assert not any(row.person in ids or row.template_id in ids for row in version.rows)


def test_the_gallery_goes_on_where_it_was_stopped(world: FacesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PORTION", 10)
    shipped = load_model()
    model = FaceModel("sface-test-stopped", shipped.detector, shipped.backend)

    class Weak:
        """Away at the third portion."""

        posts = 0

        def get(self, path: str, **query: Any) -> Any:
            return world.platform.get(path, **query)

        def post(self, path: str, body: Any, key: str = "") -> Any:
            self.posts += 1
            if self.posts == 3:
                raise ServiceUnavailable("auth", 1.0)
            return world.platform.post(path, body, key)

    weak: Any = Weak()
    with pytest.raises(ServiceUnavailable):
        gallery.fill(world.store, world.reader, weak, model, print)
    assert len(enrolments(model.version)) == 20
    filled = gallery.fill(world.store, world.reader, world.platform, model, print)
    everybody = len(world.members)
    assert (filled.there, filled.embedded, filled.gone, filled.lacking) == (20, everybody - 20, 0, set())
    assert len(enrolments(model.version)) == everybody


def test_crops_that_show_no_face_any_more_are_told_of_and_do_not_stop_the_others(
    world: FacesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load_model()
    model = FaceModel("sface-test-damaged", shipped.detector, shipped.backend)
    damaged = set(list(world.members.values())[:3])
    keep = enrolled.gallery

    def some(reader: Reader) -> Iterator[list[Crop]]:
        for crops in keep(reader):
            gone = crops[0].member_id in damaged
            yield [Crop(c.member_id, c.template_id, c.position, "gone" if gone else c.object_key) for c in crops]

    monkeypatch.setattr(enrolled, "gallery", some)
    filled = gallery.fill(world.store, world.reader, world.platform, model, print)
    assert len(filled.lacking) == 3
    assert filled.embedded == len(world.members) - 3


def test_who_takes_the_consent_back_or_leaves_is_not_read_by_a_version_that_has_them(
    world: FacesWorld, whole: dg.ExecuteInProcessResult
) -> None:
    version = versions.read(world.store, value(world, "dataset")["dataset"])
    of_test = version.of("test")
    people = {versions.pseudonym(member_id): member_id for member_id in world.members.values()}
    first, second = (people[person] for person in sorted({row.person for row in of_test})[:2])
    before = len(enrolled.places(world.reader, of_test))
    with unit_of_work("auth") as session:
        session.add(Consent(member_id=first, kind="face_training", granted=False, text_version="1", actor=first))
        session.execute(delete(Member).where(Member.id == second))
    assert len(enrolled.places(world.reader, of_test)) == before - 4
    with unit_of_work("auth") as session:
        session.add(Consent(member_id=first, kind="face_training", granted=True, text_version="1", actor=first))
    world.members = {name: each for name, each in world.members.items() if each != second}


def test_where_there_is_no_reference_set_the_line_says_what_to_import(
    world: FacesWorld, keys: Any, tmp_path: Path
) -> None:
    url = (tmp_path / "none").as_uri()
    (tmp_path / "none").mkdir()
    bare = FacesWorld(
        ObjectStore.from_settings(Settings(storage_url=url, keyring_file=keys.keyring_file)),
        world.settings, world.reader, world.platform,
    )  # fmt: skip
    assert "smartfit models reference" in why(bare.run("dataset"))


def test_too_few_members_stop_the_line(world: FacesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "LEAST", {"train": 10_000})
    ended = why(world.run("dataset"))
    assert "train" in ended
    assert "10000" in ended


def test_a_version_of_the_data_set_can_be_gone_by_again(world: FacesWorld, whole: dg.ExecuteInProcessResult) -> None:
    name = value(world, "dataset")["dataset"]
    assert world.run("dataset", existing=name).success
    assert value(world, "dataset")["dataset"] == name
    assert "nowhere" in why(world.run("dataset", existing="nowhere"))


def test_a_damaged_store_stops_the_line_before_anything_is_taught(
    world: FacesWorld, whole: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolled, "picture", lambda store, key: b"no photo")
    monkeypatch.setattr(evaluation, "_held", {})
    assert "등록 사진" in why(world.run("model"))


@pytest.fixture
def sensing(world: FacesWorld) -> Callable[[str | None], Any]:
    def sense(cursor: str | None) -> Any:
        with dg.build_sensor_context(
            instance=dg.DagsterInstance.ephemeral(), cursor=cursor, resources=world.resources
        ) as context:
            return faces_new_members(context), context.cursor

    return sense


def test_new_members_start_the_line_once(
    world: FacesWorld, sensing: Callable[[str | None], Any], whole: dg.ExecuteInProcessResult
) -> None:
    # All who agree are in the last data set.
    skipped, _ = sensing(None)
    assert isinstance(skipped, dg.SkipReason)
    with unit_of_work("auth") as session:
        session.execute(text("UPDATE face_crop SET created_at = now() + interval '1 minute'"))
    world.settings = world.settings.model_copy(update={"faces_retrain_after": 50})
    asked, cursor = sensing(None)
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["smartfit/line"] == "faces"
    again, _ = sensing(cursor)
    assert isinstance(again, dg.SkipReason)
    assert "0 of 50" in (again.skip_message or "")


def test_a_reference_set_is_read_back_as_it_was_put(world: FacesWorld, tmp_path: Path, lfw: Path) -> None:
    people: People = people_of(lfw, 2, 60)
    before = reference.current(world.store)
    folder = as_folder(people, tmp_path / "people")
    (tmp_path / "groups.csv").write_text("person,group\n" + "".join(f"{name},a\n" for name in list(people)[:5]))
    made = reference.put(world.store, folder, reference.read_groups(tmp_path / "groups.csv"))
    read = reference.current(world.store)
    assert read == made
    assert sorted(read.groups.values()) == ["a"] * 5
    assert reference.photo(world.store, read.rows[0])
    assert not {row.person for row in read.rows} & set(people)
    with pytest.raises(reference.UnfitReference, match="two photos"):
        reference.put(world.store, as_folder(people_of(lfw, 2, 5), tmp_path / "few"), {})
    (tmp_path / "wrong.csv").write_text("name\nx\n")
    with pytest.raises(reference.UnfitReference, match="person and group"):
        reference.read_groups(tmp_path / "wrong.csv")
    reference.put(world.store, world_folder(before, world, tmp_path / "before"), {})


def world_folder(of: reference.Reference, world: FacesWorld, folder: Path) -> Path:
    for row in of.rows:
        (folder / row.person).mkdir(parents=True, exist_ok=True)
        (folder / row.person / f"{row.sha256}.jpg").write_bytes(reference.photo(world.store, row))
    return folder
