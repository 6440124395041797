"""The Helm chart keeps its promises, with each set of values: tried by Helm, Kubernetes' schemas, Envoy and Dagster themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.errors import HelmError

from infra.checks import helm, helm_network, helm_settings
from infra.checks.check import CheckFailed
from infra.gateway import forms
from infra.helm import chart
from infra.helm.environment import environment
from infra.helm.network import pods
from infra.local import dagster
from platform_api.core.database import DOMAINS

SETS = chart.value_sets()
BUSINESS = ("auth", "branch", "helper", "search", "notification", "monitoring")


@pytest.fixture(params=sorted(SETS))
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return chart.rendered(SETS[request.param])


def of(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def container_of(template: dict[str, Any]) -> dict[str, Any]:
    (container,) = template["spec"]["containers"]
    assert isinstance(container, dict)
    return container


CHECKS = [*helm.checks(), *helm_settings.checks(), *helm_network.checks()]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_check(check: Any) -> None:
    check.run()


def test_at_least_four_sets_of_values_are_tried() -> None:
    assert {"defaults", "small", "production", "gpu-spot", "everything"} <= SETS.keys()


def test_every_pod_is_confined_limited_and_watched(objects: list[dict[str, Any]]) -> None:
    found = list(pods(objects))
    assert len(found) > 20
    for component, template in found:
        pod, container = template["spec"], container_of(template)
        assert pod["securityContext"]["runAsNonRoot"] is True, component
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["limits"]["memory"], component
        assert container["resources"]["requests"]["cpu"], component
        assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"]), component
        for volume in pod["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"], component
        if component != "migration":
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), component
        assert not container["image"].endswith(":latest")


def test_replicas_are_those_of_the_design() -> None:
    for name in ("defaults", "production"):
        deployments = of(chart.rendered(SETS[name]), "Deployment")
        scaled = of(chart.rendered(SETS[name]), "HorizontalPodAutoscaler")

        def least(component: str, deployments: Any = deployments, scaled: Any = scaled) -> int:
            if f"gym-{component}" in scaled:
                return int(scaled[f"gym-{component}"]["spec"]["minReplicas"])
            return int(deployments[f"gym-{component}"]["spec"]["replicas"])

        assert least("gateway") >= 3
        assert least("access") >= 2
        assert least("web") >= 2
        for domain in BUSINESS:
            assert least(domain) in (2, 3)
    gpu = of(chart.rendered(SETS["gpu-spot"]), "Deployment")["gym-mlops"]["spec"]
    assert gpu["replicas"] in (1, 2)
    assert container_of(gpu["template"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {each["key"] for each in gpu["template"]["spec"]["tolerations"]} == {"nvidia.com/gpu", "spot"}


def test_an_autoscaler_and_a_deployment_never_argue_over_replicas(objects: list[dict[str, Any]]) -> None:
    deployments = of(objects, "Deployment")
    for name in of(objects, "HorizontalPodAutoscaler"):
        assert "replicas" not in deployments[name]["spec"], name


def test_whatever_has_more_than_one_replica_keeps_all_but_one_of_them(objects: list[dict[str, Any]]) -> None:
    scaled = of(objects, "HorizontalPodAutoscaler")
    budgets = of(objects, "PodDisruptionBudget")
    for name, deployment in of(objects, "Deployment").items():
        replicas = deployment["spec"].get("replicas") or scaled[name]["spec"]["minReplicas"]
        learning = deployment["metadata"]["labels"]["app.kubernetes.io/part-of"] == "learning"
        if replicas > 1 and not learning:
            assert budgets[name]["spec"]["maxUnavailable"] == 1, name
            assert budgets[name]["spec"]["selector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]


def test_who_leaves_has_the_time_that_it_takes(objects: list[dict[str, Any]]) -> None:
    """Draining and the requests in flight fit into what the cluster grants before it kills."""
    for component, template in pods(objects):
        container = container_of(template)
        grace = template["spec"]["terminationGracePeriodSeconds"]
        values = {each["name"]: each["value"] for each in container.get("env", ())}
        if component in (*DOMAINS, "web"):
            assert float(values["SMARTFIT_DRAIN_SECONDS"]) + 30 < grace
        if component == "gateway":
            drain = int(container["command"][container["command"].index("--drain-time-s") + 1])
            assert drain + 5 < grace


def test_the_pages_process_is_told_where_the_domains_are_and_nothing_that_is_secret(
    objects: list[dict[str, Any]],
) -> None:
    (template,) = [template for component, template in pods(objects) if component == "web"]
    found = environment(objects, template)
    scheme, inner = ("https", True) if "SMARTFIT_INTERNAL_CERT_FILE" in found else ("http", False)
    assert found["SMARTFIT_WEB_API_URL"] == f"{scheme}://gym-{{domain}}.smartfit.svc.cluster.local:8000"
    assert found["SMARTFIT_TRUSTED_PROXIES"]
    secrets = {name for name in found if name.endswith("_FILE") and not name.startswith("SMARTFIT_INTERNAL_")}
    assert secrets <= {"SMARTFIT_REDIS_URL_FILE"}
    assert not [name for name in found if "DATABASE" in name or "KEYRING" in name or "STORAGE" in name]
    probe = container_of(template)["readinessProbe"]
    assert ("exec" in probe) == inner


def test_access_is_beside_the_face_model_on_labelled_nodes_where_it_must_be() -> None:
    deployments = of(chart.rendered(SETS["production"]), "Deployment")
    access, face = (deployments[f"gym-{name}"]["spec"]["template"] for name in ("access", "model-face"))
    (term,) = access["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= face["metadata"]["labels"].items()
    assert access["spec"]["nodeSelector"] == face["spec"]["nodeSelector"] == {"smartfit.io/face": "true"}


def test_the_gateway_finds_every_service_by_its_name(objects: list[dict[str, Any]]) -> None:
    services = of(objects, "Service")
    by_labels = [template["metadata"]["labels"] for _, template in pods(objects)]
    for cluster, addresses in forms.kubernetes("gym", "smartfit").clusters.items():
        (address,) = addresses
        service = services[address.host.split(".")[0]]["spec"]
        assert [port["port"] for port in service["ports"]] == [address.port], cluster
        assert [each for each in by_labels if service["selector"].items() <= each.items()], cluster
        if cluster != "dagster":
            assert service["clusterIP"] == "None", cluster


def test_every_service_leads_to_a_port_of_a_pod(objects: list[dict[str, Any]]) -> None:
    named = {
        component: {port["name"] for port in container_of(template).get("ports", ())}
        for component, template in pods(objects)
    }
    for name, service in of(objects, "Service").items():
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in named[component], name


def test_what_listens_or_locks_goes_past_the_pooler() -> None:
    for component, template in pods(chart.rendered(SETS["production"])):
        values = {each["name"]: each["value"] for each in container_of(template).get("env", ())}
        for name, value in values.items():
            if name.endswith("_DATABASE_URL_FILE"):
                assert ("POOLED" in value) == (component in DOMAINS), component


def test_the_tables_come_before_whoever_uses_them() -> None:
    for name, when in (("small", "pre-install,pre-upgrade"), ("production", "post-install,pre-upgrade")):
        jobs = of(chart.rendered(SETS[name]), "Job")
        notes = {job: each["metadata"]["annotations"] for job, each in jobs.items()}
        assert {each["helm.sh/hook"] for each in notes.values()} == {when}
        weight = {job: int(each["helm.sh/hook-weight"]) for job, each in notes.items()}
        assert weight["gym-migrate"] < weight["gym-bootstrap"]
        files = {each["name"] for each in container_of(jobs["gym-migrate"]["spec"]["template"])["env"]}
        assert {f"SMARTFIT_{domain.upper()}_DATABASE_URL_FILE" for domain in DOMAINS} <= files
        for external in of(chart.rendered(SETS[name]), "ExternalSecret").values():
            assert int(external["metadata"]["annotations"]["helm.sh/hook-weight"]) < weight["gym-migrate"]


def test_only_who_asks_the_cluster_has_a_token_for_it() -> None:
    for name in ("defaults", "small", "gpu-spot", "production"):
        with_token = {
            component
            for component, template in pods(chart.rendered(SETS[name]))
            if template["spec"]["automountServiceAccountToken"]
        }
        assert with_token == {"dagster", "daemon"}


def test_dagsters_pages_may_end_runs_and_not_start_them(objects: list[dict[str, Any]]) -> None:
    roles, bindings = of(objects, "Role"), of(objects, "RoleBinding")
    accounts = {
        component: template["spec"]["serviceAccountName"]
        for component, template in pods(objects)
        if component in ("dagster", "daemon")
    }
    assert accounts["dagster"] != accounts["daemon"]

    def verbs(component: str) -> set[str]:
        bound = [
            roles[each["roleRef"]["name"]]
            for each in bindings.values()
            if accounts[component] in [subject["name"] for subject in each["subjects"]]
        ]
        return {
            verb for role in bound for rule in role["rules"] for verb in rule["verbs"] if "jobs" in rule["resources"]
        }

    assert {"create", "delete"} <= verbs("daemon")
    assert verbs("dagster") == {"get", "list", "delete"}


def test_runs_are_jobs_as_confined_as_the_servers(objects: list[dict[str, Any]]) -> None:
    (found,) = [each for each in objects if "dagster.yaml" in each.get("data", {})]
    launcher = yaml.safe_load(found["data"]["dagster.yaml"])["run_launcher"]
    assert (launcher["module"], launcher["class"]) == ("dagster_k8s", "K8sRunLauncher")
    config = launcher["config"]
    assert config["instance_config_map"] == found["metadata"]["name"]
    assert config["service_account_name"] in of(objects, "ServiceAccount")
    assert config["service_account_name"] not in str(of(objects, "RoleBinding")), "a run may ask the cluster nothing"
    pages = of(objects, "Deployment")["gym-learning-dagster"]["spec"]["template"]
    assert config["job_image"] == container_of(pages)["image"]
    run = config["run_k8s_config"]
    assert run["container_config"]["securityContext"]["readOnlyRootFilesystem"] is True
    assert run["container_config"]["resources"]["limits"]["memory"]
    assert run["pod_spec_config"]["securityContext"]["runAsNonRoot"] is True
    mounted = {mount["name"] for mount in run["container_config"]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in run["pod_spec_config"]["volumes"]}
    # A run that died is told of by the daemon, which starts it again; Kubernetes must not.
    assert run["job_spec_config"]["backoff_limit"] == 0


def test_a_cluster_queues_and_retries_runs_as_one_machine_does(objects: list[dict[str, Any]]) -> None:
    (found,) = [each for each in objects if "dagster.yaml" in each.get("data", {})]
    instance = yaml.safe_load(found["data"]["dagster.yaml"])
    for name, part in dagster.everywhere().items():
        assert instance[name] == part, name


def test_gpu_and_spot_nodes_are_where_runs_go() -> None:
    run = helm.instance_of(SETS["gpu-spot"])["run_launcher"]["config"]["run_k8s_config"]
    assert run["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert run["pod_spec_config"]["nodeSelector"] == {"accelerator": "nvidia"}
    assert {each["key"] for each in run["pod_spec_config"]["tolerations"]} == {"nvidia.com/gpu", "spot"}


def test_a_digest_counts_instead_of_the_tag() -> None:
    face = of(chart.rendered(SETS["production"]), "Deployment")["gym-model-face"]["spec"]["template"]
    assert "@sha256:" in container_of(face)["image"]


def test_prometheus_operator_is_given_the_rules_as_they_are() -> None:
    given = of(chart.rendered(SETS["production"]), "PrometheusRule")
    written = {
        f"gym-rules-{path.stem}": yaml.safe_load(path.read_text("utf-8"))
        for path in chart.SOURCE_OF_RULES.glob("*.yml")
    }
    assert written
    assert {name: each["spec"] for name, each in given.items()} == written


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": {"api": {"repository": "x", "tag": "latest"}}},
        {"images": {"api": {"digest": "sha256:short"}}},
        {"settings": {"PASSWORD": "x"}},
        {"settings": {"SMARTFIT_SMTP_PASSWORD": "x"}},
        {"settings": {"SMARTFIT_REDIS_URL": "redis://cache"}},
        {"settings": {"SMARTFIT_PLATFORM_URL": "https://user:word@host"}},
        {"domains": {"auth": {"SMARTFIT_CARD_API_KEY": "x"}}},
        {"domains": {"gym": {}}},
        {"learning": {"settings": {"SMARTFIT_DAGSTER_CLIENT_SECRET": "x"}}},
        {"learning": {"webReplicas": 0}},
        {"learning": {"platformUrl": "smartfit-platform"}},
        {"services": {"unknown": {}}},
        {"services": {"auth": {"enabled": False}}},
        {"services": {"indexer": {"replicas": 2}}},
        {"services": {"gateway": {"resources": {"limits": {"memory": "much"}}}}},
        {"rabbitmq": {"cluster": {"replicas": 2}}},
        {"store": {"url": "s3://key:word@bucket"}},
        {"secrets": {"external": {"createStore": True}}},
        {"secrets": {"values": {"auth": "x"}}},
        {"tls": {"certManager": {"enabled": True}}},
        {"network": {"outside": {"database": {"to": [], "ports": [5432]}}}},
        {"network": {"outside": {"database": {"to": [{"ipBlock": {"cidr": "everywhere"}}], "ports": [5432]}}}},
        {"notification": {"channels": ["pigeon"]}},
        {"colocation": "maybe"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HelmError):
        chart.rendered(wrong)


def test_an_old_file_and_a_launcher_that_dagster_refuses_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "instance.json"
    old.write_text(json.dumps({}))
    monkeypatch.setattr(chart, "generated", lambda: {old: chart.instance_text()})
    with pytest.raises(CheckFailed, match=r"instance\.json.*infra\.helm"):
        helm.current()
    document = helm.instance_of({})
    document["run_launcher"]["config"]["no_such_setting"] = 1
    monkeypatch.setattr(helm, "instance_of", lambda values: document)
    with pytest.raises(CheckFailed, match="no_such_setting"):
        helm.instance_taken({})


def test_a_misspelt_field_is_found_in_kubernetes_objects_and_in_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, spec in (("Service", {"selectr": {}}), ("Cluster", {"instances": 3, "imagName": "x"})):
        (example, *_) = [each for each in chart.rendered(SETS["production"]) if each["kind"] == kind]
        monkeypatch.setattr(chart, "rendered", lambda values, made={**example, "spec": spec}: [made])
        with pytest.raises(CheckFailed, match=kind):
            helm.fits({}, "1.34")
        monkeypatch.undo()


def test_a_setting_that_nothing_reads_a_missing_file_and_a_foreign_database_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = chart.rendered({})
    (branch,) = [each for each in made if each["kind"] == "Deployment" and each["metadata"]["name"] == "gym-branch"]
    container_of(branch["spec"]["template"])["env"] += [
        {"name": "SMARTFIT_NO_SUCH_SETTING", "value": "1"},
        {"name": "SMARTFIT_AUTH_DATABASE_URL_FILE", "value": "/etc/smartfit/secrets/auth/SMARTFIT_AUTH_DATABASE_URL"},
    ]
    monkeypatch.setattr(chart, "rendered", lambda values: made)
    with pytest.raises(CheckFailed, match="SMARTFIT_NO_SUCH_SETTING is read by nothing"):
        helm_settings.settings_known({})
    with pytest.raises(CheckFailed, match="not mounted"):
        helm_settings.starts({})
    with pytest.raises(CheckFailed, match="branch: has the database of auth"):
        helm_settings.own({})
