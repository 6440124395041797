"""The process of a training: takes the data set out of the object store, then becomes `ml_bentos.laundry.train`.

Started by the runner. It tells its progress as the training itself does, one JSON object a line; the keys of the object
store are gone from its environment when the training begins.
"""

import json
import os
import sys
from pathlib import Path

import click

from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.storage import ObjectStore
from platform_api.mlops import dataset_store

TRAINERS = {"laundry": "ml_bentos.laundry.train"}
FORGOTTEN = ("SMARTFIT_STORAGE_URL", "SMARTFIT_STORAGE_URL_FILE", "SMARTFIT_KEYRING_FILE")


@click.command()
@click.option("--model", type=click.Choice(sorted(TRAINERS)), required=True)
@click.option("--dataset", required=True, help="Name of the data set.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="The run's own folder.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Folder of features made before.")
def main(model: str, dataset: str, folder: Path, cache: Path) -> None:
    """Run a training on a data set of the object store."""
    os.umask(0o077)
    data = folder / "data"

    def tell(number: int, of: int) -> None:
        click.echo(json.dumps({"progress": 0.0, "message": f"data set {number}/{of}"}))

    try:
        manifest = dataset_store.take_out(ObjectStore.from_settings(load(Settings)), model, dataset, data, tell)
    except (dataset_store.DatasetMissing, SettingsError, OSError) as error:
        click.echo(json.dumps({"error": str(error)}))
        sys.exit(1)
    states = [part for task, state in manifest.done.items() for part in ("--done", f"{task}={state}")]
    command = ["-m", TRAINERS[model], "--data", str(data), "--cache", str(cache), "--json", *states]
    sys.stdout.flush()
    environment = {name: value for name, value in os.environ.items() if name not in FORGOTTEN and "AWS_" not in name}
    os.execve(sys.executable, [sys.executable, *command], environment)  # noqa: S606 - the same interpreter


if __name__ == "__main__":
    main()
