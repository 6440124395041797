"""Who is calling and what they may do: tokens, roles, object-level checks, the audit trail."""

from platform_api.core.security.principal import ROLES, Principal, principal, require, same_member

__all__ = ["ROLES", "Principal", "principal", "require", "same_member"]
