"""What the assets work with, made from the settings of the process when a run or a sensor first asks for it."""

from typing import Any

import dagster as dg

from dagster_project.values import JsonValues
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.settings import DataSettings
from platform_api.core.settings import load
from platform_api.core.storage import ObjectStore


@dg.resource
def settings(_: dg.InitResourceContext) -> DataSettings:
    """The settings. Raises SettingsError, naming what is missing."""
    return load(DataSettings)


@dg.resource
def store(_: dg.InitResourceContext) -> ObjectStore:
    """The object store."""
    return ObjectStore.from_settings(load(DataSettings))


@dg.resource
def platform(_: dg.InitResourceContext) -> Platform:
    """The platform's API."""
    return Platform.from_settings(load(DataSettings))


@dg.resource
def reader(_: dg.InitResourceContext) -> Any:
    """The training views; closed at the end of the run."""
    made = Reader.from_settings(load(DataSettings))
    try:
        yield made
    finally:
        made.close()


@dg.io_manager(required_resource_keys={"store"})
def values(context: dg.InitResourceContext) -> JsonValues:
    """Values of assets."""
    return JsonValues(context.resources.store)


RESOURCES: dict[str, Any] = {
    "settings": settings,
    "store": store,
    "platform": platform,
    "reader": reader,
    "io_manager": values,
}
