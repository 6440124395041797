"""The tables that the migrations make are the ones that the models describe."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from platform_api.core.database import database
from platform_api.core.models import CoreBase
from platform_api.mlops.models import Base


def test_migrations_and_models_agree(postgres: Any) -> None:
    with database("mlops").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
    core = set(CoreBase.metadata.tables)
    columns = [
        diff
        for diff in found
        if isinstance(diff, list) or diff[0] in {"add_table", "add_column", "remove_column", "modify_type"}
    ]
    assert columns == []
    strange = {diff[1].name for diff in found if diff[0] == "remove_table"} - core - {"alembic_version"}
    assert strange == set()
