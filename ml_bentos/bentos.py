"""Builds the bentos: each service with its code and the packages it needs, to be put into a container by `bentoml containerize`.

    python -m ml_bentos.bentos laundry|face

The models are not in it: a bento looks for them in SMARTFIT_MODELS_DIR, where they come as signed packages, so that a new
version is no new container. Versions of the packages are those of the distribution's extras; nothing is resolved at the
build, which needs no network.
"""

import importlib.metadata
import os
from pathlib import Path

import click
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
SERVICES = {
    "laundry": "ml_bentos.laundry.service:LaundryService",
    "face": "ml_bentos.face.service:FaceService",
}
DISTRIBUTION = "smart-fitness"
EXTRA = "laundry"
"""The extra with what both need: the face model's libraries (a gate node's) and BentoML."""


def build(kind: str, version: str | None = None) -> str:
    """Build the bento of a service into the BentoML store (BENTOML_HOME). Returns its tag.

    version: of the bento; None: made by BentoML from the time.
    """
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    import bentoml

    made = bentoml.bentos.build(
        SERVICES[kind],
        name=f"smartfit-{kind}-service",
        version=version,
        labels={"product": "smart-fitness", "model": kind},
        description=f"Smart Fitness: the {kind} model over HTTP.",
        include=["ml_bentos/**/*", "README.md", "LICENSE"],
        exclude=["**/__pycache__/*"],
        python={"packages": sorted(_requirements("", EXTRA)), "lock_packages": False},
        build_ctx=str(ROOT),
    )
    return str(made.tag)


def _requirements(*extras: str) -> set[str]:
    """What the installed distribution asks for with these extras ("": without any), its own extras followed."""
    found = set()
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if wanted.name == DISTRIBUTION:
            found |= _requirements(*wanted.extras)
        else:
            wanted.marker = None
            found.add(str(wanted))
    return found


@click.command()
@click.argument("kind", type=click.Choice(sorted(SERVICES)))
def main(kind: str) -> None:
    """Build the bento of a service."""
    click.echo(build(kind))


if __name__ == "__main__":
    main()
