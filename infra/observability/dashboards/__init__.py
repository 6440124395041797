"""Grafana's dashboards as code; `python -m infra.observability` writes what Grafana reads."""
