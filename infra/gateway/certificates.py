"""Certificates by files that Envoy watches (SDS): one that was renewed is shown from the next handshake on, and no connection ends.

The directory of the files is watched for what is moved into it, which is how renewals come: a rename here, a swapped link
where Kubernetes mounts a secret. A pair that does not fit together is not taken; the one before stays.
"""

import ipaddress
from pathlib import Path
from typing import Any

from infra.gateway.description import Address, Gateway, Upstream

Json = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
SHOWN, OURS, AUTHORITY = "gateway", "services", "services-ca"
TLS_1_2_CIPHERS = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
]


def resources(gateway: Gateway) -> dict[str, Json]:
    """Files of the folder `gateway.secrets` by name, one for each secret: Envoy reads a single one from a file."""
    secrets = [_pair(SHOWN, gateway.tls.certificate, gateway.tls.key)]
    if gateway.upstream:
        secrets.append(_pair(OURS, gateway.upstream.certificate, gateway.upstream.key))
        ca = gateway.upstream.ca
        trusted = {"trusted_ca": {"filename": str(ca)}, "watched_directory": {"path": str(ca.parent)}}
        secrets.append({"@type": f"{_TYPE}.Secret", "name": AUTHORITY, "validation_context": trusted})
    return {f"{secret['name']}.json": {"resources": [secret]} for secret in secrets}


def shown(gateway: Gateway) -> Json:
    """The transport socket of a listener."""
    context = {
        "@type": f"{_TYPE}.DownstreamTlsContext",
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
                "cipher_suites": TLS_1_2_CIPHERS,
            },
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [_secret(SHOWN, gateway.secrets)],
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def towards(upstream: Upstream, addresses: tuple[Address, ...], secrets: Path) -> Json:
    """The transport socket of a cluster: it must show a certificate of our authority for the name it is found by, and is shown ours."""
    names = [{"san_type": _kind(host), "matcher": {"exact": host}} for host in sorted({a.host for a in addresses})]
    context = {
        "@type": f"{_TYPE}.UpstreamTlsContext",
        "sni": addresses[0].host if _kind(addresses[0].host) == "DNS" else "",
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificate_sds_secret_configs": [_secret(OURS, secrets)],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": names},
                "validation_context_sds_secret_config": _secret(AUTHORITY, secrets),
            },
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _kind(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "DNS"
    return "IP_ADDRESS"


def _secret(name: str, folder: Path) -> Json:
    source = {"path_config_source": {"path": str(folder / f"{name}.json")}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def _pair(name: str, chain: Path, key: Path) -> Json:
    files = {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}
    watched = {"watched_directory": {"path": str(chain.parent)}}
    return {"@type": f"{_TYPE}.Secret", "name": name, "tls_certificate": {**files, **watched}}
