"""`python -m infra.local.schema DOMAIN...`: migrations of the domains, auth's first operator and service clients, models.

A process of its own, so that its second of imports passes while the database starts: it waits for a line on its input
before it touches anything. Its settings are the platform's.
"""

import sys

from platform_api.auth import bootstrap
from platform_api.core.database import unit_of_work
from platform_api.core.migrations import upgrade
from platform_api.mlops.bootstrap import deploy_first, register_all


def main(domains: list[str]) -> None:
    """Wait for the word, then do it; may be repeated."""
    if not sys.stdin.readline():
        return  # whoever started this has given up
    for domain in domains:
        upgrade(domain)
    bootstrap.main()
    with unit_of_work("mlops") as session:
        register_all(session)
        deploy_first(session)


if __name__ == "__main__":
    main(sys.argv[1:])
