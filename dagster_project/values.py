"""Where the small JSON values of assets lie: in the object store, so that a step of another process or machine reads them."""

import json
from typing import Any

import dagster as dg

from platform_api.core.storage import ObjectStore


class JsonValues(dg.IOManager):
    """Keeps the newest value of each asset under `dagster/values/<key>.json`; sealed, since manifests name people's work."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the value, whole or not at all."""
        if obj is not None:
            self._store.put(_key(context.asset_key), json.dumps(obj, ensure_ascii=False).encode(), sealed=True)

    def load_input(self, context: dg.InputContext) -> Any:
        """The newest value. Raises Failure where the asset was never made."""
        try:
            return json.loads(self._store.get(_key(context.asset_key), sealed=True))
        except FileNotFoundError as error:
            name = context.asset_key.to_user_string()
            raise dg.Failure(
                description=f"{name}이(가) 아직 없습니다. 먼저 만드세요 ({name} has not been made yet; make it first)",
                allow_retries=False,
            ) from error


def _key(key: dg.AssetKey) -> str:
    return f"dagster/values/{'/'.join(key.path)}.json"
