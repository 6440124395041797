"""Every SMARTFIT_ name that the product reads: a chart must set no other, since nobody would notice.

Names are found where they are read: fields of the settings classes, and what the sources hand to the readers of single variables.
"""

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import access_edge
import data_assets
import ml_bentos
import platform_api
from infra.sources import first_arguments
from platform_api.core.database import DOMAINS, variable
from platform_api.core.settings import PREFIX, Settings

PACKAGES = (platform_api, access_edge, data_assets, ml_bentos)
_CLASS = re.compile(r"^class \w+\(\w*Settings\):", re.MULTILINE)
READERS = {"read_variable", "required", "get", "getenv"}


@functools.cache
def known() -> frozenset[str]:
    """All names, and for each `<name>_FILE`, which names a file that holds the value."""
    names = {variable(domain) for domain in DOMAINS} | set(_read_in_sources())
    for settings in settings_classes():
        names |= {PREFIX + field.upper() for field in settings.model_fields}
    return frozenset(names | {f"{name}_FILE" for name in names})


def settings_classes() -> set[type[Settings]]:
    """All of them, in modules named settings and wherever else a class is one."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if _has_settings(module):
                importlib.import_module(module.name)

    def below(found: type[Settings]) -> Iterator[type[Settings]]:
        yield found
        for each in found.__subclasses__():
            yield from below(each)

    return set(below(Settings))


def _has_settings(module: pkgutil.ModuleInfo) -> bool:
    return not module.ispkg and bool(_CLASS.search(_path(module).read_text("utf-8")))


def _path(module: pkgutil.ModuleInfo) -> Path:
    finder = module.module_finder
    return Path(str(getattr(finder, "path", ""))) / f"{module.name.rsplit('.', 1)[-1]}.py"


def _read_in_sources() -> Iterator[str]:
    """Literal names, also those that a module keeps in a constant and hands over by it."""
    for package in PACKAGES:
        for path in Path(package.__path__[0]).rglob("*.py"):
            yield from (name for name in first_arguments(path, READERS) if name.startswith(PREFIX))
