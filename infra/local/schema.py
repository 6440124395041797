"""`python -m infra.local.schema DOMAIN...`: migrations of the domains, then auth's first operator and service clients.

A process of its own, so that its second of imports passes while the database starts: it waits for a line on its input
before it touches anything. Its settings are the platform's.
"""

import sys

from platform_api.auth import bootstrap
from platform_api.core.migrations import upgrade


def main(domains: list[str]) -> None:
    """Wait for the word, then do it; may be repeated."""
    if not sys.stdin.readline():
        return  # whoever started this has given up
    for domain in domains:
        upgrade(domain)
    bootstrap.main()


if __name__ == "__main__":
    main(sys.argv[1:])
