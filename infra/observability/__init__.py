"""What operations look at: logs, metrics, alerts, dashboards."""
