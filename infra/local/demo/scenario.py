"""What happens at the gate: members and strangers show their faces, and each rule is tried once on purpose."""

import itertools
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.local.demo.client import Gate, Platform, Refused
from infra.local.demo.enrolment import Member
from infra.local.demo.report import Probe, Report
from ml_bentos.face import FaceModel
from ml_bentos.face.images import decode_image

_MODEL_SAMPLE = 120
_MISSES = 5
_FEED_PATIENCE_S = 15.0


def measure(
    gate: Gate,
    members: list[Member],
    strangers: list[Path],
    report: Report,
    admin_key: str,
    tick: Callable[[], None],
    seed: int = 1,
) -> None:
    """Send every kept-back photo of a member and one photo of each stranger, in mixed order, one at a time."""
    probes: list[tuple[Path, str | None]] = [(m.person.probe, m.account.member_id) for m in members]
    probes += [(photo, None) for photo in strangers]
    random.Random(seed).shuffle(probes)  # noqa: S311 - an order to be repeated, not a secret
    for path, member_id in probes:
        photo = path.read_bytes()
        started = time.perf_counter()
        try:
            # The admin key makes the answer name the best candidate also where the gate stays shut.
            got = gate.show_face(photo, {"X-Edge-Admin-Key": admin_key})
        except (Refused, OSError) as error:
            report.errors.append(f"{path.name}: {error}")
        else:
            report.probes.append(_probe(path, member_id, got, (time.perf_counter() - started) * 1000))
        tick()


def _probe(path: Path, member_id: str | None, got: dict[str, Any], whole_ms: float) -> Probe:
    return Probe(
        photo=path.name,
        member_id=member_id,
        granted=got["decision"] == "granted",
        reason=got["reason"],
        identified=got.get("member_id"),
        candidate=got.get("candidate_id") or got.get("member_id"),
        score=got.get("score"),
        whole_ms=whole_ms,
        stages_ms=got["stages_ms"],
    )


def bare_model_calls(model: FaceModel, photos: Iterable[Path], report: Report) -> None:
    """Time the model's own calls (detect, embed) on the same frames: the physical limit of an answer."""
    frames = [decode_image(path.read_bytes()) for path in list(photos)[:_MODEL_SAMPLE]]
    for frame in frames[:5]:
        model.detect(frame)
    for frame in frames:
        started = time.perf_counter()
        faces = model.detect(frame)
        if faces:
            model.embed(frame, faces[0])
            report.model_ms.append((time.perf_counter() - started) * 1000)


class Rules:
    """Tries the rules with members that the gate has just let in, so that only the rule decides."""

    def __init__(
        self,
        platform: Platform,
        branch_id: str,
        report: Report,
        known: list[Member],
        wait_for_edge: Callable[[], object],
    ) -> None:
        self.platform = platform
        self.branch_id = branch_id
        self.report = report
        self.known = known
        self.wait_for_edge = wait_for_edge

    def memberships(self, gate: Gate) -> None:
        """Expired, outside the hours, unpaid: the right face, and no entry."""
        now = datetime.now(UTC)
        other_day = (now + timedelta(days=3)).strftime("%a").lower()
        changes: list[tuple[str, str, dict[str, Any] | None]] = [
            ("기간이 끝난 회원 (membership expired)", "membership_expired",
             {"valid_until": (now - timedelta(days=2)).date().isoformat()}),
            ("시간 외 회원 (outside the hours)", "outside_hours", {"hours": {other_day: [["06:00", "07:00"]]}}),
            ("미납 회원 (unpaid)", "blocked_unpaid", None),
        ]  # fmt: skip
        tried = list(zip(changes, self.known, strict=False))
        for (_, _, change), member in tried:
            if change is not None:
                self.platform.change_membership(member.membership_id, change)
            else:
                path = f"/access/v1/memberships/{member.membership_id}/block"
                self.platform.http.json("POST", path, self.platform.operator(), json={"reason": "unpaid"})
        self.wait_for_edge()
        for (what, expected, _), member in tried:
            self._until(gate, member, expected)
            self._face(gate, member, what, expected)

    def passes(self, gate: Gate) -> None:
        """QR: a good pass, the same again, one signed by somebody else."""
        member = self.known[-1]
        token = self._pass(member)
        self._qr(gate, token, "QR 출입증 (good pass)", "granted_qr")
        self._qr(gate, token, "쓴 QR 다시 (replayed pass)", "qr_replayed")
        claims = jwt.decode(token, options={"verify_signature": False})
        header = jwt.get_unverified_header(token)
        forged = jwt.encode({**claims, "jti": "forged"}, Ed25519PrivateKey.generate(), "EdDSA", headers=header)
        self._qr(gate, forged, "위조 QR (forged pass)", "qr_forged")

    def lockout(self, gate: Gate, strangers: list[Path]) -> None:
        """Five misses in a minute close the gate to faces for a while, not to QR."""
        # Where there are few strangers they try again.
        for path in itertools.islice(itertools.cycle(strangers), _MISSES):
            self._try("잠금 전 미등록 방문자 (stranger before lockout)", "no_match", gate.show_face, path.read_bytes())
        member = self.known[-1]
        self._face(gate, member, f"{_MISSES}회 실패 후 회원 (member after {_MISSES} misses)", "lockout")
        self._qr(gate, self._pass(member), "잠금 중 QR (pass during lockout)", "granted_qr")

    def passback(self, gate: Gate, way_out: Gate) -> None:
        """Whoever is inside cannot come in again, until they have left."""
        member = self.known[-2] if len(self.known) > 1 else self.known[-1]
        self._face(gate, member, "안에 있는 회원의 입장 (entry while inside, anti-passback)", "anti_passback")
        self._face(way_out, member, "퇴장 (exit)", "exit")
        self._face(gate, member, "퇴장 후 입장 (entry after exit)", "granted")

    def _until(self, gate: Gate, member: Member, expected: str) -> None:
        """Give the change time to reach the node: the feed waits for the oldest transaction of the centre's database."""
        deadline = time.monotonic() + _FEED_PATIENCE_S
        while time.monotonic() < deadline:
            if gate.show_face(member.person.probe.read_bytes())["reason"] == expected:
                return
            time.sleep(1)
            self.wait_for_edge()

    def _pass(self, member: Member) -> str:
        token, _ = self.platform.sign_in(member.account.email, member.account.password)
        return self.platform.pass_of(token, self.branch_id)

    def _face(self, gate: Gate, member: Member, what: str, expected: str) -> None:
        self._try(what, expected, gate.show_face, member.person.probe.read_bytes())

    def _qr(self, gate: Gate, token: str, what: str, expected: str) -> None:
        self._try(what, expected, gate.show_pass, token)

    def _try(self, what: str, expected: str, show: Callable[[Any], dict[str, Any]], given: Any) -> None:
        try:
            self.report.rules.append((what, expected, str(show(given)["reason"])))
        except (Refused, OSError) as error:
            self.report.errors.append(f"{what}: {error}")
