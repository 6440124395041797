"""The people of the demonstration, by the public API alone: helpers hand in photos, a manager confirms or corrects the verdicts."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from infra.local.demo.client import Platform, Refused
from infra.local.demo.learning.photos import Plan
from ml_bentos.laundry.dataset import Labelled

BRANCH_ID = "learning"
BRANCH = {
    "branch_id": BRANCH_ID,
    "name": "학습 시연 지점 (learning)",
    "address": "서울 성동구 성수동2가 1",
    "region": "성동구",
    "latitude": 37.5446,
    "longitude": 127.0559,
    "amenities": [],
    "status": "open",
}
NO_LIMIT = {"helper_daily_limit": 10_000, "branch_daily_limit": 10_000}
AT_ONCE = 4
"""Photos under way side by side."""
PATIENCE_S = 120.0
POLL_S = 0.15
WHY = "사진과 다릅니다."
KNOWN_REFUSALS = frozenset({"photo_duplicate", "duplicate_photo", "photo_refused", "photos_refused"})


class TookTooLong(Exception):
    """Something that should have come did not; says what."""


@dataclass(frozen=True)
class Decided:
    """A photo that was judged and decided on. right: whether the AI's answer was; answered: whether it gave one."""

    version: str | None
    answered: bool
    right: bool
    corrected: bool


class People:
    """Helpers (one for each of the folder's) and the manager, who is the operator here."""

    def __init__(self, platform: Platform, plan: Plan) -> None:
        self.platform, self.plan = platform, plan
        self._tokens: dict[str, tuple[str, float]] = {}
        self._accounts: dict[str, Any] = {}
        self.refused: dict[str, int] = {}

    def open_branch(self) -> None:
        """A branch without daily limits, known to the helper domain."""
        self._post("/branch/v1/branches", BRANCH)
        path = f"/helper/v1/branches/{BRANCH_ID}/limits"

        def limits() -> bool:
            try:
                etag = self.platform.http.send("GET", path, self.platform.operator()).headers["ETag"]
            except Refused as refused:
                if refused.status == 404:
                    return False  # it is heard of by an event
                raise
            self.platform.http.json("PUT", path, self.platform.operator(), json=NO_LIMIT, headers={"If-Match": etag})
            return True

        wait_for(limits, "the branch")

    def work(self, photos: list[Labelled]) -> list[Decided]:
        """Hand photos in, each a task of its own; let them be judged; decide. Duplicates that are refused are counted."""
        for helper in sorted({photo.helper for photo in photos} - self._accounts.keys()):
            self._hire(helper)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [decided for decided in pool.map(self._one, photos) if decided is not None]

    def _one(self, photo: Labelled) -> Decided | None:
        token = self._token(photo.helper)
        path = self.plan.data.folder / photo.image
        parts = [("photos", (path.name, path.read_bytes(), "image/jpeg"))]
        form = {"branch_id": BRANCH_ID, "kind": photo.task}
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        try:
            task = self.platform.http.json("POST", "/helper/v1/tasks", token, data=form, files=parts, headers=headers)
        except Refused as refused:
            if refused.status not in (409, 422):
                raise
            self.refused[refused.code] = self.refused.get(refused.code, 0) + 1
            return None
        return self._decide(str(task["task_id"]), self.plan.done(photo))

    def _decide(self, task_id: str, label: str) -> Decided:
        path = f"/branch/v1/tasks/{task_id}"

        def waiting() -> Any:
            try:
                return self.platform.http.json("GET", path, self.platform.operator())
            except Refused as refused:
                if refused.status == 404:
                    return None
                raise

        task = wait_for(waiting, f"the verdict on {task_id}")
        right = task["verdict"] == label
        said = {"decision": "confirm"} if right else {"decision": "correct", "label": label, "reason": WHY}
        self._post(f"{path}/decision", said)
        return Decided(task["model_version"], task["verdict"] != "unclear", right, not right)

    def _hire(self, helper: str) -> None:
        account = self.platform.register(f"도우미 {helper}", "learning")
        member = f"/auth/v1/members/{account.member_id}"
        etag = self.platform.http.send("GET", member, self.platform.operator()).headers.get("ETag", "")
        self.platform.http.json(
            "PUT",
            f"{member}/roles",
            self.platform.operator(),
            json={"roles": ["customer", "helper"]},
            headers={"If-Match": etag} if etag else {},
        )
        self._accounts[helper] = account

    def _token(self, helper: str) -> str:
        token, until = self._tokens.get(helper, ("", 0.0))
        if time.monotonic() > until:
            account = self._accounts[helper]
            token, life = self.platform.sign_in(account.email, account.password)
            self._tokens[helper] = token, time.monotonic() + 0.8 * life
        return token

    def _post(self, path: str, body: Any) -> Any:
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return self.platform.http.json("POST", path, self.platform.operator(), json=body, headers=headers)


def wait_for(condition: Any, what: str, seconds: float = PATIENCE_S, pause: float = POLL_S) -> Any:
    """What `condition` gives, once it gives anything. Raises TookTooLong."""
    end = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise TookTooLong(f"{what} did not come within {seconds:.0f} s")
        time.sleep(pause)
