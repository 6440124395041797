"""Prometheus' and Alertmanager's files, read by promtool and amtool, and every query held against series that are exported.

Each alert says in Korean and English what is wrong, has its section in the runbook, and has tests: one in which it fires and
one in which it does not.
"""

import functools
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.checks.check import Check, CheckFailed
from infra.observability import rules, servers
from infra.observability.metrics import exposition, sources
from infra.observability.metrics.queries import World, complaints
from infra.observability.rules import Alert
from infra.observability.servers import Missing

SEVERITIES = ("page", "ticket", "none")
TEAMS = ("platform", "branch", "operations", "learning", "security")
# Who is told of an alert with these labels: (labels, receiver).
ROUTES = (
    ({"alertname": "Watchdog", "severity": "none", "team": "platform"}, "watchdog"),
    ({"alertname": "AuditTrailBroken", "severity": "page", "team": "security"}, "security"),
    ({"alertname": "AuditNotVerified", "severity": "ticket", "team": "security"}, "tickets"),
    ({"alertname": "ErrorBudgetBurnsFast", "severity": "page", "team": "platform"}, "page"),
    ({"alertname": "GateDoorsFail", "severity": "page", "team": "branch"}, "page"),
    ({"alertname": "GateSlow", "severity": "ticket", "team": "branch"}, "branches"),
    ({"alertname": "ModelAccuracyDropped", "severity": "ticket", "team": "learning"}, "learning"),
    ({"alertname": "JudgeUnavailable", "severity": "page", "team": "learning"}, "page"),
    ({"alertname": "DeadLetters", "severity": "ticket", "team": "platform"}, "tickets"),
    ({"alertname": "something nobody thought of"}, "tickets"),
)


def checks() -> Iterator[Check]:
    """Of the configurations, the rules and their tests, each alert, each query, and the routes of alerts."""
    for form in servers.FORMS:
        yield Check(
            f"Prometheus: promtool takes the configuration for {form}", functools.partial(configuration_taken, form)
        )
    yield Check("Prometheus: a pod's annotations make its target", pod_found)
    for file in sorted(servers.RULES.glob("*.yml")):
        yield Check(
            f"Prometheus: promtool takes rules/{file.name}", functools.partial(promtool, "check", "rules", str(file))
        )
    for file in sorted(rules.TESTS.glob("*.yml")):
        yield Check(
            f"Prometheus: alerts fire as tests/{file.name} says",
            functools.partial(promtool, "test", "rules", str(file)),
        )
    for alert in rules.alerts():
        yield Check(f"alert {alert.name}: words, runbook, tests", functools.partial(alert_whole, alert))
    yield Check("runbook: every section has its alert", no_section_left_over)
    yield Check("rules: every series, label and value in them is exported", queries_known)
    yield Check("Alertmanager: amtool takes the configuration", alertmanager_taken)
    for labels, receiver in ROUTES:
        told = f"Alertmanager: {labels['alertname']} is told to {receiver}"
        yield Check(told, functools.partial(routed, labels, receiver))


@functools.cache
def world() -> World:
    """Series of the product and of the real programs around it, and of the recording rules. CheckFailed: one is missing."""
    try:
        exported = exposition.merged([exposition.of_the_product(), sources.of_the_others()])
    except Missing as missing:
        raise CheckFailed(str(missing)) from missing
    return World(exported, exposition.words()).recording(rules.recorded())


def promtool(*arguments: str) -> None:
    """CheckFailed: promtool's words."""
    _run("promtool", "prometheus", *arguments)


