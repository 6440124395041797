"""The gateway's configuration in each of its forms, read by Envoy itself (`--mode validate`)."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from infra.checks.check import Check, CheckFailed
from infra.gateway import envoy, forms
from infra.gateway.description import Gateway, Tls
from infra.local.certificates import server
from infra.local.services import gateway
from infra.local.state import Choices, State


def checks() -> Iterator[Check]:
    """One check for each form."""
    for name, made in _forms().items():
        yield Check(f"gateway: Envoy takes the form for {name}", lambda made=made: validate(made))  # type: ignore[misc]


def validate(make: Callable[[Path], Gateway]) -> None:
    """`make` gets an empty folder. Certificates are made here: the real ones are where it runs. CheckFailed: Envoy's words."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = server(folder, "gateway")
        config = folder / "envoy.json"
        tls = Tls(certificate.chain, certificate.key)
        envoy.write(replace(make(folder / "state"), tls=tls, secrets=folder / "certificates"), config)
        try:
            envoy.validate(config)
        except envoy.GatewayError as problem:
            raise CheckFailed(str(problem)) from None


def _local(folder: Path) -> Gateway:
    state = State(folder)
    state.prepare()
    state.save(Choices())
    return gateway(state)


def _forms() -> dict[str, Callable[[Path], Gateway]]:
    return {
        "local": _local,
        "Compose": lambda _: forms.compose(),
        "Kubernetes": lambda _: forms.kubernetes(
            "smartfit", "smartfit", collector="otel.observability", proxies_before=1
        ),
    }
