"""Shapes of the objects that operators read: what Kubernetes' own schemas do not cover.

Their CRDs come in no package, so these are written by hand from the operators' API references, for the fields that the chart sets and
no others: a misspelt field is found, a change of an operator's API is not.
"""

from typing import Any

Json = dict[str, Any]
_NAME = {"type": "string", "minLength": 1}
_SIZE = {"type": "string", "pattern": "^[0-9]+(Mi|Gi|Ti)$"}


def _of(required: Json, optional: Json | None = None) -> Json:
    """An object with these fields alone."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _list(item: Json, least: int = 1) -> Json:
    return {"type": "array", "minItems": least, "items": item}


_RESOURCES = _of({"requests": {"type": "object"}, "limits": {"type": "object"}})
_REFERENCE = _of({"name": _NAME})
_KEY = _of({"name": _NAME, "key": _NAME})
_ROLE = _of({
    "name": _NAME, "ensure": {"enum": ["present", "absent"]}, "login": {"type": "boolean"}, "passwordSecret": _REFERENCE,
})  # fmt: skip
_RELABEL = _of(
    {"sourceLabels": _list(_NAME)},
    {
        "regex": _NAME,
        "targetLabel": _NAME,
        "replacement": _NAME,
        "action": {"enum": ["replace", "keep", "drop"]},
    },
)
_RULE = _of(
    {"expr": {}}, {"record": _NAME, "alert": _NAME, "for": {}, "keep_firing_for": {}, "labels": {}, "annotations": {}}
)
SPECS: dict[tuple[str, str], Json] = {
    # https://external-secrets.io/latest/api/externalsecret/
    ("external-secrets.io/v1", "SecretStore"): _of({"provider": {"type": "object", "minProperties": 1, "maxProperties": 1}}),
    ("external-secrets.io/v1", "ExternalSecret"): {
        **_of(
            {
                "refreshInterval": {"type": "string", "pattern": "^[0-9]+[smh]$"},
                "secretStoreRef": _of({"name": _NAME, "kind": {"enum": ["SecretStore", "ClusterSecretStore"]}}),
                "target": _of({
                    "name": _NAME,
                    "creationPolicy": {"enum": ["Owner", "Orphan", "Merge", "None"]},
                    "deletionPolicy": {"enum": ["Retain", "Delete", "Merge"]},
                }),
            },
            {
                "data": _list(_of({"secretKey": _NAME, "remoteRef": _of({"key": _NAME, "property": _NAME})})),
                "dataFrom": _list(_of({"extract": _of({"key": _NAME})})),
            },
        ),
        "oneOf": [{"required": ["data"]}, {"required": ["dataFrom"]}],
    },
    # https://cert-manager.io/docs/reference/api-docs/
    ("cert-manager.io/v1", "Certificate"): _of({
        "secretName": _NAME,
        "dnsNames": _list(_NAME),
        "issuerRef": _of({"name": _NAME, "kind": {"enum": ["Issuer", "ClusterIssuer"]}}),
        "privateKey": _of({
            "algorithm": {"enum": ["ECDSA", "RSA", "Ed25519"]},
            "size": {"enum": [256, 384, 521, 2048, 4096]},
            "rotationPolicy": {"enum": ["Always", "Never"]},
        }),
    }, {"usages": _list({"enum": ["server auth", "client auth"]}), "duration": _NAME, "renewBefore": _NAME}),
    # https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/
    ("postgresql.cnpg.io/v1", "Cluster"): _of(
        {
            "instances": {"type": "integer", "minimum": 1},
            "imageName": _NAME,
            "primaryUpdateStrategy": {"enum": ["unsupervised", "supervised"]},
            "storage": _of({"size": _SIZE}, {"storageClass": _NAME}),
            "postgresql": _of(
                {
                    "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
                    "pg_hba": _list({"type": "string", "pattern": "^(host|hostssl) \\S+ \\S+ \\S+ (scram-sha-256|reject)$"}),
                },
                {"synchronous": _of({
                    "method": {"enum": ["any", "first"]}, "number": {"type": "integer"}, "dataDurability": {"enum": ["required", "preferred"]},
                })},
            ),
            "bootstrap": _of({"initdb": _of({"database": _NAME, "owner": _NAME, "secret": _REFERENCE, "encoding": _NAME})}),
            "managed": _of({"roles": _list(_ROLE)}),
            "monitoring": _of({"enablePodMonitor": {"type": "boolean"}}),
            "resources": _RESOURCES,
        },
        {"backup": {"type": "object"}},
    ),
    ("postgresql.cnpg.io/v1", "Database"): _of(
        {"cluster": _REFERENCE, "name": _NAME, "owner": _NAME, "databaseReclaimPolicy": {"enum": ["retain", "delete"]}},
        {"extensions": _list(_of({"name": _NAME, "ensure": {"enum": ["present", "absent"]}}))},
    ),
    # https://www.rabbitmq.com/kubernetes/operator/using-operator
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): _of(
        {
            "replicas": {"enum": [1, 3, 5, 7]},
            "persistence": _of({"storage": _SIZE}, {"storageClassName": _NAME}),
            "resources": _RESOURCES,
            "rabbitmq": _of({"additionalConfig": _NAME}),
            "affinity": {"type": "object"},
        },
        {"image": _NAME},
    ),
    # https://www.elastic.co/docs/reference/cloud-on-k8s
    ("elasticsearch.k8s.elastic.co/v1", "Elasticsearch"): _of({
        "version": {"type": "string", "pattern": r"^[89]\.[0-9]+\.[0-9]+$"},
        "nodeSets": _list(_of({
            "name": _NAME,
            "count": {"type": "integer", "minimum": 1},
            "config": {"type": "object"},
            "podTemplate": {"type": "object"},
            "volumeClaimTemplates": _list({"type": "object"}),
        })),
    }),
    # https://prometheus-operator.dev/docs/api-reference/api/
    ("monitoring.coreos.com/v1", "PodMonitor"): _of({
        "selector": {"type": "object"},
        "podMetricsEndpoints": _list(_of({
            "port": _NAME, "path": _NAME, "interval": {"type": "string", "pattern": "^[0-9]+s$"}, "relabelings": _list(_RELABEL),
        }, {"scheme": {"enum": ["http", "https"]}, "tlsConfig": _of({
            "cert": _of({"secret": _KEY}), "keySecret": _KEY, "insecureSkipVerify": {"type": "boolean"},
        })})),
    }),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _of({
        "groups": _list(_of({"name": _NAME, "rules": _list(_RULE)}, {"interval": {}, "labels": {}, "limit": {}})),
    }),
}  # fmt: skip


def schema(document: Json) -> Json | None:
    """The JSON Schema of an operator's object; None where it is none that is known here."""
    spec = SPECS.get((document["apiVersion"], document["kind"]))
    if spec is None:
        return None
    whole = {
        "apiVersion": _NAME,
        "kind": _NAME,
        "metadata": {"type": "object", "required": ["name", "namespace", "labels"]},
        "spec": spec,
    }
    return _of(whole)
