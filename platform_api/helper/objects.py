"""Photos of work in the object store, sealed, kept in step with the database (see `core.objects`)."""

from functools import cache

from platform_api.core.objects import TrackedObjects
from platform_api.core.storage import ObjectStore
from platform_api.helper.models import ObjectDeletion
from platform_api.helper.settings import settings


@cache
def store() -> ObjectStore:
    """The object store of this process."""
    return ObjectStore.from_settings(settings())


def key_of(task_id: str, photo_id: str) -> str:
    """Where a photo lies; the branch and mlops domains, which share the store, find it by the same rule."""
    return f"tasks/{task_id}/{photo_id}"


photos = TrackedObjects("helper", ObjectDeletion, store)
