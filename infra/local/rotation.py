"""`smartfit keys rotate`: a new key beside the old ones. Old keys stay, so what they signed or sealed goes on working."""

from infra.local.credentials import Credentials
from infra.local.state import State
from infra.local.supervisor import Supervisor
from platform_api.core.encryption import KeyRing
from platform_api.core.security import keys as token_keys

READERS_OF_THE_RINGS = ("api", "worker", "edge")


def rotate_jwt(state: State) -> str:
    """A new signing key for access tokens; returns its id.

    The gateway and the domains fetch it by themselves; it signs once they have had time to (KeySet.PUBLISHED_AHEAD).
    """
    return token_keys.generate(Credentials(state.secrets).jwt_keys)


def rotate_keyring(state: State) -> str:
    """A new key-encryption key for faces at rest, at the centre and on the gate node; returns the centre's key id.

    Services that hold a ring are started anew; `smartfit up` waits until they are ready.
    """
    held = Credentials(state.secrets)
    for file in (held.edge_keyring, held.keyring):
        ring = KeyRing.from_file(file).rotated()
        ring.to_file(file)
    supervisor = Supervisor(state)
    if supervisor.running():
        supervisor.restart(*(name for name in READERS_OF_THE_RINGS if name in supervisor.processes()))
    return ring.current
