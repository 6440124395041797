"""The checks of alerts and dashboards hold, and can fail."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.checks import alerts, dashboards
from infra.checks.check import Check, CheckFailed
from infra.observability import rules, servers
from infra.observability.dashboards import files

for tool in (
    "promtool",
    "amtool",
    "prometheus-postgres-exporter",
    "prometheus-redis-exporter",
    "prometheus-node-exporter",
):
    if shutil.which(tool) is None:
        pytest.skip(
            f"{tool} is not installed (apt install prometheus prometheus-alertmanager ...)", allow_module_level=True
        )

pytestmark = pytest.mark.usefixtures("rabbitmq_installed")


@pytest.mark.parametrize("check", [*alerts.checks(), *dashboards.checks()], ids=lambda check: check.name)
def test_check_holds(check: Check) -> None:
    check.run()


@pytest.mark.parametrize("alert", [alert.name for alert in rules.alerts()])
def test_an_alert_that_never_fires_is_found_by_its_tests(alert: str, tmp_path: Path) -> None:
    (found,) = (each for each in rules.alerts() if each.name == alert)
    with pytest.raises(CheckFailed, match=alert):
        alerts.promtool("test", "rules", str(_changed(found.file, tmp_path, alert, "vector(1) > 2")))


@pytest.mark.parametrize("alert", ["GateReplicaOld", "DeadLetters", "CertificateEnds", "FaultsToldLate", "BackupOld"])
def test_an_alert_that_fires_for_nothing_is_found_by_its_tests(alert: str, tmp_path: Path) -> None:
    (found,) = (each for each in rules.alerts() if each.name == alert)
    eager = found.expression.replace("> 15", "> -1").replace("> 12 * 3600", "> 0").replace("> 0", ">= 0")
    eager = eager.replace("< 21", "< 999").replace("> 26 * 3600", ">= 0")
    assert eager != found.expression
    with pytest.raises(CheckFailed, match=alert):
        alerts.promtool("test", "rules", str(_changed(found.file, tmp_path, alert, eager)))


def _changed(file: Path, folder: Path, alert: str, expression: str) -> Path:
    """The tests of `file` beside its rules, in which one alert has another expression."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        if rule.get("alert") == alert:
            rule["expr"] = expression
    (folder / "rules").mkdir()
    (folder / "rules" / file.name).write_text(yaml.safe_dump(document), encoding="utf-8")
    tests = yaml.safe_load((rules.TESTS / file.name).read_text(encoding="utf-8"))
    # Those of this alert alone: the others are tried elsewhere, and hours of series take their time.
    tests["tests"] = [test for test in tests["tests"] if test["name"].split()[0] == alert]
    (folder / "tests").mkdir()
    changed = folder / "tests" / file.name
    changed.write_text(yaml.safe_dump(tests), encoding="utf-8")
    return changed


def test_a_configuration_that_prometheus_does_not_know_fails_with_its_words() -> None:
    wrong = copy.deepcopy(servers.configuration("Compose"))
    wrong["scrape_configs"][2]["scrape_intervall"] = "5s"
    with pytest.raises(CheckFailed, match="scrape_intervall"):
        alerts.configuration_taken("Compose", wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"severity": "panic", "team": "platform"}}, "severity"),
        ({"labels": {"severity": "page"}}, "team"),
        ({"summary": "only English"}, "Korean"),
        ({"section": "elsewhere"}, "runbook"),
        ({"name": "NobodyTriedThis"}, "a test in which it fires, a test in which it does not fire"),
    ],
)
def test_an_alert_that_lacks_something_fails(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        alerts.alert_whole(replace(rules.alerts()[0], **change))


def test_an_alert_that_would_be_told_to_others_fails() -> None:
    with pytest.raises(CheckFailed):
        alerts.routed({"severity": "page", "team": "branch"}, "tickets")


def test_a_panel_that_shows_what_nobody_exports_fails() -> None:
    document = copy.deepcopy(files.read()["smartfit-gate.json"])
    panel = next(panel for panel in document["panels"] if panel.get("targets"))
    panel["targets"][0] |= {"expr": "sum by (nobody) (smartfit_no_such_metric)"}
    with pytest.raises(CheckFailed, match="no series smartfit_no_such_metric"):
        dashboards.shown(document)
    panel["targets"][0] |= {"expr": "smartfit_edge_replica_age_seconds", "legendFormat": "{{stage}}"}
    with pytest.raises(CheckFailed, match="the legend shows stage"):
        dashboards.shown(document)


def test_a_dashboard_changed_by_hand_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(files.FILES, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(files, "FILES", tmp_path)
    dashboards.current()
    with (tmp_path / "smartfit-gate.json").open("a") as opened:
        opened.write(" ")
    (tmp_path / "of-nobody.json").write_text("{}")
    with pytest.raises(CheckFailed, match=r"smartfit-gate\.json, of-nobody\.json"):
        dashboards.current()
    files.write()
    dashboards.current()
