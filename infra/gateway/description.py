"""What the gateway lets through, to whom, and within which limits; nothing here knows Envoy or an address.

One description serves every way the platform runs: addresses of the domains, files of the certificate and limits are
data that the caller (local run, Compose, Kubernetes) fills in. What is not named here is not reachable: in particular
`/<domain>/internal/...`, which services call among themselves, is refused whatever a domain serves there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024
INTERNAL = r"^/[^/]+/internal(/.*)?$"
OPERATOR_COOKIE = "__Secure-smartfit-operator"
LOGIN_PAGE = "/app/login"
DAGSTER_LOGIN = f"{LOGIN_PAGE}?next=/dagster"


@dataclass(frozen=True)
class Address:
    """Where a process listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Rate:
    """Requests a client may make: `burst` at once, refilled with `per_second`."""

    per_second: int
    burst: int

    def __post_init__(self) -> None:
        if self.per_second < 1 or self.burst < self.per_second:
            raise ValueError("a rate needs per_second >= 1 and burst >= per_second")


@dataclass(frozen=True)
class Route:
    """Requests that go to `domain`.

    Exactly one of `path` (whole) and `prefix` is set. `methods` empty: all. `public`: no access token is asked for
    here (the domain asks for what it needs itself). `rate`: name of a limit in Limits. `page`: HTML that loads its own
    scripts, so no Content-Security-Policy for data is put on it. `rewrite`: the whole path the domain sees instead.
    `max_body_bytes`: where it is not the general limit. `operators`: only operators pass, by an access token in the header
    or in the cookie OPERATOR_COOKIE, for what has no rights of its own; WebSockets pass as well.
    """

    domain: str
    path: str | None = None
    prefix: str | None = None
    methods: tuple[str, ...] = ()
    public: bool = False
    rate: str = "general"
    timeout_s: float = 15.0
    page: bool = False
    rewrite: str | None = None
    max_body_bytes: int | None = None
    operators: bool = False

    def __post_init__(self) -> None:
        if (self.path is None) == (self.prefix is None):
            raise ValueError("a route has either a path or a prefix")


@dataclass(frozen=True)
class Limits:
    """Limits per client address (rates; `account`: per subject of the token) and per request."""

    general: Rate = Rate(50, 100)
    # Passwords, cards and new accounts: an attacker needs many tries, a person few. Domains lock out by account as well.
    sensitive: Rate = Rate(2, 20)
    # Of one account, from however many addresses and with however many tokens.
    account: Rate = Rate(30, 100)
    max_body_bytes: int = MIB
    max_connections: int = 10_000
    clients_remembered: int = 20_000


@dataclass(frozen=True)
class Tls:
    """Certificate chain and key the gateway shows; `hsts_seconds`: how long browsers insist on HTTPS."""

    certificate: Path
    key: Path
    hsts_seconds: int = 63_072_000


@dataclass(frozen=True)
class Upstream:
    """TLS towards the services, both sides known by certificate (mTLS): `ca` signed theirs, and ours are shown to them.

    `plain`: clusters that speak plain HTTP all the same.
    """

    ca: Path
    certificate: Path
    key: Path
    plain: tuple[str, ...] = ("dagster", "collector")


@dataclass(frozen=True)
class Jwt:
    """Who signs access tokens and where its public keys are. `refresh_s`: keys of a rotation are known, and keys
    taken out refused, after that."""

    domain: str = "auth"
    jwks_path: str = "/auth/v1/jwks.json"
    issuer: str = "smartfit-auth"
    audience: str = "smartfit"
    refresh_s: int = 10


@dataclass(frozen=True)
class Breaker:
    """What one service may hold at one gateway; more is answered 503 at once.

    `host_connections`: to one instance of it, which is as many requests as that has before it at once; None: no such bound. Whatever
    number of instances there is, none is given more than it works off within a moment, and what `max_pending_requests` may wait for
    a place is short: a queue that grows would only make every answer late, until those who asked have gone.
    `retry_percent`: retries among the requests under way, but `min_retries` always, which lets a restart pass unseen.
    """

    max_connections: int = 512
    max_pending_requests: int = 48
    max_requests: int = 1024
    host_connections: int | None = 24
    retry_percent: float = 20.0
    min_retries: int = 32


