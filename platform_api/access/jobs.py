"""What this domain does again and again."""

from datetime import timedelta

from platform_api.access import purge
from platform_api.core.jobs import every


@every("access", timedelta(minutes=5))
def maintain() -> None:
    """Delete what is past its time; keep keys and indexes in order.

    Raises:
        RuntimeError: names the steps that failed; the others were done.
    """
    failed = [name for name, done in purge.run().items() if done is None]
    if failed:
        raise RuntimeError(f"failed: {', '.join(failed)}")
