"""The dashboards as the JSON files that Grafana's provisioning reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from infra.observability.dashboards import databases, equipment, events, gate, gateway, models, overview, search
from infra.observability.servers import FOLDER

FILES = FOLDER / "grafana" / "dashboards"
PAGES = (overview, gate, events, search, equipment, models, gateway, databases)


def texts() -> dict[Path, str]:
    """Content of each file."""
    built = [page.dashboard() for page in PAGES]
    return {
        FILES / f"{each.uid}.json": JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(each) + "\n"
        for each in built
    }


def write() -> list[Path]:
    """Write them, and remove those of dashboards that are no more. Returns what there is."""
    FILES.mkdir(parents=True, exist_ok=True)
    wanted = texts()
    for left in set(FILES.glob("*.json")) - set(wanted):
        left.unlink()
    for file, text in wanted.items():
        file.write_text(text, encoding="utf-8")
    return sorted(wanted)


def queries(document: Any) -> Iterator[tuple[str, str, str]]:
    """(title of the panel, PromQL, legend) of every query of a dashboard as Grafana reads it."""
    for panel in document["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]


def read() -> dict[str, Any]:
    """The files as they lie there, by name."""
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FILES.glob("*.json"))}
