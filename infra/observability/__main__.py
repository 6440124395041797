"""Writes Grafana's dashboards anew: `python -m infra.observability`."""

from infra.observability.dashboards.files import write

if __name__ == "__main__":
    for file in write():
        print(file)
