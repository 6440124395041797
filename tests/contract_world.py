"""A platform with all eight domains in one process and a little of everything in it, for the tests of its OpenAPI document.

Everything is made by the public API and carried between the domains by the local bus, as on a single machine; what only
a device, a prober or a training could make is put into the tables. The card company is its sandbox in a process of its own.
"""

import hashlib
import io
import itertools
import json
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from sqlalchemy import select, update
from werkzeug.serving import make_server

from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from platform_api.access import faces, strangers
from platform_api.access.models import Model as FaceModel
from platform_api.app import create_app
from platform_api.auth import bootstrap, exporting
from platform_api.auth.models import Member
from platform_api.core import clock
from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.inbox import handle_next
from platform_api.core.events.relay import relay_batch
from platform_api.core.models import InboxEvent
from platform_api.mlops.models import Dataset, Deployment, Model, Training, TrainingLine, Version
from platform_api.monitoring import announcing
from platform_api.monitoring.models import Equipment, Fault
from platform_api.notification.models import Delivery
from platform_api.search.engines import Writer
from platform_api.search.engines.choice import engine
from platform_api.search.indexer import Indexer
from platform_api.search.models import Branch, Rebuild
from platform_api.worker import import_handlers
from tests.contract_values import CARD, PASSWORD, Values, by_path, in_hours, picture, public_key
from tests.search_world import visit

ROOT = Path(__file__).resolve().parents[1]
CARD_KEY = "card-sandbox-key"
SECRET = "a-secret-of-the-access-domain-which-is-long"
PEOPLE = ("customer", "helper", "branch_manager", "operator")

Headers = dict[str, str]
Standing = Callable[..., AbstractContextManager["World"]]
"""The fixture `standing` of tests/conftest.py."""


@contextmanager
def card_sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """The card company, and the settings that lead to it."""
    certificate, port = server(folder, "card"), free_port()
    (folder / "api_key").write_text(CARD_KEY)
    files = ["--cert", str(certificate.chain), "--key", str(certificate.key), "--api-key-file", str(folder / "api_key")]
    command = [sys.executable, "-m", "infra.sandboxes.card", "--port", str(port), *files]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    url, ca = f"https://127.0.0.1:{port}", str(authority(folder).chain)
    try:
        with requests.Session() as session:
            session.trust_env, session.verify = False, ca
            for _ in range(150):
                try:
                    session.get(f"{url}/healthz", timeout=5)
                    break
                except requests.ConnectionError:
                    assert process.poll() is None
                    time.sleep(0.1)
        yield {"CARD_URL": url, "CARD_CA_FILE": ca, "CARD_API_KEY": CARD_KEY}
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def whole_application(folder: Path, **settings: str) -> Iterator[Flask]:
    """The application of all domains, which also answers on a socket, since auth and access ask each other there.

    settings: others than those below, by their names without the prefix.
    """
    port = free_port()
    with card_sandbox(folder) as card, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "ENVIRONMENT": "test", "LOG_LEVEL": "ERROR", "STORAGE_URL": (folder / "objects").as_uri(), **card,
            "ACCESS_INTERNAL_URL": f"http://127.0.0.1:{port}", "AUTH_INTERNAL_URL": f"http://127.0.0.1:{port}",
            "ACCESS_CLIENT_SECRET": SECRET, "SERVICE_CLIENTS": json.dumps({"access": SECRET}),
            "MODELS_DIR": str(folder / "models"), "SEARCH_INDEX_DIR": str(folder / "index"),
            # Neither their cost nor their limits are what is tested here.
            "ARGON2_TIME_COST": "1", "ARGON2_MEMORY_KIB": "64", "ARGON2_PARALLELISM": "1", "REGISTRATIONS_PER_HOUR": "0",
            "ECHO_NETWORKS": "127.0.0.0/8", "HELPER_WITHDRAWALS_OPEN": "100", "HELPER_DAILY_LIMIT": "1000",
            "HELPER_BRANCH_DAILY_LIMIT": "1000", "BRANCH_PREFERENCE_MIN": "1", "QR_PASSES_PER_MINUTE": "1000",
            "ACCOUNT_REQUESTS_PER_MINUTE": "0",
            "OPERATOR_EMAIL": "op@example.com", "OPERATOR_PASSWORD": PASSWORD,
            # Trainings are asked for here, and nobody hands them over.
            "DAGSTER_URL": "http://127.0.0.1:9/dagster",
            **settings,
        }.items():  # fmt: skip
            patch.setenv(f"SMARTFIT_{name}", value)
        patch.setenv("BENTOML_HOME", str(folder / "models" / "bentoml"))
        (folder / "objects").mkdir()
        import_handlers(DOMAINS)
        bootstrap.main()
        app = create_app()
        listener = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield app
        finally:
            listener.shutdown()
            thread.join()
            faces.auth_client.cache_clear()
            engine.cache_clear()


