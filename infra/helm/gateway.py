"""The gateway's configuration as the chart carries it: one document with placeholders, and what each option changes in it.

A template of text would have to know Envoy; this way the chart only puts values where the code says. A check compares what the
chart renders with what the code gives for the same values.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.gateway import certificates, envoy, forms
from infra.gateway.description import Gateway, Upstream

Json = Any
RELEASE, NAMESPACE, COLLECTOR, PROXIES = "__RELEASE__", "__NAMESPACE__", "__COLLECTOR__", "__PROXIES__"
INTERNAL = Path("/etc/smartfit/internal")
UPSTREAM = Upstream(INTERNAL / "ca.crt", INTERNAL / "tls.crt", INTERNAL / "tls.key")
_MISSING = object()


def gateway_text() -> str:
    """What files/gateway.json has to hold: {envoy, certificates, certificatesOfServices, options: {name: [[path, value], ...]}}."""
    plain = forms.kubernetes(RELEASE, NAMESPACE)
    base = envoy.bootstrap(plain)
    known = replace(plain, upstream=UPSTREAM)
    options = {
        "collector": envoy.bootstrap(forms.kubernetes(RELEASE, NAMESPACE, collector=COLLECTOR)),
        "services": envoy.bootstrap(known),
        "proxied": _numbered(envoy.bootstrap(forms.kubernetes(RELEASE, NAMESPACE, proxies_before=1))),
    }
    document = {
        "envoy": base,
        "certificates": certificates.resources(plain),
        "certificatesOfServices": certificates.resources(known),
        "options": {name: changes(base, other) for name, other in options.items()},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def gateway(values: dict[str, Any], release: str, namespace: str) -> Gateway:
    """The gateway of a release with these (merged) values, as the code describes it."""
    described = forms.kubernetes(
        release,
        namespace,
        collector=values["tracing"]["host"] or None,
        proxies_before=values["gateway"]["proxiesBefore"],
    )
    return replace(described, upstream=UPSTREAM) if values["tls"]["services"]["enabled"] else described


def changes(before: Json, after: Json) -> list[list[Json]]:
    """[path, value] for each place that must be set to make `after` of `before`; a path ends in a key of an object.

    Raises:
        ValueError: there is no such way, as the documents differ at their root.
    """
    found = _changes(before, after, [])
    if found is None:
        raise ValueError("the documents differ at their root")
    return found


def _changes(before: Json, after: Json, path: list[str | int]) -> list[list[Json]] | None:
    """None: the whole has to be replaced, by whoever has a key for it."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() <= after.keys():
        found = []
        for key, value in after.items():
            inner = _changes(before.get(key, _MISSING), value, [*path, key])
            found += [[[*path, key], value]] if inner is None else inner
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        inners = [_changes(one, other, [*path, at]) for at, (one, other) in enumerate(zip(before, after, strict=True))]
        known = [inner for inner in inners if inner is not None]
        return [change for inner in known for change in inner] if len(known) == len(inners) else None
    return None


def _numbered(bootstrap: Json) -> Json:
    """With a placeholder for the number of load balancers in front."""
    return json.loads(
        json.dumps(bootstrap).replace('"xff_num_trusted_hops": 1', f'"xff_num_trusted_hops": "{PROXIES}"')
    )
