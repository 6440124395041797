"""The description for Compose and for Kubernetes. The local one is in infra/local/services.py; all three differ in data only.

Services are found by name there: Compose gives every replica's address for a service's name, Kubernetes for that of a
headless service. `envoy.bootstrap(compose())` is the configuration as JSON; `envoy.write` writes it, `envoy.validate`
lets Envoy check it.
"""

from dataclasses import replace
from pathlib import Path

from infra.gateway.description import GATES, LIVE, SHARED, Address, Gateway, Tls, routes_of
from infra.local.postgres import DOMAINS

HTTPS_PORT, HTTP_PORT, ADMIN_PORT, API_PORT, DAGSTER_PORT, COLLECTOR_PORT = 8443, 8080, 9901, 8000, 3000, 4318
METRICS_PORT = 9902
CERTIFICATE = Tls(Path("/etc/smartfit/tls/tls.crt"), Path("/etc/smartfit/tls/tls.key"))
SECRETS = Path("/etc/smartfit/gateway/certificates")
_WEB, _API = ("web", LIVE), (*DOMAINS, GATES, "platform")
ANY = "0.0.0.0"  # noqa: S104 (inside its own container or pod)


def compose(dagster: bool = True, collector: str | None = "jaeger", tls: Tls = CERTIFICATE) -> Gateway:
    """The gateway of the Compose file: the services `api` and `web` with their replicas, `dagster` and the receiver of spans.

    By the names they have on the network `front` alone: they share others with the gateway, where nobody would believe its
    word on addresses.
    """
    services = {**dict.fromkeys(_API, "api.front"), **dict.fromkeys(_WEB, "web.front")}
    return replace(_gateway(services, "dagster" if dagster else None, collector, tls, 0), breaker=SHARED)


def kubernetes(
    release: str,
    namespace: str,
    dagster: bool = True,
    collector: str | None = None,
    tls: Tls = CERTIFICATE,
    proxies_before: int = 0,
) -> Gateway:
    """The gateway of a Helm release: `<release>-<domain>`, `<release>-platform` and `<release>-web` are headless services.

    collector: full name of the receiver of spans. proxies_before: load balancers in front that add X-Forwarded-For.
    """

    def name(service: str) -> str:
        return f"{release}-{service}.{namespace}.svc.cluster.local"

    services = {domain: name(domain) for domain in (*DOMAINS, "platform")}
    services |= {GATES: services["access"], **dict.fromkeys(_WEB, name("web"))}
    return _gateway(services, name("learning-dagster") if dagster else None, collector, tls, proxies_before)


def _gateway(
    services: dict[str, str], dagster: str | None, collector: str | None, tls: Tls, proxies_before: int
) -> Gateway:
    clusters = {name: (Address(host, API_PORT),) for name, host in services.items()}
    if dagster:
        clusters["dagster"] = (Address(dagster, DAGSTER_PORT),)
    return Gateway(
        listen=(Address(ANY, HTTPS_PORT),),
        plain=(Address(ANY, HTTP_PORT),),
        public_port=443,
        clusters=clusters,
        tls=tls,
        secrets=SECRETS,
        admin=Address("127.0.0.1", ADMIN_PORT),
        metrics=Address(ANY, METRICS_PORT),
        routes=routes_of(DOMAINS, dagster=dagster is not None, web=True),
        collector=Address(collector, COLLECTOR_PORT) if collector else None,
        proxies_before=proxies_before,
    )
