"""Logs, metrics and traces, the same in every process."""

from platform_api.core.telemetry.logs import configure_logging
from platform_api.core.telemetry.metrics import instrument
from platform_api.core.telemetry.tracing import configure_tracing, current_traceparent

__all__ = ["configure_logging", "configure_tracing", "current_traceparent", "instrument"]
