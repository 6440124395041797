"""What an image of infra/containers/Dockerfile holds, without building it: an environment with the packages of its extras alone.

The packages that pip would install for the extras are found by the metadata of those installed here, and linked into an
environment of their own. What a process imports beyond them is missing there as it would be in the image.
"""

import configparser
import re
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.containers.described import FOLDER

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = "smart-fitness"


def extras_of(target: str) -> set[str]:
    """The extras that the Dockerfile installs for a target."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    stage = text.split(f"AS {target}-packages\n")[1]
    found = re.search(r'pip install "\.\[([a-z0-9,]+)\]"', stage)
    assert found is not None, f"{target}: no extras in the Dockerfile"
    return set(found.group(1).split(","))


def packages(extras: set[str]) -> dict[str, Distribution]:
    """All distributions that the product needs with these extras, by name; the product itself is not among them."""
    wanted: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [(PRODUCT, set(extras))]
    while waiting:
        name, asked = waiting.pop()
        if name in wanted and asked <= wanted[name]:
            continue
        wanted.setdefault(name, set()).update(asked)
        for text in _requires(name):
            requirement = Requirement(text)
            applies = any(
                requirement.marker is None or requirement.marker.evaluate({"extra": extra})
                for extra in wanted[name] | {""}
            )
            if applies:
                waiting.append((canonicalize_name(requirement.name), set(requirement.extras)))
    return {name: distribution(name) for name in wanted if name != PRODUCT}


def _requires(name: str) -> list[str]:
    """As an installed package says it; the product as setup.cfg says it, which may be newer than what is installed."""
    if name != PRODUCT:
        return distribution(name).requires or []
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    found = _lines(setup["options"]["install_requires"])
    for extra, text in setup["options.extras_require"].items():
        for line in _lines(text):
            wanted, _, marker = line.partition(";")
            found.append(f"{wanted}; extra == '{extra}'" + (f" and ({marker})" if marker else ""))
    return found


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def build(folder: Path, target: str) -> Path:
    """Make the environment. Returns its folder of programs."""
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for found in packages(extras_of(target)).values():
        _link(found, site)
        for script in found.entry_points.select(group="console_scripts"):
            _program(programs / script.name, script.module, script.attr)
    (site / "product.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    return programs


def _link(found: Distribution, site: Path) -> None:
    """Each file or top folder of the distribution; a folder that several share is made, and its parts are linked."""
    for file in found.files or []:
        parts = file.parts
        if parts[0] == ".." or parts[0] == "__pycache__":
            continue
        source, target = Path(str(found.locate_file(file))), site.joinpath(*parts)
        if not source.exists() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)


def _program(path: Path, module: str, attribute: str) -> None:
    python = path.with_name("python")
    path.write_text(f"#!{python}\nimport sys\nfrom {module} import {attribute}\nsys.exit({attribute}())\n", "utf-8")
    path.chmod(0o755)
