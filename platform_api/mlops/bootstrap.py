"""Brings what lies on this machine into the catalogue; may be repeated.

    python -m platform_api.mlops.bootstrap                                registers every version in the model store
    python -m platform_api.mlops.bootstrap --deploy                       ... and asks for the newest where nothing serves
    python -m platform_api.mlops.bootstrap --dataset DIR --name NAME      imports a folder of labelled photos

The deployment itself is a worker's work, as any other.
"""

import sys
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos import registry
from ml_bentos.laundry import dataset as laundry
from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem
from platform_api.core.security import Principal
from platform_api.core.settings import SettingsError
from platform_api.mlops import catalogue, dataset_store, datasets, deployments
from platform_api.mlops.judging import MODEL, store
from platform_api.mlops.kinds import KINDS
from platform_api.mlops.models import Version

SYSTEM = Principal("system", frozenset({"operator"}))


def register_all(session: Session) -> list[str]:
    """Register all versions that there are. Returns the new ones as model:version."""
    new = []
    for kind in KINDS.values():
        for version in kind.versions():
            try:
                if catalogue.register(session, kind.name, version, SYSTEM.id)[1]:
                    new.append(f"{kind.name}:{version}")
            except Problem as problem:
                click.echo(f"{kind.name}:{version}: {problem.detail_en}", err=True)
    return new


def deploy_first(session: Session) -> list[str]:
    """Ask for the newest version of each model that has none in service. Returns those asked for."""
    asked = []
    for name in KINDS:
        if catalogue.lock(session, name).live_version is not None:
            continue
        query = select(Version.version).where(Version.model == name, Version.state == "available")
        newest = session.scalar(query.order_by(Version.created_at.desc()).limit(1))
        if newest is None:
            continue
        try:
            deployments.deploy(session, SYSTEM, name, newest, "first version")
            asked.append(f"{name}:{newest}")
        except Problem as problem:
            click.echo(f"{name}:{newest}: {problem.detail_en}", err=True)
    return asked


def import_dataset(folder: Path, name: str, done: dict[str, str]) -> str:
    """Bring a folder of labelled photos into the object store and the catalogue. Returns the data set's id.

    Raises:
        DatasetError, FileExistsError, Problem: see there.
    """
    dataset_store.put(store(), MODEL, name, laundry.read(folder, done))
    with unit_of_work("mlops") as session:
        return datasets.register(session, SYSTEM.id, MODEL, name, None).dataset_id


@click.command()
@click.option("--deploy", is_flag=True, help="Ask for the newest version of each model that has none in service.")
@click.option("--dataset", type=click.Path(path_type=Path), help="Folder with labels.csv and its photos.")
@click.option("--name", default="first", show_default=True, help="Of the data set.")
@click.option("--done", multiple=True, metavar="TASK=STATE", help="Which state of a task means done.")
def main(deploy: bool, dataset: Path | None, name: str, done: tuple[str, ...]) -> None:
    """Register models and data sets that lie on this machine."""
    try:
        if dataset is not None:
            click.echo(
                f"dataset {import_dataset(dataset, name, dict(pair.split('=', 1) for pair in done if '=' in pair))}"
            )
        with unit_of_work("mlops") as session:
            for new in register_all(session):
                click.echo(f"registered {new}")
        if deploy:
            with unit_of_work("mlops") as session:
                for asked in deploy_first(session):
                    click.echo(f"to be deployed {asked}")
    except (laundry.DatasetError, FileExistsError, registry.RegistryError, SettingsError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except Problem as problem:
        click.echo(f"error: {problem.detail_ko} ({problem.detail_en})", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
