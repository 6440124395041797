"""The checks of the files for Elasticsearch, Logstash, Kibana and Filebeat find what is wrong with them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.checks import elk
from infra.checks.check import CheckFailed
from infra.observability.elk import kibana, template, trial
from infra.sources import first_arguments
from platform_api.core.telemetry import ecs

ROOT = Path(__file__).resolve().parents[3]
LIFECYCLE = ROOT / "infra" / "observability" / "elk" / "elasticsearch" / "lifecycle.json"


@pytest.mark.parametrize("check", list(elk.checks()), ids=lambda check: check.name)
def test_the_files_of_the_repository_pass(check: Any) -> None:
    check.run()


def _edited(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, old: str, new: str) -> None:
    """A pipeline or Filebeat's configuration with a mistake in it."""
    place = {"smartfit.conf": "PIPELINE", "filebeat.yml": "FILEBEAT"}[name]
    text = getattr(elk, place).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(elk, place, folder / name)


@pytest.mark.parametrize(
    ("name", "check", "old", "new", "told"),
    [
        ("smartfit.conf", elk.check_pipeline, "port => 5044", "port = 5044", "smartfit.conf"),
        ("smartfit.conf", elk.check_pipeline, "  mutate {", "  mutat {", "mutat"),
        ("smartfit.conf", elk.check_pipeline, 'dataset => "smartfit"', 'dataset => "other"', "another stream"),
        ("filebeat.yml", elk.check_filebeat, "        - trace\n", "", "trace.id"),
        ("filebeat.yml", elk.check_filebeat, "        - trace\n", "        - trace\n        - host\n", "host"),
        ("filebeat.yml", elk.check_filebeat, "expand_keys: true", "expand_keys: false", "lines of JSON"),
        ("filebeat.yml", elk.check_filebeat, "processors:", "processors: [", "filebeat.yml"),
    ],
)
def test_a_mistake_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, check: Callable[[], None], old: str, new: str, told: str
) -> None:
    _edited(monkeypatch, tmp_path, name, old, new)
    with pytest.raises(CheckFailed, match=told):
        check()


def test_a_field_that_is_not_in_the_template_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(kibana.SEARCHES[0], columns=("service.nam",))
    monkeypatch.setattr(kibana, "SEARCHES", (wrong,))
    with pytest.raises(CheckFailed, match=r"service\.nam"):
        elk.check_searches()


def test_a_line_that_the_index_does_not_take_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {name: kind for name, kind in template.FIELDS.items() if name != "smartfit.model"}
    monkeypatch.setattr(template, "FIELDS", {**narrow, "smartfit.documents": "boolean"})
    with trial.elasticsearch() as url:
        found = trial.refused(url, trial.lines())
    assert any("smartfit" in told and "model" in told for told in found)
    assert any("documents" in told for told in found)


def test_a_file_that_somebody_changed_by_hand_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elk, "files", lambda: {LIFECYCLE: "{}"})
    with pytest.raises(CheckFailed, match=r"lifecycle\.json: old"):
        elk.check_current()


def test_filebeat_hands_on_the_lines_of_every_process_and_of_no_other_program() -> None:
    document = yaml.safe_load(elk.FILEBEAT.read_text(encoding="utf-8"))
    (rule,) = [step["drop_event"]["when"]["not"]["regexp"] for step in document["processors"] if "drop_event" in step]
    services = _services()
    assert {"smartfit-worker", "smartfit-sender", "smartfit-prober", "access-edge"} <= services
    assert [name for name in services if not re.search(rule["service.name"], name)] == []
    assert not [name for name in ("kibana", "elasticsearch", "gateway-x", "") if re.search(rule["service.name"], name)]
    # What it asks for is what a line has.
    assert "service.name" in ecs.FIELDS


def _services() -> set[str]:
    """Names under which processes log, as far as they stand in the source."""
    found = {"gateway", "smartfit-api", "smartfit-auth"}
    for package in ("platform_api", "access_edge"):
        for file in (ROOT / package).rglob("*.py"):
            found |= set(first_arguments(file, {"configure_logging"})) - {""}
    return found
