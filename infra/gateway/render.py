"""`python -m infra.gateway.render`: the gateway's configuration as files, for those who carry them to where Envoy runs.

    python -m infra.gateway.render --form compose -o infra/containers/gateway/envoy.json
    python -m infra.gateway.render --form kubernetes --release gym --namespace smartfit --collector otel.observability

With -o, what Envoy reads about certificates comes beside the file, as certificates/NAME.json.
"""

import argparse
import json
import sys
from pathlib import Path

from infra.gateway import certificates, envoy, forms
from infra.gateway.description import Gateway

CERTIFICATES = forms.SECRETS.name


def rendered(gateway: Gateway) -> dict[str, str]:
    """Text of each file by its name beside envoy.json."""
    named = {f"{CERTIFICATES}/{name}": content for name, content in certificates.resources(gateway).items()}
    return {
        name: json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        for name, content in {"envoy.json": envoy.bootstrap(gateway), **named}.items()
    }


def chosen(arguments: list[str]) -> tuple[Gateway, Path | None]:
    """The gateway asked for, and where it is to be written; exits with a message where an option is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.gateway.render", description="게이트웨이 설정을 파일로 (the gateway's configuration)"
    )
    parser.add_argument("--form", choices=("compose", "kubernetes"), required=True)
    parser.add_argument("-o", dest="file", type=Path, metavar="FILE", help="파일 (default: standard output)")
    parser.add_argument("--no-dagster", action="store_true", help="Dagster 없이 (without Dagster's pages)")
    parser.add_argument("--collector", metavar="HOST", help="추적 수집기 (receiver of spans, OTLP over HTTP)")
    kubernetes = parser.add_argument_group("kubernetes")
    kubernetes.add_argument("--release")
    kubernetes.add_argument("--namespace")
    kubernetes.add_argument("--proxies-before", type=int, metavar="N", help="앞의 로드 밸런서 수 (load balancers)")
    options = parser.parse_args(arguments)
    named = {"release": options.release, "namespace": options.namespace}
    if options.form == "compose":
        if wrong := [name for name, value in {**named, "proxies-before": options.proxies_before}.items() if value]:
            parser.error(f"--{wrong[0]}: kubernetes에서만 씁니다 (only with --form kubernetes)")
        collector = options.collector or "jaeger"
        return forms.compose(dagster=not options.no_dagster, collector=collector), options.file
    if missing := [name for name, value in named.items() if not value]:
        parser.error(f"--{missing[0]}: 필요합니다 (needed with --form kubernetes)")
    gateway = forms.kubernetes(
        **named,
        dagster=not options.no_dagster,
        collector=options.collector,
        proxies_before=options.proxies_before or 0,
    )
    return gateway, options.file


def main() -> None:
    """Write the files, or print envoy.json."""
    gateway, file = chosen(sys.argv[1:])
    files = rendered(gateway)
    if file is None:
        sys.stdout.write(files["envoy.json"])
        return
    for name, text in files.items():
        path = file if name == "envoy.json" else file.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
