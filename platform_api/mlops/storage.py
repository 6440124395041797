"""The object store of this process."""

from functools import cache

from platform_api.core.storage import ObjectStore
from platform_api.mlops.settings import settings


@cache
def store() -> ObjectStore:
    """Photos of tasks, data sets and archives of models. Raises SettingsError."""
    return ObjectStore.from_settings(settings())
