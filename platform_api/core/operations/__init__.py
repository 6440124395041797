"""What operators see and do in every domain alike: the events that wait, dead letters, the audit trail."""

from platform_api.core.operations.routes import operations_blueprint

__all__ = ["operations_blueprint"]
