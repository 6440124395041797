"""`smartfit keys`: new keys beside the old ones, what is sealed put under the new one, and old keys taken out.

Nothing is restarted: the processes read their key files again when they change. A new key is there for a while before it
is used, so that everybody knows it by then, and a key is only taken out when nothing good is made with it any more:
    tokens          the key that signs now has done so for longer than a token lives
    sealed data     nothing is left under it, and the one that seals now has done so for a day: idempotency keys are kept
                    that long, and within it the learning side has written its pseudonyms anew
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import environment
from infra.local.credentials import Credentials
from infra.local.state import State, StateError
from platform_api.core.encryption import DecryptionError, Envelope, KeyRing
from platform_api.core.security import keys as token_keys
from platform_api.core.security.tokens import LEEWAY_SECONDS, LIFE

SEALS_AFTER_S = 15.0
"""Processes look at a ring file once a second; a busy machine is given time."""
SEALS_AFTER_IN_CLUSTER_S = 300.0
"""Files of Secrets, and those of a sidecar, take up to a minute or two to be written anew in every pod."""
SEALED_FOR_S = 86400.0
SIGNED_FOR_S = LIFE.total_seconds() + LEEWAY_SECONDS


@dataclass(frozen=True)
class KeyLine:
    """A key, for the list. state: `new` (not used yet), `used`, `old`."""

    what: str
    kid: str
    state: str


def listed(state: State) -> list[KeyLine]:
    """All keys, by what they are for."""
    held = Credentials(state.secrets)
    folder = token_keys.KeySet(held.jwt_keys)
    signing = folder.signing_key()[0]
    kids = sorted(path.stem for path in held.jwt_keys.glob("*.pem"))
    lines = [KeyLine("jwt", kid, _state(kid == signing, kid > signing)) for kid in kids]
    for what, file in (("keyring", held.keyring), ("edge-keyring", held.edge_keyring)):
        ring = KeyRing.from_file(file)
        seals = ring.now().current
        coming = ring.following[0] if ring.following and ring.following[0] != seals else None
        lines += [KeyLine(what, kid, _state(kid == seals, kid == coming)) for kid in sorted(ring.keys, key=_number)]
    return lines


def rotate_jwt(folder: Path) -> str:
    """A new signing key for access tokens; returns its id.

    The gateway and the domains fetch it by themselves; it signs once they have had time to (KeySet.PUBLISHED_AHEAD).
    """
    return token_keys.generate(folder)


def rotate_ring(file: Path, ahead_s: float = SEALS_AFTER_S) -> str:
    """A new key in a ring, which seals in `ahead_s` seconds; returns its id.

    Raises:
        StateError: the one before does not seal yet.
    """
    ring = KeyRing.from_file(file)
    if ring.now() is ring and ring.following:
        raise StateError(f"{file}: 앞선 새 키가 아직 쓰이지 않습니다 (the new key before this one is not in use yet)")
    rotated = ring.now().rotated(seals_from=time.time() + ahead_s)
    rotated.to_file(file)
    assert rotated.following is not None
    return rotated.following[0]


def remove_jwt(folder: Path, kid: str, *, at_once: bool) -> None:
    """Take a signing key out: its tokens are refused by services within JwksSource.MAX_AGE, by the gateway within its
    refresh. at_once: though tokens of it may be good (the key was stolen).

    Raises:
        StateError: it signs, or may have signed a token that is still good; or there is none.
    """
    keys = token_keys.KeySet(folder)
    signing, file = keys.signing_key()[0], folder / f"{kid}.pem"
    if not file.is_file() or "/" in kid:
        raise StateError(f"{kid}: 없는 키입니다 (no such key)")
    if kid >= signing:
        raise StateError(f"{kid}: 쓰이고 있거나 곧 쓰일 키입니다 (it signs, or will); smartfit keys rotate jwt")
    signs_since = (folder / f"{signing}.pem").stat().st_mtime + keys.PUBLISHED_AHEAD
    _wait_for(signs_since + SIGNED_FOR_S, kid, at_once)
    file.unlink()


def remove_from_ring(file: Path, kid: str, left: Callable[[KeyRing], int], *, at_once: bool) -> None:
    """Take a key out of a ring. `left(ring)`: how many blobs are not under the key that seals.

    Raises:
        StateError: it seals, or something is left under an old key; or it was rotated less than a day ago.
    """
    ring = KeyRing.from_file(file)
    now = ring.now()
    if kid not in now.keys or kid == now.current:
        raise StateError(f"{kid}: 없거나, 쓰이고 있는 키입니다 (no such key, or it seals)")
    if ring.following:
        _wait_for(ring.following[1] + SEALED_FOR_S, kid, at_once)
    if count := left(now):
        raise StateError(
            f"{kid}: 옛 키로 봉인된 것이 {count}개 남았습니다. 먼저 smartfit keys reseal "
            f"({count} blobs are under an old key; run `smartfit keys reseal` first)"
        )
    KeyRing(now.current, {name: key for name, key in now.keys.items() if name != kid}, now.following).to_file(file)


def reseal(state: State, *, check: bool = False) -> dict[str, Any]:
    """Put what the centre holds under the key that seals; see platform_api.reseal for what is told.

    Raises:
        StateError: it could not be done.
    """
    held = Credentials(state.secrets)
    following = KeyRing.from_file(held.keyring).following
    if following and not check:
        time.sleep(max(0.0, following[1] - time.time()))
    return _reseal({**environment.base(state), **environment.platform(state, held)}, check)


def left_by(settings: Mapping[str, str]) -> int:
    """How many blobs are not under the key that seals, of a platform with these settings. StateError: it cannot be told."""
    return int(_reseal(settings, check=True)["left"])


def _reseal(settings: Mapping[str, str], check: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "platform_api.reseal", *(["--check"] if check else [])]
    done = subprocess.run(command, env=dict(settings), capture_output=True, text=True)
    try:
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise StateError(f"smartfit keys reseal: {done.stderr.strip()[-500:]}") from None
    return told


def left_at_edge(state_dir: Path, ring: KeyRing) -> int:
    """How many templates and frames of the gate node of this machine are not under the key that seals."""
    named = bytes([len(ring.current)]) + ring.current.encode()
    count = 0
    replica = state_dir / "replica.db"
    if replica.exists():
        with sqlite3.connect(f"file:{replica}?mode=ro", uri=True) as connection:
            query = "SELECT count(*) FROM template WHERE substr(sealed, 5, ?) <> ?"
            count = int(connection.execute(query, (len(named), named)).fetchone()[0])
        connection.close()
    for file in (state_dir / "strangers").glob("*.sealed"):
        try:
            count += Envelope.key_id(file.read_bytes()[:64]) != ring.current
        except (DecryptionError, FileNotFoundError):
            continue
    return count


def _state(used: bool, new: bool) -> str:
    return "used" if used else "new" if new else "old"


def _number(kid: str) -> tuple[int, str]:
    return len(kid), kid


def _wait_for(until: float, kid: str, at_once: bool) -> None:
    left = until - time.time()
    if left > 0 and not at_once:
        raise StateError(
            f"{kid}: {left / 60:.0f}분 뒤에 뺄 수 있습니다. 도난당했다면 --now "
            f"(may be taken out in {left / 60:.0f} min; --now where it was stolen)"
        )