LIVE = "live"
"""Cluster of the streams that web keeps open: its instances once more, so that what lasts for minutes is neither counted among the
answers to pages nor takes their connections."""
STREAMS = Breaker(max_connections=4000, max_pending_requests=512, max_requests=4000, host_connections=None)
"""As many as two instances of web take; each holds a connection."""
GATES = "gates"
"""Cluster of what gate nodes ask: the instances of access once more. People in their thousands do not take the places of the gates,
which hear here who may come in, nor do nodes that fetch a model take those of people."""
PAGES = Breaker(max_pending_requests=512, host_connections=None)
"""Of what serves hundreds at once, each of which mostly waits: the web clients, Dagster's pages."""
SHARED = Breaker(max_pending_requests=16, host_connections=8)
"""Where one process serves all domains (16 threads): of one domain that is slow it has half of its threads."""


@dataclass(frozen=True)
class Gateway:
    """The whole gateway. `clusters`: addresses of the processes that serve each domain, and of `platform`, the one that
    serves the API documentation. A name instead of a number stands for all instances that DNS gives for it.

    `plain`: where HTTP is answered with the way to HTTPS, on `public_port` (default: that of the first `listen`).
    `health`: where a cluster says that it can serve, if not at /readyz; empty: nowhere, it is not asked.
    `proxies_before`: load balancers of our own in front, whose X-Forwarded-For is believed; with 0 nobody's is.
    `breakers`: of clusters that may hold more or less than the others.
    `stream_idle_s`: a request or answer in which nothing moves for longer is ended.
    `collector`: where spans go (OTLP over HTTP); without one the trace context is still made and passed on.
    `traced_percent`: how many of the traces that begin here are recorded, here and in all services behind.
    `metrics`: where Prometheus finds the gateway's figures, in plain HTTP, for the network inside; None: nowhere.
    `secrets`: folder of the files that name the certificates to Envoy, which follows their renewal. `upstream`: TLS towards the services.
    """

    listen: tuple[Address, ...]
    clusters: Mapping[str, tuple[Address, ...]]
    tls: Tls
    secrets: Path
    admin: Address
    jwt: Jwt = field(default_factory=Jwt)
    limits: Limits = field(default_factory=Limits)
    routes: tuple[Route, ...] = ()
    breaker: Breaker = field(default_factory=Breaker)
    breakers: Mapping[str, Breaker] = field(
        default_factory=lambda: {LIVE: STREAMS, "web": PAGES, "dagster": PAGES, GATES: Breaker()}
    )
    plain: tuple[Address, ...] = ()
    public_port: int | None = None
    health: Mapping[str, str] = field(default_factory=lambda: {"dagster": "", "collector": ""})
    proxies_before: int = 0
    stream_idle_s: float = 75.0
    collector: Address | None = None
    traced_percent: float = 100.0
    metrics: Address | None = None
    upstream: Upstream | None = None

    def __post_init__(self) -> None:
        unknown = {route.domain for route in self.routes} - set(self.clusters)
        if unknown:
            raise ValueError(f"no address for {', '.join(sorted(unknown))}")
        if not self.listen or not all(self.clusters.values()):
            raise ValueError("the gateway needs an address to listen on, and one for every cluster")


