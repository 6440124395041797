"""`python -m tests.restore_process STATE [FACE.jpg ...]`: fills the databases and the object store of an installation.

A process of its own, so that no setting and no cache of it stays with the tests. Everything is made by the public API of
all eight domains; with photographs, a member's face is enrolled as well.
"""

import os
import sys
from pathlib import Path

from infra.local import environment
from infra.local.credentials import Credentials
from infra.local.state import State
from platform_api.access.models import Model as FaceModel
from platform_api.core.database import DOMAINS, unit_of_work
from platform_api.core.migrations import upgrade
from platform_api.core.security import tokens
from platform_api.core.telemetry import configure_logging
from tests.contract_world import Headers, World, settle, whole_application


def main(state: State, photos: list[Path]) -> None:
    """Fill it."""
    os.environ.update(environment.platform(state, Credentials(state.secrets)))
    configure_logging("restore", "WARNING")
    for domain in DOMAINS:
        upgrade(domain)
    state.objects.rmdir()
    with whole_application(state.folder) as app:

        def token_for(sub: str, *roles: str, branch_ids: tuple[str, ...] = (), version: int | None = None) -> Headers:
            claims = {} if version is None else {"ver": version}
            with app.app_context():
                return {"Authorization": f"Bearer {tokens.issue_access_token(sub, roles, branch_ids, claims)}"}

        world = World(app, token_for)
        if photos:
            parts = {"photos": [(photo.open("rb"), photo.name) for photo in photos]}
            headers = {"Idempotency-Key": "face"}
            world.call("customer", "POST", "/auth/v1/members/me/face", data=parts, headers=headers)
        settle()
        with unit_of_work("access") as session:
            # A model that is made up, and has no weights: no gate node could start with it.
            session.get_one(FaceModel, "contract-1").stage = "retired"


if __name__ == "__main__":
    main(State(Path(sys.argv[1])), [Path(name) for name in sys.argv[2:]])