def settle() -> None:
    """Carry events until nothing is left to do."""
    bus = LocalBus()
    while sum(relay_batch(domain, bus) for domain in DOMAINS):
        for domain in DOMAINS:
            more = True
            while more:
                with unit_of_work(domain) as session:
                    more = handle_next(session, domain)


class World:
    """What is there. `ids`: ids by domain and by the name of the parameter that takes them; `spare`: such as may be lost."""

    def __init__(self, app: Flask, token_for: Callable[..., Headers]) -> None:
        self.app, self.client = app, app.test_client()
        self.token_for = token_for
        self.ids: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.spare: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.people: dict[str, str] = {}
        self.node_key = Ed25519PrivateKey.generate()
        self.edge_id = ""
        self.values: dict[str, Values] = by_path()
        # Whose the things of a path are, where only their owner may touch them.
        self.owners = {
            "/notification/v1/devices/{device_id}": "customer",
            "/notification/v1/notifications/{notification_id}": "branch_manager",
            "/notification/v1/notifications/{notification_id}/read": "branch_manager",
            "/access/v1/qr-passes": "customer",
            "/auth/v1/members/{member_id}/exports/{export_id}/download": "customer",
            **{f"/{domain}/internal/v1/members/{{member_id}}/export": "auth" for domain in DOMAINS if domain != "auth"},
        }
        # Answers by operation and status.
        self.answers: dict[str, Counter[int]] = defaultdict(Counter)
        self._pictures = itertools.count()
        self._fill()

    # --- callers

    def headers(self, role: str) -> Headers:
        """Of a person in that role, of a service, or of the gate node; an access token is good for 15 minutes."""
        if role == "device":
            return {"Authorization": f"Bearer {self._assertion()}"}
        if role == "auth":
            return self.token_for("auth", "service")
        if role == "service":
            return self.token_for("access", "service")
        branches = ("gangnam",) if role == "branch_manager" else ()
        with unit_of_work("auth") as session:
            version = session.scalar(select(Member.version).where(Member.id == self.people[role]))
        return self.token_for(self.people[role], role, branch_ids=branches, version=version)

    def _assertion(self) -> str:
        now = int(clock.now().timestamp())
        who = {"iss": self.edge_id, "sub": self.edge_id, "aud": "smartfit-access", "jti": str(uuid.uuid4())}
        return jwt.encode({**who, "iat": now, "exp": now + 60}, self.node_key, "EdDSA")

    def call(self, role: str, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer that must succeed."""
        headers = {**self.headers(role), **options.pop("headers", {})}
        answer = self.client.open(path, method=method, headers=headers, **options)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json

    def photo(self) -> tuple[io.BytesIO, str]:
        """A part of a form."""
        return io.BytesIO(picture(next(self._pictures))), "photo.jpg"

    # --- what there is

    def _fill(self) -> None:
        self._members()
        self._branch()
        settle()
        self._gates()
        self._work()
        self._equipment()
        self._notices()
        settle()
        self._reviews()
        self._models()
        settle()
        self._exports()
        self._dead_letters()
        with engine().writer() as writer:
            while Indexer(engine()).drain(writer):
                pass
            self._held_index(writer)

    def _register(self, number: int) -> str:
        wanted = {
            "email": f"contract{number}@example.com", "password": PASSWORD, "name": "김하늘",
            "phone": "+82 10-1234-5678", "birth_date": "1995-04-12", "card": CARD,
        }  # fmt: skip
        made = self.client.post("/auth/v1/members", json=wanted)
        assert made.status_code == 201, made.text
        said = {"email": wanted["email"], "password": PASSWORD}
        tokens = [self.client.post("/auth/v1/tokens", json=said).json["refresh_token"] for _ in range(10)]
        # In the end, of whom was registered last: changes of the others end their sessions.
        for path in ("/auth/v1/tokens/refresh", "/auth/v1/tokens/revoke"):
            self.values[path] = {"refresh_token": tokens}
        return str(made.json["member_id"])

    def _members(self) -> None:
        for number, role in enumerate(PEOPLE):
            self.people[role] = self._register(number)
        for role, member_id in self.people.items():
            branches = ["gangnam"] if role == "branch_manager" else []
            wanted = {"roles": [role], "branch_ids": branches}
            self.call("operator", "PUT", f"/auth/v1/members/{member_id}/roles", json=wanted)
        for kind in ("face", "terms"):
            said = {"kind": kind, "granted": True, "text_version": "1"}
            self.client.post("/auth/v1/members/me/consents", headers=self.headers("customer"), json=said)
        self.values["/auth/v1/service-tokens"] = {"client_id": ["access"], "client_secret": [SECRET]}
        self.ids["auth"]["member_id"] = ["me", self.people["customer"]]
        self.spare["auth"]["member_id"] = [self._register(number) for number in range(10, 20)]
        lost = self.spare["auth"]["member_id"][0]
        sessions = self.call("operator", "GET", f"/auth/v1/members/{lost}/sessions")["items"]
        self.values["/auth/v1/members/{member_id}/sessions/{session_id}"] = {
            "member_id": [lost], "session_id": [item["session_id"] for item in sessions],
        }  # fmt: skip
        # The first loses its sessions, the last is to sign in: neither is erased.
        self.spare["auth"]["member_id"] = self.spare["auth"]["member_id"][1:-1]
        for domain in DOMAINS:
            self.ids[domain]["helper_id"] = [self.people["helper"]]
            self.ids[domain]["branch_id"] = ["gangnam", "mapo"]
            if domain != "auth":
                self.ids[domain]["member_id"] = [self.people["customer"]]
                self.spare[domain]["member_id"] = self.spare["auth"]["member_id"]

    def _branch(self) -> None:
        for branch_id in ("gangnam", "mapo", "jongno"):
            profile = {
                "branch_id": branch_id, "name": f"{branch_id}점", "address": "서울 강남대로 1", "region": "강남구",
                "latitude": 37.4979, "longitude": 127.0276, "status": "open", "amenities": ["parking"],
                "prices": [{"plan": "1개월", "won": 59_000, "months": 1}], "manager_ids": [self.people["branch_manager"]],
            }  # fmt: skip
            self.call("operator", "POST", "/branch/v1/branches", json=profile)
        path = "/branch/v1/branches/gangnam/photos"
        for place in (self.ids, self.spare):
            shown = self.call("operator", "POST", path, data={"photo": self.photo()}, headers={"If-Match": "*"})
            place["branch"]["photo_id"].append(shown["photos"][-1]["photo_id"])
            place["branch"]["branch_id"] = ["gangnam"]

    def _gates(self) -> None:
        body = {"branch_id": "gangnam", "name": "node", "public_key": public_key(self.node_key)}
        self.edge_id = self.call("operator", "POST", "/access/v1/edges", json=body)["edge_id"]
        body |= {"name": "spare", "public_key": public_key()}
        revoked = self.call("operator", "POST", "/access/v1/edges", json=body)["edge_id"]
        self.ids["access"]["edge_id"] = [self.edge_id]
        self.values["/access/v1/edges/{edge_id}/revoke"] = {"edge_id": [revoked]}
        for place, name in ((self.ids, "front"), (self.spare, "side"), (self.spare, "back")):
            body = {
                "branch_id": "gangnam", "edge_id": self.edge_id, "name": name, "controller_gate_id": "g1",
                "controller_url": "https://127.0.0.1:8448",
            }  # fmt: skip
            made = self.call("operator", "POST", "/access/v1/gates", json=body)
            place["access"]["gate_id"].append(made["gate_id"])
        gate_id = self.ids["access"]["gate_id"][0]
        member = {"member_id": self.people["customer"], "plan": "monthly", "branch_ids": ["gangnam"]}
        for until in ("2099-12-31", None):
            body = {**member, "valid_from": "2020-01-01", "valid_until": until}
            made = self.call("operator", "POST", "/access/v1/memberships", json=body)
            self.ids["access"]["membership_id"].append(made["membership_id"])
        at = (clock.now() - timedelta(seconds=1)).isoformat()
        entries = []
        for outcome, member_id in (("granted", self.people["customer"]), ("denied", None)):
            entries.append({
                "entry_id": str(uuid.uuid4()), "gate_id": gate_id, "at": at, "method": "face", "direction": "in",
                "outcome": outcome, "reason": outcome, "member_id": member_id,
            })  # fmt: skip
        taken = self.call("device", "POST", "/access/v1/edge/entries", json={"entries": entries})
        assert taken["accepted"] == 2, taken
        about = {"entry_id": entries[1]["entry_id"], "gate_id": gate_id, "at": at}
        options = {"query_string": about, "data": picture(1), "content_type": "image/jpeg"}
        stranger = self.call("device", "POST", "/access/v1/edge/strangers", **options)
        self.ids["access"]["stranger_id"] = [stranger["stranger_id"]]
        options["query_string"] = {**about, "entry_id": entries[0]["entry_id"]}
        known = self.call("device", "POST", "/access/v1/edge/strangers", **options)["stranger_id"]
        said = {"decision": "member", "member_id": self.people["customer"]}
        self.call("operator", "POST", f"/access/v1/strangers/{known}/decision", json=said)
        self.values["/access/internal/v1/strangers/{stranger_id}/photo"] = {"stranger_id": [known]}
        self.ids["access"]["entry_id"] = [entry["entry_id"] for entry in entries]
        thresholds = {"live": True, "thresholds": None}
        self.call("operator", "PUT", "/access/v1/models/contract-1", json=thresholds)
        self.ids["access"]["version"] = self.ids["access"]["model_version"] = ["contract-1"]
        package = b"a package"
        strangers.store().put("models/face/contract-1.tar", package, sealed=False)
        with unit_of_work("access") as session:
            model = session.get_one(FaceModel, "contract-1")
            model.archive_key, model.archive_bytes = "models/face/contract-1.tar", len(package)
            model.archive_sha256 = hashlib.sha256(package).hexdigest()
        self.values["/access/v1/models/{version}"] = {"thresholds": [None], "version": ["contract-1"]}

    def _work(self) -> None:
        tasks = []
        for _ in range(3):
            form = {"branch_id": "gangnam", "kind": "hanging", "photos": [self.photo(), self.photo()]}
            tasks.append(self.call("helper", "POST", "/helper/v1/tasks", data=form))
        settle()
        said = {"decision": "correct", "label": "done", "reason": "잘 걸려 있어요"}
        path = f"/branch/v1/tasks/{tasks[0]['task_id']}"
        self.call("operator", "POST", f"{path}/decision", json=said, headers={"If-Match": "*"})
        for domain in ("helper", "branch", "mlops"):
            self.ids[domain]["task_id"] = [task["task_id"] for task in tasks]
        self.ids["helper"]["photo_id"] = [photo["photo_id"] for task in tasks for photo in task["photos"]]
        one = {"task_id": [tasks[0]["task_id"]], "photo_id": [photo["photo_id"] for photo in tasks[0]["photos"]]}
        self.values["/branch/v1/tasks/{task_id}/photos/{photo_id}"] = one
        self.values["/helper/v1/tasks/{task_id}/photos/{photo_id}"] = one
        self.values["/helper/v1/tasks"]["redo_of"] = [None]
        self.ids["helper"]["kind"] = ["hanging"]
        given = {"helper_id": self.people["helper"], "won": 90_000, "reason": "계약 시험"}
        self.call("operator", "POST", "/helper/v1/adjustments", json=given)
        account = {"bank": "한국은행", "account_number": "110-123-456789", "holder": "김하늘"}
        for _ in range(3):
            wanted = {"won": 10_000, "destination": account}
            made = self.call("helper", "POST", "/helper/v1/withdrawals", json=wanted)
            self.ids["helper"]["withdrawal_id"].append(made["withdrawal_id"])
        *decided, cancelled = self.ids["helper"]["withdrawal_id"]
        self.values["/helper/v1/withdrawals/{withdrawal_id}/decision"] = {"withdrawal_id": decided}
        self.values["/helper/v1/withdrawals/{withdrawal_id}/cancel"] = {"withdrawal_id": [cancelled]}
        self.call("operator", "PUT", "/helper/v1/tariffs/*/hanging", json={"won": 700}, headers={"If-Match": "*"})

    def _equipment(self) -> None:
        for number in range(3):
            body = {"branch_id": "gangnam", "name": f"treadmill {number}", "kind": "treadmill"}
            made = self.call("operator", "POST", "/monitoring/v1/equipment", json=body)
            self.ids["monitoring"]["equipment_id"].append(made["equipment_id"])
        equipment = self.ids["monitoring"]["equipment_id"]
        self.values["/monitoring/v1/equipment/{equipment_id}/retire"] = {"equipment_id": [equipment.pop()]}
        now = clock.now()
        body = {"branch_id": "gangnam", "ends_at": in_hours(2), "reason": "점검"}
        for _ in range(2):
            made = self.call("operator", "POST", "/monitoring/v1/maintenance-windows", json=body)
            self.ids["monitoring"]["window_id"].append(made["window_id"])
        ended = self.ids["monitoring"]["window_id"].pop()
        self.values["/monitoring/v1/maintenance-windows/{window_id}/end"] = {"window_id": [ended]}
        # Where no window is planned, which would end the fault.
        body = {"branch_id": "jongno", "name": "rower", "kind": "rower"}
        broken = self.call("operator", "POST", "/monitoring/v1/equipment", json=body)["equipment_id"]
        with unit_of_work("monitoring") as session:
            fault = Fault(
                equipment_id=broken, branch_id="jongno", cause_group="silent",
                reason="no_echo", severity="major", since=now, detected_at=now,
            )  # fmt: skip
            session.add(fault)
            session.flush()
            announcing.fault(session, session.get_one(Equipment, fault.equipment_id), 1, fault)
            self.ids["monitoring"]["fault_id"] = [fault.fault_id]

    def _notices(self) -> None:
        for place, word in ((self.ids, "first"), (self.spare, "second"), (self.spare, "third")):
            body = {"token": f"{word}-{'x' * 40}", "platform": "android"}
            made = self.call("customer", "POST", "/notification/v1/devices", json=body)
            place["notification"]["device_id"].append(made["device_id"])
        self.call("customer", "PUT", "/notification/v1/email", json={"address": "member@example.com"})

    def _reviews(self) -> None:
        path = "/search/v1/branches/gangnam/reviews"
        made = self.call("customer", "POST", path, json={"rating": 5, "text": "깨끗하고 조용해요"})
        self.ids["search"]["review_id"] = [made["review_id"]]
        for branch_id in ("mapo", "jongno"):
            visit(self.people["customer"], branch_id)
        body = {"rating": 1, "text": "별로예요"}
        lost = self.call("customer", "POST", "/search/v1/branches/mapo/reviews", json=body)
        self.spare["search"]["review_id"] = [lost["review_id"]]
        said = {"reason": "spam", "text": None}
        self.call("helper", "POST", f"/search/v1/reviews/{made['review_id']}/reports", json=said)
        rebuild = self.call("operator", "POST", "/search/v1/index/rebuilds")
        self.ids["search"]["rebuild_id"] = [rebuild["rebuild_id"]]
        told = self.call("branch_manager", "GET", "/notification/v1/notifications")["items"]
        self.ids["notification"]["notification_id"] = [item["notification_id"] for item in told]
        sent = self.call("operator", "GET", "/notification/v1/deliveries")["items"]
        self.ids["notification"]["delivery_id"] = [item["delivery_id"] for item in sent]
        with unit_of_work("notification") as session:
            session.execute(update(Delivery).values(state="failed"))

    def _exports(self) -> None:
        """One that is ready, others that may go; and the report of a day."""
        lost = self.people["helper"]
        for member_id, place in ((self.people["customer"], self.ids), (lost, self.spare)):
            asked = self.call("operator", "POST", f"/auth/v1/members/{member_id}/exports")
            place["auth"]["export_id"].append(asked["export_id"])
        while exporting.make_next():
            pass
        one = "/auth/v1/members/{member_id}/exports/{export_id}"
        mine = {"member_id": [self.people["customer"], "me"], "export_id": self.ids["auth"]["export_id"]}
        self.values[f"{one}/download"] = {**mine, "password": [PASSWORD]}
        # One path for reading and for deleting: each finds an export of that member.
        self.values[one] = {"member_id": [lost], "export_id": self.spare["auth"]["export_id"]}
        report = {"findings": [], "counts": {"critical": 0, "warning": 0, "info": 0}}
        self.call("service", "PUT", "/mlops/v1/audits/2026-01-01", json=report)
        self.values["/mlops/v1/audits/{name}"] = {"name": ["2026-01-01"], "findings": [[]]}

    def _dead_letters(self) -> None:
        """One in each domain."""
        for domain in DOMAINS:
            event_id = uuid.uuid4()
            letter = {"type": "test.Unknown", "envelope": {"subject": "thing-1"}, "last_error": "ValueError: no"}
            with unit_of_work(domain) as session:
                session.add(InboxEvent(event_id=event_id, subscriber=domain, status="dead", **letter))
            self.ids[domain]["event_id"] = [str(event_id)]

    def _held_index(self, writer: Writer) -> None:
        """A new index that is held, one that was accepted and one that was not; and the version that keywords are of."""
        writer.build(iter(()), lambda: ((), ()))
        path = "/search/internal/v1/rebuilds/{rebuild_id}"
        with unit_of_work("search") as session:
            held = session.get_one(Rebuild, self.ids["search"]["rebuild_id"][0])
            held.hold, held.state, held.index_name = True, "built", writer.held
            done = Rebuild(asked_by="dagster", hold=True, state="done")
            rejected = Rebuild(asked_by="dagster", hold=True, state="rejected")
            session.add_all([done, rejected])
            session.flush()
            self.values[f"{path}/queries"] = {"rebuild_id": [held.rebuild_id]}
            self.values[f"{path}/acceptance"] = {"rebuild_id": [done.rebuild_id]}
            self.values[f"{path}/rejection"] = {"rebuild_id": [rejected.rebuild_id]}
            keywords = self.values["/search/internal/v1/branches/{branch_id}/keywords"]
            keywords["branch_version"] = [session.get_one(Branch, "gangnam").version]

    def _models(self) -> None:
        with unit_of_work("mlops") as session:
            for model in ("laundry", "face"):
                if session.get(Model, model) is None:
                    session.add(Model(model=model, live_version=None))
            session.flush()
            sets = [
                Dataset(
                    model="laundry",
                    name=name,
                    digest="0" * 64,
                    photos=10,
                    helpers=2,
                    counts={"hanging": {"hung": 10}},
                    done_states={"hanging": "hung"},
                    confirmations_through=None,
                    created_by="operator-1",
                )
                for name in ("first", "second")
            ]
            session.add_all(sets)
            session.flush()
            training = Training(
                model="laundry", dataset_id=sets[0].dataset_id, requested_by="operator-1", state="running"
            )
            session.add(training)
            session.flush()
            session.add(TrainingLine(training_id=training.training_id, number=1, text="epoch 1"))
            for model, version in (("laundry", "contract-1"), ("laundry", "contract-2"), ("face", "contract-1")):
                session.add(Version(
                    model=model, version=version, metrics={"accuracy": 0.9}, details={}, dataset=None, training_id=None,
                    note=None, created_by="operator-1",
                ))  # fmt: skip
            session.flush()
            asked = Deployment(model="face", version="contract-1", kind="deploy", requested_by="operator-1")
            session.add(asked)
            session.flush()
            self.ids["mlops"] |= {
                "model": ["laundry"], "version": ["contract-1", "contract-2"], "dataset_id": [sets[0].dataset_id],
                "training_id": [training.training_id], "deployment_id": [asked.deployment_id],
            }  # fmt: skip
            self.values["/mlops/v1/models/{model}/trainings"] = {"dataset_id": [sets[1].dataset_id]}
