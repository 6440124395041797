"""Puts everything that is sealed under the key that seals now: `python -m platform_api.reseal [--check]`.

Prints what was done, or with --check what there is to do, as JSON. Exit status 1 where something was left under another key.
For the whole platform: it wants every domain's database, the object store and the key ring (a Job in a cluster).
"""

import argparse
import json
import sys

from platform_api.app import installed_domains
from platform_api.core import resealing
from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.storage import ObjectStore
from platform_api.core.telemetry import configure_logging


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell how much there is to do")
    wanted = parser.parse_args()
    settings = load(Settings)
    configure_logging("smartfit-reseal", settings.log_level)
    store = ObjectStore.from_settings(settings)
    if store.envelope is None:
        raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; there is nothing to seal with)")
    domains, kid = installed_domains(), store.envelope.keyring.current
    outcome = resealing.Outcome()
    if not wanted.check:
        for domain in domains:
            for column in resealing.of_domain(domain)[0]:
                resealing.reseal_rows(domain, column, store.envelope, outcome)
        listed = [(domain, objects) for domain in domains for objects in resealing.of_domain(domain)[1]]
        resealing.reseal_objects(store, listed, outcome)
    left = resealing.remaining(domains, store, kid)
    told = {"key": kid, "rows": outcome.rows, "objects": outcome.objects, "left": left, "failed": outcome.failed[:20]}
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
