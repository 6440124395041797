"""Brings what lies on this machine into the catalogue; may be repeated.

    python -m platform_api.mlops.bootstrap                                registers every version in the model store
    python -m platform_api.mlops.bootstrap --deploy                       ... and asks for the newest where nothing serves

The deployment itself is a worker's work, as any other.
"""

import sys

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos import registry
from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem
from platform_api.core.security import Principal
from platform_api.core.settings import SettingsError
from platform_api.mlops import catalogue, deployments
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


@click.command()
@click.option("--deploy", is_flag=True, help="Ask for the newest version of each model that has none in service.")
def main(deploy: bool) -> None:
    """Register models that lie on this machine."""
    try:
        with unit_of_work("mlops") as session:
            for new in register_all(session):
                click.echo(f"registered {new}")
        if deploy:
            with unit_of_work("mlops") as session:
                for asked in deploy_first(session):
                    click.echo(f"to be deployed {asked}")
    except (registry.RegistryError, SettingsError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except Problem as problem:
        click.echo(f"error: {problem.detail_ko} ({problem.detail_en})", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