UPLOAD_S = 60.0
# Five photographs of 8 MiB and the form around them, as the domains allow.
PHOTOS_BYTES = 46 * MIB
_AUTH = (
    Route("auth", path="/.well-known/jwks.json", methods=("GET",), public=True),
    Route("auth", path="/auth/v1/jwks.json", methods=("GET",), public=True),
    Route("auth", path="/auth/v1/members", methods=("POST",), public=True, rate="sensitive"),
    Route("auth", path="/auth/v1/tokens", methods=("POST",), public=True, rate="sensitive"),
    Route("auth", path="/auth/v1/tokens/refresh", methods=("POST",), public=True),
    Route("auth", path="/auth/v1/tokens/revoke", methods=("POST",), public=True),
    # Services ask inside; from outside only those of partners do.
    Route("auth", path="/auth/v1/service-tokens", methods=("POST",), public=True, rate="sensitive"),
    Route("auth", prefix="/auth/v1/", timeout_s=UPLOAD_S, max_body_bytes=PHOTOS_BYTES),
)
_ACCESS = (
    # Gate nodes sign with their own keys, which only access knows.
    Route(GATES, prefix="/access/v1/edge/", public=True, timeout_s=UPLOAD_S, max_body_bytes=8 * MIB),
    Route("access", prefix="/access/v1/"),
)
_HELPER = (Route("helper", prefix="/helper/v1/", timeout_s=UPLOAD_S, max_body_bytes=PHOTOS_BYTES),)
# What a gym tells everybody needs no account; what only some may see below these paths the domain guards itself.
_BRANCH = (
    Route("branch", path="/branch/v1/branches", methods=("GET",), public=True),
    Route("branch", prefix="/branch/v1/branches/", methods=("GET",), public=True),
    Route("branch", prefix="/branch/v1/", timeout_s=UPLOAD_S, max_body_bytes=PHOTOS_BYTES),
)
_SEARCH = (
    Route("search", path="/search/v1/branches", methods=("GET",), public=True),
    Route("search", prefix="/search/v1/branches/", methods=("GET",), public=True),
    Route("search", path="/search/v1/suggestions", methods=("GET",), public=True),
    Route("search", prefix="/search/v1/reviews/", methods=("GET",), public=True),
    Route("search", prefix="/search/v1/"),
)
_DOMAINS = {"auth": _AUTH, "access": _ACCESS, "helper": _HELPER, "branch": _BRANCH, "search": _SEARCH}
_PLATFORM = (
    Route("platform", path="/openapi.json", methods=("GET",), public=True),
    Route("platform", path="/docs", methods=("GET",), public=True, page=True),
    Route("platform", prefix="/docs/", methods=("GET",), public=True, page=True),
    Route("platform", path="/readyz", methods=("GET",), public=True),
)
# Pages know who is signed in by cookies of their own, and ask the domains in their name.
_WEB = (
    Route("web", path="/", methods=("GET",), public=True, page=True),
    *(
        Route("web", path=path, methods=("POST",), public=True, page=True, rate="sensitive")
        for path in (LOGIN_PAGE, "/app/signup")
    ),
    # Stays open: what is new is told as it comes.
    Route(LIVE, prefix="/app/live/", methods=("GET",), public=True, page=True, timeout_s=0),
    Route("web", prefix="/app/", public=True, page=True, timeout_s=UPLOAD_S, max_body_bytes=PHOTOS_BYTES),
)
_DAGSTER = (
    Route("dagster", path="/dagster", operators=True, page=True, timeout_s=60.0),
    Route("dagster", prefix="/dagster/", operators=True, page=True, timeout_s=60.0),
)


def routes_of(domains: tuple[str, ...], dagster: bool = False, web: bool = False) -> tuple[Route, ...]:
    """The routes of `domains`, most specific first. A domain without routes of its own gets `/<domain>/v1/`.

    dagster: with Dagster's pages, for operators. web: with the web clients.
    """
    routes = [route for domain in domains for route in _DOMAINS.get(domain, (Route(domain, prefix=f"/{domain}/v1/"),))]
    health = [
        Route(domain, path=f"/{domain}/readyz", methods=("GET",), public=True, rewrite="/readyz") for domain in domains
    ]
    return (*routes, *health, *_PLATFORM, *(_DAGSTER if dagster else ()), *(_WEB if web else ()))