def configuration_taken(form: str, document: Mapping[str, Any] | None = None) -> None:
    """CheckFailed: promtool's words. Discovery of pods is put aside: Debian's promtool is built without it."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "prometheus.yml"
        found = document or servers.configuration(form)
        file.write_text(yaml.safe_dump(_by_file(found, Path(name) / "pods.json")), encoding="utf-8")
        promtool("check", "config", "--syntax-only", str(file))


def pod_found() -> None:
    """CheckFailed where what annotations say does not come out as the target, or a pod without them is scraped too."""
    annotation = "__meta_kubernetes_pod_annotation_prometheus_io_"
    pod = {
        "__meta_kubernetes_pod_ip": "10.1.2.3", "__meta_kubernetes_pod_name": "smartfit-worker-0",
        "__meta_kubernetes_pod_phase": "Running", "__meta_kubernetes_pod_label_app_kubernetes_io_component": "worker",
    }  # fmt: skip
    asking = {**pod, f"{annotation}scrape": "true", f"{annotation}port": "8001"}
    pods = [
        asking,
        {**asking, f"{annotation}path": "/figures", f"{annotation}scheme": "https"},
        {**asking, "__meta_kubernetes_pod_phase": "Succeeded"},
        pod,
    ]
    told = {"__address__": "10.1.2.3:8001", "job": "worker", "instance": "smartfit-worker-0"}
    for job, wanted in (
        ("pods", {**told, "__scheme__": "http", "__metrics_path__": "/metrics"}),
        ("pods-tls", {**told, "__scheme__": "https", "__metrics_path__": "/figures"}),
    ):
        found = discovered(job, pods)
        if [{name: target.get(name) for name in wanted} for target in found] != [wanted]:
            raise CheckFailed(f"{job} makes of the pods {found}, not {wanted}")


def discovered(job: str, pods: list[dict[str, str]]) -> list[dict[str, str]]:
    """Labels of the targets that a job of the form for Kubernetes makes of pods with these labels of discovery."""
    with tempfile.TemporaryDirectory() as name:
        place, file = Path(name) / "pods.json", Path(name) / "prometheus.yml"
        addresses = [{"targets": [f"10.0.0.{number}:1"], "labels": pod} for number, pod in enumerate(pods, 1)]
        place.write_text(json.dumps(addresses), encoding="utf-8")
        document = _by_file(servers.configuration("Kubernetes"), place)
        for each in document["scrape_configs"]:
            # Certificates are looked for; here there are none.
            each.pop("tls_config", None)
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        answer = _run("promtool", "prometheus", "check", "service-discovery", "--timeout=3s", str(file), job)
    return [each["labels"] for each in json.loads(answer[answer.index("[") :]) if each.get("labels")]


def alert_whole(alert: Alert) -> None:
    """CheckFailed: what the alert lacks."""
    korean, _, english = alert.summary.partition(" · ")
    expected = set(rules.tested())
    lacks = [
        words
        for missing, words in (
            (alert.labels.get("severity") not in SEVERITIES, f"a severity of {SEVERITIES}"),
            (alert.labels.get("team") not in TEAMS, f"a team of {TEAMS}"),
            (not any("가" <= letter <= "힣" for letter in korean) or not english, "a summary in Korean · and English"),
            (
                alert.section != alert.name.lower() or not rules.sections().get(alert.section),
                "a section in the runbook",
            ),
            ((alert.name, True) not in expected, "a test in which it fires"),
            # A watchdog always fires.
            (
                alert.labels.get("severity") != "none" and (alert.name, False) not in expected,
                "a test in which it does not fire",
            ),
        )
        if missing
    ]
    if lacks:
        raise CheckFailed(f"{alert.file.name}: lacks {', '.join(lacks)}")


def no_section_left_over() -> None:
    """CheckFailed: sections of alerts that are no more."""
    if left := set(rules.sections()) - {alert.section for alert in rules.alerts()}:
        raise CheckFailed(f"of no alert: {', '.join(sorted(left))}")


def queries_known() -> None:
    """CheckFailed: every name, label and value that nothing exports."""
    named = [(alert.name, alert.expression) for alert in rules.alerts()] + list(rules.recorded())
    if found := [f"{name}: {words}" for name, query in named for words in complaints(query, world())]:
        raise CheckFailed("; ".join(found))


def alertmanager_taken() -> None:
    """CheckFailed: amtool's words."""
    _run("amtool", "prometheus-alertmanager", "check-config", str(servers.ALERTMANAGER))


def routed(labels: Mapping[str, str], receiver: str) -> None:
    """CheckFailed where an alert with these labels goes elsewhere."""
    command = ["config", "routes", "test", f"--config.file={servers.ALERTMANAGER}", f"--verify.receivers={receiver}"]
    _run("amtool", "prometheus-alertmanager", *command, *(f"{name}={value}" for name, value in labels.items()))


def _by_file(document: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """The configuration, with pods read from a file in place of asking Kubernetes."""
    jobs = []
    for job in document["scrape_configs"]:
        pods = {"file_sd_configs": [{"files": [str(place)]}]} if "kubernetes_sd_configs" in job else {}
        jobs.append({key: value for key, value in job.items() if key != "kubernetes_sd_configs"} | pods)
    return {**document, "scrape_configs": jobs, "rule_files": []}


def _run(tool: str, package: str, *arguments: str) -> str:
    """Standard output. CheckFailed: the tool's words."""
    try:
        command = [servers.program(tool, package), *arguments]
    except Missing as missing:
        raise CheckFailed(str(missing)) from missing
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise CheckFailed((done.stdout + done.stderr).strip()[-2000:])
    return done.stdout
